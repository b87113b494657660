//! Introspection: the answer is written as text while schema and selection are walked.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, Weak};

use rondel_fault::{Fault, Result, lock};
use rondel_gql::types::{
    AppliedDirective, ArgDef, DirectiveDef, EnumValue, FieldDef, Name, Schema, TypeDef, TypeKind, TypeRef,
};
use rondel_gql::{Operation, SelectionId, Target, Value};

/// How deep introspection may be nested. The usual query is about twenty deep.
const DEPTH: usize = 100;
/// How long an answer may be: a hundred times the whole API.
const BYTES: usize = 64 << 20;
/// How many answers a cache keeps.
const CACHED: usize = 32;

/// The JSON text of a `__schema` or `__type` selection.
///
/// # Errors
/// When the selection is nested too deep or its answer gets too long.
pub fn introspect(schema: &Schema, operation: &Operation, selection: SelectionId) -> Result<String> {
    let mut writer = Writer { schema, operation, out: String::new(), types: None, implementers: None };
    let selected = &operation.selections[selection as usize];
    match &selected.target {
        Target::Schema => writer.object(&Item::Schema, &selected.children, 0)?,
        Target::Type(name) => match schema.types.get(name) {
            Some(ty) => writer.object(&Item::Type(ty), &selected.children, 0)?,
            None => writer.out.push_str("null"),
        },
        _ => return Err(Fault::bug(format!("cannot introspect: `{}` is no introspection field", selected.alias))),
    }
    Ok(writer.out)
}

/// Answers of introspection, kept per schema and selection.
#[derive(Default)]
pub struct IntrospectionCache {
    kept: Mutex<HashMap<(usize, String), Kept>>,
}

struct Kept {
    schema: Weak<Schema>,
    text: Arc<str>,
}

impl IntrospectionCache {
    /// The answer of [`introspect`], from the cache if it is known.
    ///
    /// # Errors
    /// As [`introspect`].
    pub fn get(&self, schema: &Arc<Schema>, operation: &Operation, selection: SelectionId) -> Result<Arc<str>> {
        let key = (Arc::as_ptr(schema) as usize, describe(operation, selection));
        let mut kept = lock(&self.kept);
        if let Some(known) = kept.get(&key)
            && known.schema.upgrade().is_some_and(|known| Arc::ptr_eq(&known, schema))
        {
            return Ok(known.text.clone());
        }
        drop(kept);
        let text: Arc<str> = introspect(schema, operation, selection)?.into();
        kept = lock(&self.kept);
        if kept.len() >= CACHED {
            kept.retain(|_, known| known.schema.strong_count() > 0);
        }
        if kept.len() >= CACHED {
            kept.clear();
        }
        kept.insert(key, Kept { schema: Arc::downgrade(schema), text: text.clone() });
        Ok(text)
    }
}

/// A text that is the same for selections that get the same answer.
fn describe(operation: &Operation, selection: SelectionId) -> String {
    let mut text = String::new();
    let mut work = vec![(selection, false)];
    while let Some((id, close)) = work.pop() {
        if close {
            text.push('}');
            continue;
        }
        let selection = &operation.selections[id as usize];
        text.push_str(&selection.alias);
        let _ = match &selection.target {
            Target::Introspection { field, include_deprecated } => {
                write!(text, ":{field}{}", u8::from(*include_deprecated))
            }
            Target::Type(name) => write!(text, ":t{name:?}"),
            Target::Schema => write!(text, ":s"),
            _ => write!(text, ":n"),
        };
        text.push('{');
        work.push((id, true));
        work.extend(selection.children.iter().rev().map(|child| (*child, false)));
    }
    text
}

