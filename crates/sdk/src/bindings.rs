//! Bindings of other modules for Python: the file `dagger_gen.py`, which adds them to those of the library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rondel_gql::Value;
use rondel_gql::types::{ArgDef, FieldDef, TypeDef, TypeKind, TypeRef};

use crate::Dependency;

const HEAD: &str = r#"# Generated. Bindings of the modules that this module uses, beside those of the library.
from dagger.client import gen as _gen
from dagger.client.gen import *
from dagger.client._core import Arg
from dagger.client.base import Enum, Type


"#;
/// Words that cannot be names in Python.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield", "self",
];

/// The file for `dependencies`.
pub fn python(dependencies: &[Dependency]) -> String {
    let mut own: BTreeMap<&str, &TypeDef> = BTreeMap::new();
    for ty in dependencies.iter().flat_map(|dependency| &dependency.types) {
        own.insert(&ty.name, ty);
    }
    let mut out = Writer { own, out: HEAD.to_owned() };
    let types: Vec<&TypeDef> = out.own.values().copied().collect();
    types.iter().for_each(|ty| out.enumeration(ty));
    types.iter().for_each(|ty| out.class(ty));
    out.out.push_str(
        "class Client(_gen.Client):\n    @classmethod\n    def _graphql_name(cls):\n        return \"Query\"\n\n",
    );
    for dependency in dependencies {
        out.method(&dependency.constructor);
    }
    out.out.push_str("\ndag = Client()\n\n__all__ = [*_gen.__all__");
    let names: Vec<&str> = out.own.keys().copied().collect();
    for name in names {
        let _ = write!(out.out, ", \"{name}\"");
    }
    out.out.push_str("]\n");
    out.out
}

struct Writer<'a> {
    own: BTreeMap<&'a str, &'a TypeDef>,
    out: String,
}

impl Writer<'_> {
    fn enumeration(&mut self, ty: &TypeDef) {
        let TypeKind::Enum(members) = &ty.kind else { return };
        let _ = writeln!(self.out, "class {}(Enum):", ty.name);
        self.doc("    ", &ty.description);
        for member in members {
            let _ = writeln!(self.out, "    {} = \"{}\"", safe(&member.name), member.name);
        }
        self.out.push_str("\n\n");
    }

    fn class(&mut self, ty: &TypeDef) {
        let Some(fields) = ty.fields() else { return };
        let _ = writeln!(self.out, "class {}(Type):", ty.name);
        self.doc("    ", if ty.description.is_empty() { "A type of another module." } else { &ty.description });
        self.out.push('\n');
        for field in &fields.list {
            self.method(field);
        }
        self.out.push('\n');
    }

    fn method(&mut self, field: &Arc<FieldDef>) {
        let mut args: Vec<&Arc<ArgDef>> = field.args.iter().filter(|arg| !arg.hidden).collect();
        args.sort_by_key(|arg| !required(arg));
        let mut signature = String::from("self");
        let mut keyword_only = false;
        for arg in &args {
            if !required(arg) && !keyword_only {
                keyword_only = true;
                signature.push_str(", *");
            }
            let ty = self.annotation(&arg.ty, arg.expected_type());
            let _ = match &arg.default {
                _ if required(arg) => write!(signature, ", {}: \"{ty}\"", snake(&arg.name)),
                Some(default) => {
                    write!(signature, ", {}: \"{ty} | None\" = {}", snake(&arg.name), self.default(arg, default))
                }
                None => write!(signature, ", {}: \"{ty} | None\" = None", snake(&arg.name)),
            };
        }
        let base = field.ty.base();
        let object = !matches!(&**base, "ID") && self.is_object(base);
        let list = field.ty.element().is_some();
        let is_async = if object && !list { "" } else { "async " };
        let returns = self.annotation(&field.ty, None);
        let _ = writeln!(self.out, "    {is_async}def {}({signature}) -> \"{returns}\":", snake(&field.name));
        self.doc("        ", &field.description);
        self.out.push_str("        _args = [");
        for arg in &args {
            let _ = match &arg.default {
                Some(default) if !required(arg) => {
                    write!(self.out, "Arg(\"{}\", {}, {}), ", arg.name, snake(&arg.name), self.default(arg, default))
                }
                _ if required(arg) => write!(self.out, "Arg(\"{}\", {}), ", arg.name, snake(&arg.name)),
                _ => write!(self.out, "Arg(\"{}\", {}, None), ", arg.name, snake(&arg.name)),
            };
        }
        let _ = writeln!(self.out, "]\n        _ctx = self._select(\"{}\", _args)", field.name);
        let _ = match (object, list) {
            (true, true) => writeln!(self.out, "        return await _ctx.execute_object_list({base})\n"),
            (true, false) => writeln!(self.out, "        return {base}(_ctx)\n"),
            _ if &**base == "Void" => writeln!(self.out, "        await _ctx.execute()\n"),
            _ => writeln!(self.out, "        return await _ctx.execute({returns})\n"),
        };
    }

    fn doc(&mut self, indent: &str, text: &str) {
        if !text.is_empty() {
            let text = text.replace('\\', "\\\\").replace("\"\"\"", "'''");
            let _ = writeln!(self.out, "{indent}\"\"\"{}\"\"\"", text.trim().trim_end_matches('"'));
        }
    }

    /// Enums and scalars are leaves; everything else that is no built-in scalar is an object.
    fn is_object(&self, name: &str) -> bool {
        match self.own.get(name) {
            Some(ty) => ty.is_composite(),
            None => !is_leaf(name),
        }
    }

    fn annotation(&self, ty: &TypeRef, expected: Option<&str>) -> String {
        match ty {
            TypeRef::NonNull(inner) => self.annotation(inner, expected),
            TypeRef::List(inner) => format!("list[{}]", self.annotation(inner, expected)),
            TypeRef::Named(name) => match (&**name, expected) {
                ("ID", Some(expected)) => expected.to_owned(),
                ("String" | "ID", _) => "str".to_owned(),
                ("Int", _) => "int".to_owned(),
                ("Float", _) => "float".to_owned(),
                ("Boolean", _) => "bool".to_owned(),
                ("Void", _) => "None".to_owned(),
                (other, _) => other.to_owned(),
            },
        }
    }

    fn default(&self, arg: &ArgDef, value: &Value) -> String {
        match value {
            Value::Null => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(i) => i.to_string(),
            Value::Float(x) => x.to_string(),
            Value::String(text) => serde_json::Value::from(&**text).to_string(),
            Value::Enum(name) => format!("{}.{}", arg.ty.base(), safe(name)),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.default(arg, item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(_) => "None".to_owned(),
        }
    }
}

