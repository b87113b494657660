//! Python bindings of the API: one file for the API in a module's view, and one that adds the
//! module's dependencies.
//!
//! They look to a module's code like the output of the library's own code generator for the same
//! schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rondel_gql::Value;
use rondel_gql::types::{AppliedDirective, ArgDef, EnumValue, FieldDef, Schema, TypeDef, TypeKind, TypeRef};
use rondel_version::View;

use crate::python_names::{argument_name, is_keyword, snake_case};

/// The Python module with the bindings of the API.
pub const CORE: &str = "dagger_core_gen";
/// The Python module that the library imports: the API and the dependencies of the module.
pub const ALL: &str = "dagger_gen";

/// Before this version each type had an ID type of its own, which code refers to.
const UNIFIED_IDS: View = View::new(0, 21, 0);
/// Imports of the generated code from the library, under names that no type of a module has.
const IMPORTS: &str = r"import warnings as _warnings
from collections.abc import Callable as _Callable
from dataclasses import dataclass as _dataclass
from typing import Protocol as _Protocol
from typing import runtime_checkable as _runtime_checkable

from typing_extensions import Self as _Self

from dagger.client._core import Arg as _Arg
from dagger.client.base import Enum as _Enum
from dagger.client.base import Input as _Input
from dagger.client.base import Root as _Root
from dagger.client.base import Scalar as _Scalar
from dagger.client.base import Type as _Type
";
/// The decorators of generated classes, in [`CORE`].
///
/// The library's decorator generates the checks of all methods of a class at once. For the whole
/// API that is half of the time that a process takes to start. So here the check of a method is
/// generated when the method is first used. The library's decorator knows what `Self` is in a class
/// alone, hence the class takes its place meanwhile.
const TYPECHECK: &str = r#"from types import FunctionType as _FunctionType

from dagger.client._guards import typecheck as _typecheck


class _Method:
    def __init__(self, owner, name, function):
        self.owner, self.name, self.function = owner, name, function

    def __get__(self, instance, owner=None):
        hints = self.function.__annotations__
        self.function.__annotations__ = {name: self.owner if hint is _Self else hint for name, hint in hints.items()}
        try:
            checked = _typecheck(self.function)
        finally:
            self.function.__annotations__ = hints
        setattr(self.owner, self.name, checked)
        return checked.__get__(instance, owner)


def _typecheck_methods(cls):
    for name, value in list(vars(cls).items()):
        if isinstance(value, _FunctionType) and not name.startswith("__"):
            setattr(cls, name, _Method(cls, name, value))
    return cls
"#;
/// Scalars that have a Python type.
const BUILTIN: &[(&str, &str)] =
    &[("ID", "str"), ("Int", "int"), ("String", "str"), ("Float", "float"), ("Boolean", "bool")];

/// The file [`CORE`]: bindings of `schema`, the API as a module of `view` sees it. They have no
/// documentation: it is two thirds of the library's own file, and a process in a container does not
/// use it.
pub fn python_core(schema: &Schema, view: View) -> String {
    let mut out = BindingsWriter::new(schema, view, false);
    out.text.push_str("# Generated. Bindings of the API.\n");
    out.text.push_str(IMPORTS);
    out.text.push_str(TYPECHECK);
    let types = listed(schema).filter(|ty| *ty.name != *schema.query).collect();
    out.types(types);
    if let Some(query) = schema.types.get(&schema.query) {
        out.root("Query", "_Root", query, &|_| true);
    }
    out.text.push_str("\n\nclass Client(Query):\n    pass\n");
    out.end(["Query", "Client", "dag"], "");
    out.text
}