enum Item<'s> {
    Schema,
    Type(&'s TypeDef),
    /// A list or non-null type.
    Wrapper(&'s TypeRef),
    Field(&'s FieldDef),
    Input(&'s ArgDef),
    Member(&'s EnumValue),
    Directive(&'s DirectiveDef),
    Applied(&'s AppliedDirective),
    AppliedArg(&'s (Name, Value)),
}

struct Writer<'s> {
    schema: &'s Schema,
    operation: &'s Operation,
    out: String,
    types: Option<Vec<&'s TypeDef>>,
    implementers: Option<HashMap<Name, Vec<&'s TypeDef>>>,
}

impl<'s> Writer<'s> {
    fn object(&mut self, item: &Item<'s>, children: &'s [SelectionId], depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Fault::user(format!("cannot introspect: selections are nested more than {DEPTH} deep")));
        }
        if self.out.len() > BYTES {
            return Err(Fault::user(format!("cannot introspect: the answer is longer than {BYTES} bytes")));
        }
        self.out.push('{');
        for (at, child) in children.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            let selection = &self.operation.selections[*child as usize];
            text(&mut self.out, &selection.alias);
            self.out.push(':');
            match &selection.target {
                Target::Introspection { field, include_deprecated } => {
                    self.field(item, field, *include_deprecated, &selection.children, depth + 1)?;
                }
                Target::Typename => text(&mut self.out, type_name(item)),
                _ => self.out.push_str("null"),
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn list(&mut self, items: impl Iterator<Item = Item<'s>>, children: &'s [SelectionId], depth: usize) -> Result<()> {
        self.out.push('[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            self.object(&item, children, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn field(
        &mut self,
        item: &Item<'s>,
        name: &str,
        all: bool,
        children: &'s [SelectionId],
        depth: usize,
    ) -> Result<()> {
        match item {
            Item::Schema => self.schema_field(name, children, depth),
            Item::Type(ty) => self.type_field(ty, name, all, children, depth),
            Item::Wrapper(ty) => self.wrapper_field(ty, name, children, depth),
            Item::Field(def) => match name {
                "args" => self.inputs(&def.args, all, children, depth),
                "type" => self.reference(&def.ty, children, depth),
                _ => self.common(&def.name, &def.description, &def.deprecated, &def.directives, name, children, depth),
            },
            Item::Input(def) => match name {
                "type" => self.reference(&def.ty, children, depth),
                "defaultValue" => {
                    match &def.default {
                        Some(value) => text(&mut self.out, &value.to_string()),
                        None => self.out.push_str("null"),
                    }
                    Ok(())
                }
                _ => self.common(&def.name, &def.description, &def.deprecated, &def.directives, name, children, depth),
            },
            Item::Member(def) => {
                self.common(&def.name, &def.description, &def.deprecated, &def.directives, name, children, depth)
            }
            Item::Directive(def) => self.directive_field(def, name, all, children, depth),
            Item::Applied(applied) => match name {
                "args" => self.list(applied.args.iter().map(Item::AppliedArg), children, depth),
                _ => {
                    text(&mut self.out, &applied.name);
                    Ok(())
                }
            },
            Item::AppliedArg((argument, value)) => {
                match name {
                    "name" => text(&mut self.out, argument),
                    _ => text(&mut self.out, &value.to_string()),
                }
                Ok(())
            }
        }
    }

    fn schema_field(&mut self, name: &str, children: &'s [SelectionId], depth: usize) -> Result<()> {
        match name {
            "types" => {
                let types = self.sorted_types();
                self.list(types.into_iter().map(Item::Type), children, depth)
            }
            "queryType" => match self.schema.types.get(&self.schema.query) {
                Some(root) => self.object(&Item::Type(root), children, depth),
                None => self.null(),
            },
            "directives" => {
                let schema = self.schema;
                self.list(schema.directives.iter().map(|def| Item::Directive(def)), children, depth)
            }
            _ => self.null(),
        }
    }

    fn type_field(
        &mut self,
        ty: &'s TypeDef,
        name: &str,
        all: bool,
        children: &'s [SelectionId],
        depth: usize,
    ) -> Result<()> {
        let schema = self.schema;
        match (name, &ty.kind) {
            ("kind", kind) => {
                text(&mut self.out, kind_name(kind));
                Ok(())
            }
            ("name", _) => {
                text(&mut self.out, &ty.name);
                Ok(())
            }
            ("description", _) => self.description(&ty.description),
            ("fields", TypeKind::Object(fields) | TypeKind::Interface(fields)) => {
                let listed = fields.list.iter().filter(|def| def.is_listed());
                let shown = listed.filter(|def| all || def.deprecated.is_none());
                self.list(shown.map(|def| Item::Field(def)), children, depth)
            }
            ("interfaces", TypeKind::Object(fields) | TypeKind::Interface(fields)) => {
                let known = fields.interfaces.iter().filter_map(|name| schema.types.get(name));
                self.list(known.map(|def| Item::Type(def)), children, depth)
            }
            ("possibleTypes", TypeKind::Interface(_)) => {
                let objects = self.implementers(&ty.name);
                self.list(objects.into_iter().map(Item::Type), children, depth)
            }
            ("enumValues", TypeKind::Enum(members)) => {
                let shown = members.iter().filter(|def| !def.hidden && (all || def.deprecated.is_none()));
                self.list(shown.map(|def| Item::Member(def)), children, depth)
            }
            ("inputFields", TypeKind::Input(fields)) => self.inputs(fields, all, children, depth),
            ("isOneOf", TypeKind::Input(_)) => {
                self.out.push_str("false");
                Ok(())
            }
            ("directives", _) => self.list(ty.directives.iter().map(Item::Applied), children, depth),
            _ => self.null(),
        }
    }

    fn wrapper_field(&mut self, ty: &'s TypeRef, name: &str, children: &'s [SelectionId], depth: usize) -> Result<()> {
        match (name, ty) {
            ("kind", TypeRef::List(_)) => self.out.push_str("\"LIST\""),
            ("kind", _) => self.out.push_str("\"NON_NULL\""),
            ("ofType", TypeRef::List(inner) | TypeRef::NonNull(inner)) => {
                return self.reference(inner, children, depth);
            }
            ("directives", _) => self.out.push_str("[]"),
            _ => self.out.push_str("null"),
        }
        Ok(())
    }

    fn directive_field(
        &mut self,
        def: &'s DirectiveDef,
        name: &str,
        all: bool,
        children: &'s [SelectionId],
        depth: usize,
    ) -> Result<()> {
        match name {
            "name" => text(&mut self.out, &def.name),
            "description" => return self.description(&def.description),
            "isRepeatable" => self.out.push_str("false"),
            "args" => return self.inputs(&def.args, all, children, depth),
            _ => {
                self.out.push('[');
                for (at, location) in def.locations.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    text(&mut self.out, location);
                }
                self.out.push(']');
            }
        }
        Ok(())
    }

    /// What fields, arguments and enum members have in common.
    #[expect(clippy::too_many_arguments, reason = "the parts of three types that share no trait")]
    fn common(
        &mut self,
        own: &Name,
        description: &Name,
        deprecated: &Option<Name>,
        directives: &'s [AppliedDirective],
        name: &str,
        children: &'s [SelectionId],
        depth: usize,
    ) -> Result<()> {
        match name {
            "name" => text(&mut self.out, own),
            "description" => return self.description(description),
            "isDeprecated" => self.out.push_str(if deprecated.is_some() { "true" } else { "false" }),
            "deprecationReason" => match deprecated {
                Some(reason) => text(&mut self.out, reason),
                None => self.out.push_str("null"),
            },
            "directives" => return self.list(directives.iter().map(Item::Applied), children, depth),
            _ => self.out.push_str("null"),
        }
        Ok(())
    }

    fn inputs(
        &mut self,
        inputs: &'s [Arc<ArgDef>],
        all: bool,
        children: &'s [SelectionId],
        depth: usize,
    ) -> Result<()> {
        let shown = inputs.iter().filter(|def| !def.hidden && (all || def.deprecated.is_none()));
        self.list(shown.map(|def| Item::Input(def)), children, depth)
    }

    fn reference(&mut self, ty: &'s TypeRef, children: &'s [SelectionId], depth: usize) -> Result<()> {
        match ty {
            TypeRef::Named(name) => match self.schema.types.get(name) {
                Some(def) => self.object(&Item::Type(def), children, depth),
                None => self.null(),
            },
            wrapper => self.object(&Item::Wrapper(wrapper), children, depth),
        }
    }

    fn description(&mut self, description: &str) -> Result<()> {
        text(&mut self.out, description);
        Ok(())
    }

    fn null(&mut self) -> Result<()> {
        self.out.push_str("null");
        Ok(())
    }

    fn sorted_types(&mut self) -> Vec<&'s TypeDef> {
        let schema = self.schema;
        let make = || {
            let mut types: Vec<&TypeDef> = schema.types.values().map(|def| &**def).collect();
            types.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            types
        };
        self.types.get_or_insert_with(make).clone()
    }

    fn implementers(&mut self, interface: &str) -> Vec<&'s TypeDef> {
        let types = self.sorted_types();
        let make = || {
            let mut all: HashMap<Name, Vec<&TypeDef>> = HashMap::new();
            for ty in types {
                if let TypeKind::Object(fields) = &ty.kind {
                    for interface in &fields.interfaces {
                        all.entry(interface.clone()).or_default().push(ty);
                    }
                }
            }
            all
        };
        self.implementers.get_or_insert_with(make).get(interface).cloned().unwrap_or_default()
    }
}

fn kind_name(kind: &TypeKind) -> &'static str {
    match kind {
        TypeKind::Scalar => "SCALAR",
        TypeKind::Object(_) => "OBJECT",
        TypeKind::Interface(_) => "INTERFACE",
        TypeKind::Enum(_) => "ENUM",
        TypeKind::Input(_) => "INPUT_OBJECT",
    }
}

fn type_name(item: &Item<'_>) -> &'static str {
    match item {
        Item::Schema => "__Schema",
        Item::Type(_) | Item::Wrapper(_) => "__Type",
        Item::Field(_) => "__Field",
        Item::Input(_) => "__InputValue",
        Item::Member(_) => "__EnumValue",
        Item::Directive(_) => "__Directive",
        Item::Applied(_) => "_DirectiveApplication",
        Item::AppliedArg(_) => "_DirectiveApplicationArg",
    }
}

/// Writes a JSON string.
pub(crate) fn text(out: &mut String, value: &str) {
    out.push('"');
    let mut piece = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&value[piece..at]);
        piece = at + 1;
        match escape {
            "" => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            escape => out.push_str(escape),
        }
    }
    out.push_str(&value[piece..]);
    out.push('"');
}