fn required(arg: &ArgDef) -> bool {
    arg.ty.is_non_null() && arg.default.is_none()
}

fn is_leaf(name: &str) -> bool {
    const LEAVES: &[&str] = &[
        "String",
        "Int",
        "Float",
        "Boolean",
        "ID",
        "Void",
        "JSON",
        "Platform",
        "CacheSharingMode",
        "ChangesetMergeConflict",
        "ChangesetsMergeConflict",
        "DiffStatKind",
        "ExistsType",
        "FileType",
        "FunctionCachePolicy",
        "ImageLayerCompression",
        "ImageMediaTypes",
        "ModuleSourceExperimentalFeature",
        "ModuleSourceKind",
        "NetworkProtocol",
        "ReturnType",
        "TypeDefKind",
    ];
    LEAVES.contains(&name)
}

fn safe(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// `withExec` → `with_exec`, as the library's own methods are named.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let chars: Vec<char> = name.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let next_is_lower = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let starts =
            c.is_ascii_uppercase() && before.is_some_and(|b| b != '_' && (!b.is_ascii_uppercase() || next_is_lower));
        if starts {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    safe(&out)
}

#[cfg(test)]
mod tests {
    use rondel_gql::types::{AppliedDirective, Behaviour, EnumValue, Fields};

    use super::*;

    fn named(name: &str) -> TypeRef {
        TypeRef::NonNull(Box::new(TypeRef::Named(name.into())))
    }

    fn field(name: &str, ty: TypeRef, args: Vec<ArgDef>) -> Arc<FieldDef> {
        Arc::new(FieldDef {
            name: name.into(),
            description: "".into(),
            args: args.into_iter().map(Arc::new).collect(),
            ty,
            deprecated: None,
            directives: Vec::new(),
            behaviour: Behaviour(Arc::new(())),
        })
    }

    fn arg(name: &str, ty: TypeRef, default: Option<Value>, expected: Option<&str>) -> ArgDef {
        let directive = |name: &str| AppliedDirective {
            name: "expectedType".into(),
            args: vec![("name".into(), Value::string(name))],
        };
        let directives = expected.map(directive).into_iter().collect();
        ArgDef { name: name.into(), description: "".into(), ty, default, deprecated: None, directives, hidden: false }
    }

    #[test]
    fn one_module() {
        let list = TypeRef::NonNull(Box::new(TypeRef::List(Box::new(named("DepItem")))));
        let fields = vec![
            field("hello", named("String"), vec![arg("theName", named("String"), Some(Value::string("x")), None)]),
            field("build", named("Container"), vec![arg("src", named("ID"), None, Some("Directory"))]),
            field("items", list, vec![]),
        ];
        let object = TypeDef {
            name: "Dep".into(),
            description: "".into(),
            kind: TypeKind::Object(Fields::new(fields, vec![])),
            directives: vec![],
        };
        let low = EnumValue {
            name: "LOW".into(),
            description: "".into(),
            deprecated: None,
            alias_of: None,
            hidden: false,
            directives: vec![],
        };
        let level = TypeDef {
            name: "DepLevel".into(),
            description: "".into(),
            kind: TypeKind::Enum(vec![Arc::new(low)]),
            directives: vec![],
        };
        let item = TypeDef {
            name: "DepItem".into(),
            description: "".into(),
            kind: TypeKind::Object(Fields::default()),
            directives: vec![],
        };
        let constructor =
            field("dep", named("Dep"), vec![arg("level", named("DepLevel"), Some(Value::Enum("LOW".into())), None)]);
        let text =
            python(&[Dependency { constructor, types: vec![Arc::new(object), Arc::new(level), Arc::new(item)] }]);
        for want in [
            "class DepLevel(Enum):\n    LOW = \"LOW\"",
            "    async def hello(self, *, the_name: \"str | None\" = \"x\") -> \"str\":\n        _args = [Arg(\"theName\", the_name, \"x\"), ]\n",
            "        return await _ctx.execute(str)",
            "    def build(self, src: \"Directory\") -> \"Container\":\n        _args = [Arg(\"src\", src), ]\n        _ctx = self._select(\"build\", _args)\n        return Container(_ctx)",
            "    async def items(self) -> \"list[DepItem]\":",
            "        return await _ctx.execute_object_list(DepItem)",
            "    def dep(self, *, level: \"DepLevel | None\" = DepLevel.LOW) -> \"Dep\":",
            "dag = Client()",
        ] {
            assert!(text.contains(want), "{want}\n---\n{text}");
        }
    }

    #[test]
    fn names() {
        let check = |name: &str, want: &str| assert_eq!(snake(name), want);
        check("withExec", "with_exec");
        check("from", "from_");
        check("asJSON", "as_json");
        check("x", "x");
    }
}