/// The file [`ALL`]: the bindings of `core`, and those of the types that only `schema` has.
pub fn python_all(core: &Schema, schema: &Schema, view: View) -> String {
    let mut out = BindingsWriter::new(schema, view, true);
    out.core = Some(core);
    let _ = writeln!(out.text, "# Generated. Bindings of the modules that this module uses, beside those of the API.");
    out.text.push_str(IMPORTS);
    let _ = writeln!(
        out.text,
        "\nimport {CORE} as _core\nfrom {CORE} import *\nfrom {CORE} import _typecheck, _typecheck_methods"
    );
    out.defined = core.types.keys().map(|name| &**name).collect();
    let is_new = |ty: &&TypeDef| !core.types.contains_key(&ty.name);
    out.types(listed(schema).filter(is_new).collect());
    if let Some(query) = schema.types.get(&schema.query) {
        let known = core.types.get(&core.query);
        out.root("Client", "_core.Client", query, &|field| {
            known.is_none_or(|known| known.field(&field.name).is_none())
        });
    }
    out.end(["Client", "dag"], "*_core.__all__, ");
    out.text
}

/// The types that need bindings, sorted by name.
fn listed(schema: &Schema) -> impl Iterator<Item = &TypeDef> {
    let sorted: BTreeMap<&str, &TypeDef> = schema.types.values().map(|ty| (&*ty.name, &**ty)).collect();
    sorted.into_values().filter(|ty| has_class(&ty.name))
}

/// Whether the bindings have a class for the type `name`.
pub(crate) fn has_class(name: &str) -> bool {
    !name.starts_with('_') && builtin(name).is_none()
}

/// The members of an enum in Python, each with the name of the member that Python takes it for.
pub(crate) fn enum_members(members: &[std::sync::Arc<EnumValue>]) -> Vec<(String, String)> {
    let shown = shown_members(members);
    let first = |value: &str| shown.iter().find(|(known, _)| *known == value).map(|(_, member)| &*member.name);
    let named = shown.iter().filter_map(|(value, member)| Some((member, first(value)?)));
    named.map(|(member, first)| (member_name(&member.name), member_name(first))).collect()
}

/// The members of an enum in the order of their values, which is their order in Python. Members
/// with equal values are one member in Python. The first one gives it the name that is sent.
fn shown_members(members: &[std::sync::Arc<EnumValue>]) -> Vec<(&str, &EnumValue)> {
    let mut shown: Vec<(&str, &EnumValue)> =
        members.iter().filter(|member| !member.hidden).map(|member| (value_of(member), &**member)).collect();
    shown.sort_by_key(|(value, _)| *value);
    shown
}

fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, python)| *python)
}

/// A file that is being written.
struct BindingsWriter<'a> {
    schema: &'a Schema,
    /// The schema of the imported file.
    core: Option<&'a Schema>,
    typed_ids: bool,
    documented: bool,
    /// Types that are defined above, so that annotations need no quotes.
    defined: BTreeSet<&'a str>,
    /// Types of this file.
    own: BTreeSet<&'a str>,
    text: String,
}

impl<'a> BindingsWriter<'a> {
    fn new(schema: &'a Schema, view: View, documented: bool) -> Self {
        let typed_ids = view < UNIFIED_IDS;
        Self {
            schema,
            core: None,
            typed_ids,
            documented,
            defined: BTreeSet::new(),
            own: BTreeSet::new(),
            text: String::new(),
        }
    }

    /// Leaf types come first, because defaults of arguments use them.
    fn types(&mut self, types: Vec<&'a TypeDef>) {
        let rank = |ty: &TypeDef| match &ty.kind {
            TypeKind::Scalar => 0,
            TypeKind::Enum(_) => 1,
            TypeKind::Input(_) => 2,
            TypeKind::Interface(_) => 3,
            TypeKind::Object(_) => 4,
        };
        for wanted in 0..=4 {
            for ty in types.iter().filter(|ty| rank(ty) == wanted) {
                self.text.push_str("\n\n");
                match &ty.kind {
                    TypeKind::Scalar => self.class(ty, "_Scalar", false, false),
                    TypeKind::Enum(members) => self.enumeration(ty, members),
                    TypeKind::Input(fields) => self.input(ty, fields),
                    TypeKind::Interface(_) => self.interface(ty),
                    TypeKind::Object(_) => {
                        self.text.push_str("@_typecheck_methods\n");
                        self.class(ty, "_Type", true, false);
                    }
                }
                self.own.insert(&ty.name);
                self.defined.insert(&ty.name);
            }
        }
    }

