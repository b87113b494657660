//! The API of this engine: what its introspection says, and what it evaluates.

use std::collections::{BTreeMap, BTreeSet};

use rondel_api::Surface;
use rondel_modules::Modules;
use rondel_schema::Registry;
use rondel_version::View;
use serde_json::Value;

use crate::table::{Arg, Kind, Name, Shape, Type};

/// What every GraphQL schema has.
const BUILTIN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];
/// Directives of GraphQL itself.
const BUILTIN_DIRECTIVES: [&str; 5] = ["deprecated", "include", "oneOf", "skip", "specifiedBy"];

/// The API with everything that is registered.
pub(crate) struct Ours {
    registry: Registry,
    evaluated: BTreeSet<String>,
}

impl Ours {
    /// The API as the engine builds it.
    pub(crate) fn new() -> Self {
        let mut surface = Surface::new();
        rondel_api::register_core(&mut surface);
        rondel_modules::register_modules(&mut surface, &Modules::new());
        let registry = rondel_api::registry(&surface).expect("the API is consistent");
        Self { registry, evaluated: surface.names().collect() }
    }

    /// What a client of `version` is told.
    pub(crate) fn at(&self, version: &str) -> BTreeMap<Name, Shape> {
        let view: View = version.parse().expect("a version");
        let schema = self.registry.project(view);
        let text = rondel_schema::schema_json(&schema, view, &[]).expect("the schema can be introspected");
        read(&serde_json::from_str(&text).expect("the introspection is JSON"))
    }

    /// Whether a field works: something evaluates it. An ID works when something that is evaluated
    /// gives its object.
    pub(crate) fn works(&self, name: &Name, shapes: &BTreeMap<Name, Shape>) -> bool {
        let loaded = name.member.strip_prefix("load").and_then(|rest| rest.strip_suffix("FromID"));
        match (&*name.member, loaded) {
            ("id", _) => self.gives(&name.within, shapes),
            (_, Some(of)) => self.gives(of, shapes),
            _ => self.evaluated.contains(&name.to_string()),
        }
    }

    fn gives(&self, type_name: &str, shapes: &BTreeMap<Name, Shape>) -> bool {
        let gives = |(name, shape): (&Name, &Shape)| {
            shape.ty.base() == type_name && name.kind == Kind::Field && self.evaluated.contains(&name.to_string())
        };
        type_name == "Query" || shapes.iter().any(gives)
    }
}

/// An introspection file as members.
fn read(file: &Value) -> BTreeMap<Name, Shape> {
    let schema = &file["__schema"];
    let mut all = BTreeMap::new();
    for ty in list(&schema["types"]) {
        let within = text(&ty["name"]);
        // An underscore is before what introspection itself needs.
        if !within.starts_with('_') && !BUILTIN.contains(&within) {
            read_type(ty, within, &mut all);
        }
    }
    for directive in list(&schema["directives"]).filter(|d| !BUILTIN_DIRECTIVES.contains(&text(&d["name"]))) {
        let name = Name { within: text(&directive["name"]).into(), member: String::new(), kind: Kind::Directive };
        let words = list(&directive["locations"]).map(|place| text(place).to_owned()).collect();
        all.insert(name, Shape { words, args: list(&directive["args"]).map(arg).collect(), ..Shape::default() });
    }
    all
}

fn read_type(ty: &Value, within: &str, all: &mut BTreeMap<Name, Shape>) {
    let kind = match text(&ty["kind"]) {
        "SCALAR" => Kind::Scalar,
        "ENUM" => Kind::Enum,
        "INPUT_OBJECT" => Kind::Input,
        "INTERFACE" => Kind::Interface,
        _ => Kind::Object,
    };
    let words = list(&ty["interfaces"]).map(|interface| text(&interface["name"]).to_owned()).collect();
    let name = |member: &str, kind| Name { within: within.into(), member: member.into(), kind };
    all.insert(name("", kind), Shape { words, ..Shape::default() });
    for (key, kind) in [("fields", Kind::Field), ("inputFields", Kind::InputField), ("enumValues", Kind::EnumValue)] {
        for member in list(&ty[key]) {
            let mut shape = Shape {
                args: list(&member["args"]).map(arg).collect(),
                deprecated: member["isDeprecated"] == true,
                experimental: applied(member, "experimental").is_some(),
                ..Shape::default()
            };
            match kind {
                Kind::EnumValue => shape.value = applied(member, "enumValue"),
                _ => {
                    shape.ty = typed(member);
                    shape.value = member["defaultValue"].as_str().map(str::to_owned);
                }
            }
            all.insert(name(text(&member["name"]), kind), shape);
        }
    }
}

fn arg(value: &Value) -> Arg {
    Arg {
        name: text(&value["name"]).into(),
        ty: typed(value),
        default: value["defaultValue"].as_str().map(str::to_owned),
        deprecated: value["isDeprecated"] == true,
    }
}

fn typed(member: &Value) -> Type {
    Type { text: reference(&member["type"]), of: applied(member, "expectedType") }
}

fn reference(ty: &Value) -> String {
    match text(&ty["kind"]) {
        "NON_NULL" => format!("{}!", reference(&ty["ofType"])),
        "LIST" => format!("[{}]", reference(&ty["ofType"])),
        _ => text(&ty["name"]).into(),
    }
}

/// The first argument of a directive on `member`, without quotes.
fn applied(member: &Value, directive: &str) -> Option<String> {
    let found = list(&member["directives"]).find(|d| d["name"] == directive)?;
    let value = list(&found["args"]).next().map_or("", |argument| text(&argument["value"]));
    Some(value.trim_matches('"').to_owned())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