    /// The class `name` with those fields of the root type for which `filter` is true.
    fn root(&mut self, name: &str, base: &str, query: &TypeDef, filter: &dyn Fn(&FieldDef) -> bool) {
        let _ = writeln!(self.text, "\n\n@_typecheck_methods\nclass {name}({base}):\n    pass\n");
        for field in query.fields().into_iter().flat_map(|fields| &fields.list) {
            if field.is_listed() && filter(field) {
                self.method(query, field);
            }
        }
        if name == "Query" && chains(query) {
            self.with("Query");
        }
    }

    fn end<const N: usize>(&mut self, more: [&str; N], inherited: &str) {
        let _ = write!(self.text, "\n\ndag = Client()\n\n__all__ = [{inherited}");
        for name in self.own.iter().copied().chain(more) {
            let _ = write!(self.text, "\"{name}\", ");
        }
        self.text.push_str("]\n");
    }

    fn class(&mut self, ty: &TypeDef, base: &str, methods: bool, concrete: bool) {
        let name = if concrete { client_of(&ty.name) } else { ty.name.to_string() };
        let _ = writeln!(self.text, "class {name}({base}):");
        self.doc("    ", &ty.description);
        self.text.push_str("    pass\n\n");
        if concrete {
            let _ =
                writeln!(self.text, "    @classmethod\n    def _graphql_name(cls):\n        return \"{}\"\n", ty.name);
        }
        if !methods {
            return;
        }
        for field in ty.fields().into_iter().flat_map(|fields| &fields.list) {
            if field.is_listed() {
                self.method(ty, field);
            }
        }
        if chains(ty) && !concrete {
            self.with(&ty.name);
        }
    }

    fn with(&mut self, name: &str) {
        let _ = writeln!(
            self.text,
            "    def with_(self, cb: _Callable[[\"{name}\"], \"{name}\"]) -> \"{name}\":\n        return cb(self)\n"
        );
    }

    fn enumeration(&mut self, ty: &TypeDef, members: &[std::sync::Arc<EnumValue>]) {
        let _ = writeln!(self.text, "class {}(_Enum):", ty.name);
        self.doc("    ", &ty.description);
        self.text.push_str("    pass\n\n");
        for (value, member) in shown_members(members) {
            let _ = writeln!(self.text, "    {} = {}", member_name(&member.name), quoted(value));
            self.doc("    ", &member.description);
        }
    }

    fn input(&mut self, ty: &TypeDef, fields: &[std::sync::Arc<ArgDef>]) {
        let _ = writeln!(self.text, "@_typecheck\n@_dataclass(slots=True)\nclass {}(_Input):", ty.name);
        self.doc("    ", &ty.description);
        let mut parameters: Vec<Parameter> =
            fields.iter().filter(|field| !field.hidden).map(|field| self.parameter(field, "", "")).collect();
        parameters.sort_by(|a, b| (a.default.is_some(), &a.graphql).cmp(&(b.default.is_some(), &b.graphql)));
        if parameters.is_empty() {
            self.text.push_str("    pass\n");
        }
        for parameter in parameters {
            let _ = writeln!(self.text, "    {}", parameter.declaration());
        }
    }

    /// Annotations use a protocol class, values are of a client class.
    fn interface(&mut self, ty: &TypeDef) {
        let _ = writeln!(self.text, "@_runtime_checkable\nclass {}(_Protocol):", ty.name);
        self.doc("    ", &ty.description);
        self.text.push_str("    pass\n\n");
        for field in ty.fields().into_iter().flat_map(|fields| &fields.list) {
            if field.is_listed() && &*field.name != "id" {
                let signature = self.signature(ty, field);
                let _ = writeln!(self.text, "    {signature}");
                self.doc("        ", &field.description);
                self.text.push_str("        ...\n\n");
            }
        }
        self.text.push_str("\n@_typecheck_methods\n");
        self.class(ty, "_Type", true, true);
    }

    fn signature(&self, parent: &TypeDef, field: &FieldDef) -> String {
        let mut text = String::from("self");
        let mut keyword_only = false;
        for parameter in self.parameters(parent, field) {
            if parameter.default.is_some() && !keyword_only {
                keyword_only = true;
                text.push_str(", *");
            }
            let _ = write!(text, ", {}", parameter.declaration());
        }
        let result = self.result(parent, field);
        let is_async = if result.executes { "async " } else { "" };
        format!(
            "{is_async}def {}({text}) -> {}:",
            snake_case(&field.name),
            self.deferred(&result.annotation, &field.ty)
        )
    }

    fn method(&mut self, parent: &TypeDef, field: &FieldDef) {
        let signature = self.signature(parent, field);
        let _ = writeln!(self.text, "    {signature}");
        self.doc("        ", &field.description);
        if let Some(reason) = &field.deprecated {
            let message = format!("Method \"{}\" is deprecated: {reason}", snake_case(&field.name));
            let message = quoted(&message);
            let _ = writeln!(self.text, "        _warnings.warn({message}, DeprecationWarning, stacklevel=4)");
        }
        let args: Vec<String> = self.parameters(parent, field).iter().map(Parameter::argument).collect();
        let _ = writeln!(self.text, "        _args = [{}]", args.join(", "));
        let result = self.result(parent, field);
        if result.syncs {
            let _ =
                writeln!(self.text, "        return await self._ctx.execute_sync(self, \"{}\", _args)\n", field.name);
            if &*field.name == "sync" {
                self.text.push_str("    def __await__(self):\n        return self.sync().__await__()\n\n");
            }
            return;
        }
        let _ = writeln!(self.text, "        _ctx = self._select(\"{}\", _args)", field.name);
        let base = field.ty.base();
        let client = match (self.is_interface(base), self.core) {
            (false, _) => base.to_string(),
            (true, Some(core)) if core.types.contains_key(base) => format!("_core.{}", client_of(base)),
            (true, _) => client_of(base),
        };
        let _ = match (self.is_leaf(base), field.ty.element().is_some()) {
            (false, true) => writeln!(self.text, "        return await _ctx.execute_object_list({client})\n"),
            (false, false) => writeln!(self.text, "        return {client}(_ctx)\n"),
            _ if &**base == "Void" => writeln!(self.text, "        await _ctx.execute()\n"),
            _ => writeln!(self.text, "        return await _ctx.execute({})\n", result.annotation),
        };
    }

    fn parameters(&self, parent: &TypeDef, field: &FieldDef) -> Vec<Parameter> {
        let shown = field.args.iter().filter(|arg| !arg.hidden);
        let mut all: Vec<Parameter> = shown.map(|arg| self.parameter(arg, &parent.name, field.ty.base())).collect();
        all.sort_by_key(|parameter| parameter.default.is_some());
        all
    }

    /// An argument of a field of the type `parent` that returns the type `returned`.
    fn parameter(&self, arg: &ArgDef, parent: &str, returned: &str) -> Parameter {
        let mut expected = arg.expected_type();
        if expected.is_none() && self.typed_ids && &*arg.name == "id" {
            expected = Some(returned).filter(|name| !matches!(*name, "" | "Node"));
        }
        // A field that loads an object from its ID takes the ID itself.
        let takes_id = &*arg.name == "id" && expected == Some(returned);
        let annotation = self.annotation(&arg.ty, if takes_id { Ids::Text(expected) } else { Ids::Objects(expected) });
        let default = match &arg.default {
            Some(value) => Some(self.literal(&arg.ty, value)),
            None if !arg.ty.is_non_null() => Some("None".to_owned()),
            None => None,
        };
        let is_list = matches!(arg.default, Some(Value::List(_)));
        let nullable = !arg.ty.is_non_null() || is_list;
        let annotation =
            if nullable && !annotation.ends_with("| None") { format!("{annotation} | None") } else { annotation };
        let annotation = match expected {
            _ if annotation == parent => "_Self".to_owned(),
            Some(name) if !takes_id && !self.defined.contains(name) => format!("\"{annotation}\""),
            _ => self.deferred(&annotation, &arg.ty),
        };
        Parameter { graphql: arg.name.to_string(), name: argument_name(&arg.name), annotation, default, is_list }
    }

    /// The return type of a method, and how the value is obtained.
    fn result(&self, parent: &TypeDef, field: &FieldDef) -> MethodResult {
        let base = &**field.ty.base();
        let is_leaf = self.is_leaf(base);
        let mut expected = field.expected_type();
        let syncs = base == "ID" && &*field.name != "id" && expected == Some(&*parent.name);
        if expected.is_none() && self.typed_ids && &*field.name == "id" && &*parent.name != "Node" {
            expected = Some(&*parent.name);
        }
        let mut annotation = self.annotation(&field.ty, Ids::Text(expected));
        // A nullable object is selected from like a non-null one.
        if !is_leaf {
            annotation = annotation.trim_end_matches(" | None").to_owned();
        }
        if syncs || annotation == *parent.name {
            annotation = "_Self".to_owned();
        }
        MethodResult { annotation, executes: is_leaf || field.ty.element().is_some(), syncs }
    }

    fn annotation(&self, ty: &TypeRef, ids: Ids<'_>) -> String {
        match ty {
            TypeRef::NonNull(inner) => {
                let text = self.annotation(inner, ids);
                text.strip_suffix(" | None").map_or(text.clone(), ToOwned::to_owned)
            }
            TypeRef::List(inner) => format!("list[{}] | None", self.annotation(inner, ids)),
            TypeRef::Named(name) => {
                let text = match (&**name, ids) {
                    ("ID", Ids::Objects(expected)) => expected.unwrap_or("_Type").to_owned(),
                    ("ID", Ids::Text(Some(expected))) if self.has_typed_id(expected) => format!("{expected}ID"),
                    (name, _) => builtin(name).unwrap_or(name).to_owned(),
                };
                format!("{text} | None")
            }
        }
    }

    /// `annotation` in quotes if it names a type that is defined further below.
    fn deferred(&self, annotation: &str, ty: &TypeRef) -> String {
        let base = &**ty.base();
        let known = annotation == "_Self" || builtin(base).is_some() || self.defined.contains(base);
        if known { annotation.to_owned() } else { format!("\"{annotation}\"") }
    }

    fn literal(&self, ty: &TypeRef, value: &Value) -> String {
        match value {
            Value::Null => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(i) => i.to_string(),
            Value::Float(x) => format!("{x:?}"),
            Value::String(text) => quoted(text),
            Value::Enum(name) => format!("{}.{}", ty.base(), member_name(name)),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.literal(ty, item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(_) => "None".to_owned(),
        }
    }

    fn doc(&mut self, indent: &str, text: &str) {
        if self.documented && !text.is_empty() {
            let text = text.replace('\\', "\\\\").replace("\"\"\"", "'''");
            let _ = writeln!(self.text, "{indent}\"\"\"{}\"\"\"", text.trim().trim_end_matches('"'));
        }
    }

    /// Whether the view has a separate ID type for the type `name`.
    fn has_typed_id(&self, name: &str) -> bool {
        self.typed_ids && self.schema.types.contains_key(&*format!("{name}ID"))
    }

    fn is_leaf(&self, name: &str) -> bool {
        self.schema.types.get(name).is_none_or(|ty| matches!(ty.kind, TypeKind::Scalar | TypeKind::Enum(_)))
    }

    fn is_interface(&self, name: &str) -> bool {
        self.schema.types.get(name).is_some_and(|ty| matches!(ty.kind, TypeKind::Interface(_)))
    }
}

/// The Python type of an ID.
#[derive(Clone, Copy)]
enum Ids<'a> {
    /// The object, of the expected type if the API names one.
    Objects(Option<&'a str>),
    /// The ID itself, which has a type per object type in old views.
    Text(Option<&'a str>),
}

/// The result of a method.
struct MethodResult {
    annotation: String,
    /// Whether a request is sent.
    executes: bool,
    /// Whether the result is the ID of the object itself.
    syncs: bool,
}

/// A parameter of a method, or a field of an input.
struct Parameter {
    graphql: String,
    name: String,
    annotation: String,
    default: Option<String>,
    is_list: bool,
}

impl Parameter {
    fn declaration(&self) -> String {
        let Self { name, annotation, default, .. } = self;
        match default {
            // A list as a Python default would be shared by all calls.
            Some(_) if self.is_list => format!("{name}: {annotation} = None"),
            Some(default) => format!("{name}: {annotation} = {default}"),
            None => format!("{name}: {annotation}"),
        }
    }

    fn argument(&self) -> String {
        let Self { graphql, name, default, .. } = self;
        match default {
            Some(default) if self.is_list => {
                format!("_Arg(\"{graphql}\", {default} if {name} is None else {name}, {default})")
            }
            Some(default) => format!("_Arg(\"{graphql}\", {name}, {default})"),
            None => format!("_Arg(\"{graphql}\", {name})"),
        }
    }
}

/// Whether a field of the type returns the same type, so that calls can be chained.
fn chains(ty: &TypeDef) -> bool {
    let same =
        |field: &FieldDef| matches!(&field.ty, TypeRef::NonNull(inner) if **inner == TypeRef::Named(ty.name.clone()));
    ty.fields().is_some_and(|fields| fields.list.iter().any(|field| same(field)))
}

/// The class of an interface's values.
fn client_of(interface: &str) -> String {
    format!("_{interface}Client")
}

fn member_name(name: &str) -> String {
    if is_keyword(name) { format!("{name}_") } else { name.to_owned() }
}

fn value_of(member: &EnumValue) -> &str {
    let named = |directive: &&AppliedDirective| &*directive.name == "enumValue";
    let value = member.directives.iter().find(named).and_then(|directive| match &directive.args.first()?.1 {
        Value::String(text) => Some(&**text),
        _ => None,
    });
    value.or(member.alias_of.as_deref()).unwrap_or(&member.name)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CORE_TYPES: &str = r#"
directive @expectedType(name: String!) on ARGUMENT_DEFINITION | FIELD_DEFINITION
directive @enumValue(value: String!) on ENUM_VALUE
enum Level { LOW HIGH @enumValue(value: "LOW") }
input Pair { value: String = "" name: String! }
scalar DirectoryID
interface Node { id: ID! }
type Directory implements Node {
  id: ID! @expectedType(name: "Directory")
  sync: ID! @expectedType(name: "Directory")
  entries(path: String): [String!]!
  withDirectory(path: String!, source: ID! @expectedType(name: "Directory"), level: Level = LOW): Directory!
  import(str: String!, self: Int!): Directory
  all(tags: [String!] = ["x"]): [Directory!]!
  type: Boolean @deprecated(reason: "say \"no\"")
}
type Query {
  directory: Directory!
  loadDirectoryFromID(id: DirectoryID!): Directory!
  directoryOf(id: ID! @expectedType(name: "Directory")): Directory!
}
"#;
    const MORE: &str = r#"
"What it is." type Dep implements Node { id: ID! @expectedType(name: "Dep") build(src: ID! @expectedType(name: "Directory")): Directory! next: Dep! node: Node! }
enum DepLevel { LOW None }
"#;

    fn schema(text: &str) -> Schema {
        rondel_gql::builtin::schema(text, rondel_gql::builtin::nothing).expect("a schema")
    }

    fn check_holds(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part}\n---\n{text}");
        }
    }

    #[test]
    fn the_api() {
        let text = python_core(&schema(CORE_TYPES), View::new(0, 21, 8));
        check_holds(
            &text,
            &[
                "class Level(_Enum):\n    pass\n\n    LOW = \"LOW\"\n    HIGH = \"LOW\"\n",
                "class Pair(_Input):\n    name: str\n    value: str | None = \"\"\n",
                "class DirectoryID(_Scalar):",
                "@_runtime_checkable\nclass Node(_Protocol):",
                "class _NodeClient(_Type):\n    pass\n\n    @classmethod\n    def _graphql_name(cls):\n        return \"Node\"",
                "    async def id(self) -> str:",
                "    async def sync(self) -> _Self:\n        _args = []\n        return await self._ctx.execute_sync(self, \"sync\", _args)",
                "    def __await__(self):",
                "    async def entries(self, *, path: str | None = None) -> list[str]:\n        _args = [_Arg(\"path\", path, None)]",
                "    def with_directory(self, path: str, source: _Self, *, level: Level | None = Level.LOW) -> _Self:",
                "    def import_(self, str_: str, self_: int) -> _Self:\n        _args = [_Arg(\"str\", str_), _Arg(\"self\", self_)]",
                "    async def all(self, *, tags: list[str] | None = None) -> \"list[Directory]\":\n        _args = [_Arg(\"tags\", [\"x\"] if tags is None else tags, [\"x\"])]",
                "        return await _ctx.execute_object_list(Directory)",
                "    async def type_(self) -> bool | None:\n        _warnings.warn(\"Method \\\"type_\\\" is deprecated: say \\\"no\\\"\", DeprecationWarning, stacklevel=4)",
                "    def with_(self, cb: _Callable[[\"Directory\"], \"Directory\"]) -> \"Directory\":",
                "    def load_directory_from_id(self, id: DirectoryID) -> Directory:",
                "    def directory_of(self, id: str) -> Directory:",
                "class Client(Query):",
            ],
        );
    }

    #[test]
    fn ids_of_old_views_have_types() {
        let text = python_core(&schema(CORE_TYPES), View::new(0, 20, 6));
        check_holds(
            &text,
            &["async def id(self) -> DirectoryID:", "def directory_of(self, id: DirectoryID) -> Directory:"],
        );
        check_holds(
            &text,
            &["async def id(self) -> str:\n        _args = []\n        _ctx = self._select(\"id\", _args)"],
        );
    }

    #[test]
    fn modules_beside_the_api() {
        let core = schema(CORE_TYPES);
        let with_field = CORE_TYPES.replace("type Query {", "type Query {\n  dep(level: DepLevel = LOW): Dep!");
        let text = python_all(&core, &schema(&format!("{with_field}{MORE}")), View::new(0, 21, 8));
        check_holds(
            &text,
            &[
                "import dagger_core_gen as _core\nfrom dagger_core_gen import *\n",
                "class DepLevel(_Enum):\n    pass\n\n    LOW = \"LOW\"\n    None_ = \"None\"\n",
                "class Dep(_Type):\n    \"\"\"What it is.\"\"\"\n",
                "    def build(self, src: Directory) -> Directory:",
                "        return _core._NodeClient(_ctx)",
                "class Client(_core.Client):\n    pass\n\n    def dep(self, *, level: DepLevel | None = DepLevel.LOW) -> Dep:",
                "__all__ = [*_core.__all__, \"Dep\", \"DepLevel\", \"Client\", \"dag\", ]",
            ],
        );
        assert!(!text.contains("class Directory") && !text.contains("def directory("), "{text}");
        let same = Arc::new(core);
        assert!(!python_all(&same, &same, View::new(0, 21, 8)).contains("def "));
    }
}
