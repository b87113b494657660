//! Types as JSON: a document that contains the arguments of the builder of type definitions.
//! docs/sdk-authors.md describes it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_typescan::document::{
    DeclaredArg, DeclaredCache, DeclaredCachePolicy, DeclaredFunction, DeclaredKind, DeclaredType, SourcePlace,
    TypesDocument,
};
use rondel_version::View;
use serde_json::Value as Json;

use crate::names::field_name;
use crate::typedef::builder::Annotations;
use crate::typedef::external_types::ExternalType;
use crate::typedef::type_def::{Function, FunctionArg, ModuleTypes, SourceMap, TypeDef, TypeDefKind};

/// Looks up a type that the document does not declare.
pub type FindExternalType<'a> = &'a dyn Fn(&str) -> Option<ExternalType>;

/// The types that `text` declares, read under `view`. `foreign` looks up external types.
///
/// # Errors
/// When it is no such document, or a declaration is invalid.
pub fn read(text: &str, view: View, foreign: FindExternalType<'_>) -> Result<ModuleTypes> {
    // An array is refused: serde would take its items for the fields in order.
    if !text.trim_start().starts_with('{') {
        let what = if text.trim().is_empty() { "it is empty" } else { "it is no JSON object" };
        return Err(Fault::user(what));
    }
    let document = serde_json::from_str(text).map_err(|e| Fault::user(e.to_string()))?;
    translate(&document, view, foreign)
}

/// The types that `document` declares, read under `view`. `foreign` looks up external types.
///
/// # Errors
/// When a declaration is invalid.
pub fn translate(document: &TypesDocument, view: View, foreign: FindExternalType<'_>) -> Result<ModuleTypes> {
    unique("type", document.types.iter().map(|ty| ty.name.as_str()))?;
    let own = document.types.iter().map(|ty| (ty.name.as_str(), ty)).collect();
    let reader = TypesReader { own, view, foreign };
    let mut types = ModuleTypes { description: document.description.clone(), ..ModuleTypes::default() };
    for ty in &document.types {
        let declared = reader.declared(ty).map_err(|e| e.context(format!("type `{}`", ty.name)))?;
        types = types.with_type(builder(ty.kind), &declared)?;
    }
    Ok(types)
}

fn builder(kind: DeclaredKind) -> &'static str {
    match kind {
        DeclaredKind::Object => "withObject",
        DeclaredKind::Interface => "withInterface",
        DeclaredKind::Enum => "withEnum",
    }
}

struct TypesReader<'a> {
    own: HashMap<&'a str, &'a DeclaredType>,
    view: View,
    foreign: FindExternalType<'a>,
}

impl TypesReader<'_> {
    fn declared(&self, ty: &DeclaredType) -> Result<TypeDef> {
        self.check_parts(ty)?;
        let fields = ty.fields.iter().map(|field| field.name.as_str());
        unique("field or function", fields.chain(ty.functions.iter().map(|function| function.name.as_str())))?;
        let notes = noted(&ty.description, ty.deprecated.as_deref(), ty.source_map.as_ref());
        let mut def = self.of_kind(ty.kind, &ty.name, notes)?;
        for field in &ty.fields {
            let notes = noted(&field.description, field.deprecated.as_deref(), field.source_map.as_ref());
            def = def.with_field(&field.name, self.type_def(&field.ty)?, notes)?;
        }
        for function in &ty.functions {
            def = def.with_function(Arc::new(self.function(function)?))?;
        }
        if let Some(constructor) = &ty.constructor {
            let at = |e: Fault| e.context("the constructor");
            let made = Function::new("", self.of_kind(ty.kind, &ty.name, Annotations::default())?);
            let mut function = self.with_arguments(made, &constructor.args).map_err(at)?;
            function.description.clone_from(&constructor.description);
            function.deprecated.clone_from(&constructor.deprecated);
            function.source_map = constructor.source_map.as_ref().map(place);
            def = def.with_constructor(&function)?;
        }
        for member in &ty.members {
            let notes = noted(&member.description, member.deprecated.as_deref(), member.source_map.as_ref());
            def = def.with_enum_member(self.view, &member.name, &member.value, notes)?;
        }
        Ok(def)
    }

    fn check_parts(&self, ty: &DeclaredType) -> Result<()> {
        let has = |what: &str, is_there: bool, fits: bool| {
            if is_there && !fits { Err(Fault::user(format!("only {what}"))) } else { Ok(()) }
        };
        let object = ty.kind == DeclaredKind::Object;
        has("an OBJECT has fields", !ty.fields.is_empty(), object)?;
        has("an OBJECT has a constructor", ty.constructor.is_some(), object)?;
        has("an OBJECT or INTERFACE has functions", !ty.functions.is_empty(), ty.kind != DeclaredKind::Enum)?;
        has("an ENUM has members", !ty.members.is_empty(), ty.kind == DeclaredKind::Enum)
    }

    fn of_kind(&self, form: DeclaredKind, name: &str, notes: Annotations) -> Result<TypeDef> {
        match form {
            DeclaredKind::Object => TypeDef::default().with_object(name, notes),
            DeclaredKind::Interface => TypeDef::default().with_interface(name, notes),
            DeclaredKind::Enum => TypeDef::default().with_enum(name, notes),
        }
    }

    fn function(&self, callable: &DeclaredFunction) -> Result<Function> {
        let at = |e: Fault| e.context(format!("function `{}`", callable.name));
        let returns = callable.returns.as_deref().unwrap_or("Void");
        let function = Function::new(&callable.name, self.type_def(returns).map_err(at)?);
        let mut function = self.with_arguments(function, &callable.args).map_err(at)?;
        function.description.clone_from(&callable.description);
        function.deprecated.clone_from(&callable.deprecated);
        function.source_map = callable.source_map.as_ref().map(place);
        (function.check, function.generator, function.up) = (callable.check, callable.generator, callable.up);
        match &callable.cache {
            None => Ok(function),
            Some(DeclaredCache { policy, ttl }) => {
                let policy = match policy {
                    DeclaredCachePolicy::Default => "Default",
                    DeclaredCachePolicy::PerSession => "PerSession",
                    DeclaredCachePolicy::Never => "Never",
                };
                function.with_cache_policy(policy, ttl.as_deref())
            }
        }
    }

    fn with_arguments(&self, mut function: Function, args: &[DeclaredArg]) -> Result<Function> {
        unique("argument", args.iter().map(|arg| arg.name.as_str()))?;
        for arg in args {
            let at = |e: Fault| e.context(format!("argument `{}`", arg.name));
            let type_def = self.type_def(&arg.ty).map_err(at)?;
            function = function
                .with_arg(FunctionArg {
                    original: arg.name.clone(),
                    description: arg.description.clone(),
                    type_def,
                    default_value: arg.default.as_ref().map(Json::to_string),
                    default_path: arg.default_path.clone(),
                    default_address: arg.default_address.clone(),
                    ignore: arg.ignore.clone(),
                    deprecated: arg.deprecated.clone(),
                    source_map: arg.source_map.as_ref().map(place),
                    ..FunctionArg::default()
                })
                .map_err(at)?;
        }
        Ok(function)
    }

    /// Parses a type in GraphQL syntax.
    fn type_def(&self, text: &str) -> Result<TypeDef> {
        let (inner, optional) = match text.trim().strip_suffix('!') {
            Some(inner) => (inner, false),
            None => (text.trim(), true),
        };
        if let Some(element) = inner.strip_prefix('[') {
            let element = element.strip_suffix(']');
            let element = element.ok_or_else(|| Fault::user(format!("`{text}` is not a type: `]` is missing")))?;
            return Ok(TypeDef { kind: TypeDefKind::List(Arc::new(self.type_def(element)?)), optional });
        }
        let simple = match inner {
            "String" => Some(TypeDefKind::String),
            "Int" => Some(TypeDefKind::Integer),
            "Float" => Some(TypeDefKind::Float),
            "Boolean" => Some(TypeDefKind::Boolean),
            "Void" => Some(TypeDefKind::Void),
            _ => None,
        };
        let kind = match (simple, self.own.get(inner)) {
            (Some(kind), _) => kind,
            (None, Some(ty)) => self.of_kind(ty.kind, inner, Annotations::default())?.kind,
            (None, None) => self.foreign(inner)?,
        };
        Ok(TypeDef { kind, optional })
    }

    /// A reference to a type of the API or of a dependency. An unknown one is reported when types
    /// are linked, with the place of the reference.
    fn foreign(&self, name: &str) -> Result<TypeDefKind> {
        let ty = match (self.foreign)(name).map(|found| found.kind) {
            Some(TypeDefKind::Enum(_)) => TypeDef::default().with_enum(name, Annotations::default()),
            Some(TypeDefKind::Scalar(_)) => TypeDef::default().with_scalar(name, String::new()),
            Some(TypeDefKind::Interface(_)) => TypeDef::default().with_interface(name, Annotations::default()),
            _ => TypeDef::default().with_object(name, Annotations::default()),
        };
        Ok(ty?.kind)
    }
}

/// Checks that no two names are the same in the API.
fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(field_name(name)) {
            return Err(Fault::user(format!("there are two of the {what} `{name}`")));
        }
    }
    Ok(())
}

fn noted(description: &str, deprecated: Option<&str>, at: Option<&SourcePlace>) -> Annotations {
    Annotations {
        description: description.to_owned(),
        source_map: at.map(place),
        deprecated: deprecated.map(ToOwned::to_owned),
    }
}

fn place(at: &SourcePlace) -> SourceMap {
    let number = |number: u32| number.into();
    SourceMap { filename: at.file.clone(), line: number(at.line), column: number(at.column), ..SourceMap::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "description": "d",
        "types": [
            {"kind": "OBJECT", "name": "Bar", "fields": [{"name": "base", "type": "Container!"}],
             "constructor": {"args": [{"name": "base", "type": "Container"}]},
             "functions": [
                {"name": "hello", "args": [{"name": "name", "type": "String!", "default": "World"},
                                           {"name": "level", "type": "Level", "default": null},
                                           {"name": "src", "type": "Directory!", "defaultPath": "/", "ignore": ["x"]}],
                 "returns": "[String!]!", "cache": {"policy": "DEFAULT", "ttl": "10s"}},
                {"name": "run"}]},
            {"kind": "ENUM", "name": "Level", "members": [{"name": "LOW", "value": "low"}]},
            {"kind": "INTERFACE", "name": "Duck", "functions": [{"name": "quack", "returns": "String!"}]}]}"#;

    fn types(text: &str, view: View) -> Result<ModuleTypes> {
        read(text, view, &|_| None)
    }

    #[test]
    fn a_whole_document() {
        let read = types(TEXT, View::new(0, 21, 8)).expect("reads");
        let bar = &read.objects[0];
        let describe = |function: &Function| {
            let args: Vec<_> = function.args.iter().map(|a| format!("{}: {}", a.name, a.type_def.describe())).collect();
            format!("{}({}): {}", function.name, args.join(", "), function.returns.describe())
        };
        assert_eq!(describe(&bar.functions[0]), "hello(name: String!, level: Level, src: Directory!): [String!]!");
        assert_eq!(bar.functions[0].args[1].default_value.as_deref(), Some("null"));
        assert_eq!(bar.functions[0].args[0].default_value.as_deref(), Some("\"World\""));
        assert_eq!(describe(&bar.functions[1]), "run(): Void");
        assert_eq!(bar.constructor.as_ref().map(|f| describe(f)), Some("(base: Container): Bar!".into()));
        assert_eq!((read.interfaces.len(), &*read.description), (1, "d"));
    }

    #[test]
    fn members_are_read_under_the_view() {
        let member = |view: View| {
            let read = types(TEXT, view).expect("reads");
            let member = &read.enums[0].members[0];
            (member.name.clone(), member.value.clone())
        };
        assert_eq!(member(View::new(0, 18, 10)), ("low".into(), "low".into()));
        assert_eq!(member(View::new(0, 18, 11)), ("LOW".into(), "low".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, want: &str| {
            let got = types(text, View::new(0, 21, 8)).map_err(|e| e.full_message()).expect_err("is refused");
            assert!(got.contains(want), "{got}");
        };
        check("", "it is empty");
        check("[]", "it is no JSON object");
        check("{", "EOF");
        let main = |parts: &str| format!(r#"{{"types": [{{"kind": "OBJECT", "name": "X", {parts}}}]}}"#);
        check(&main(r#""functions": [{"returns": "Int!"}]"#), "missing field `name`");
        check(&main(r#""constructor": {"returns": "Int!"}"#), "unknown field `returns`");
        check(&main(r#""constructor": {"name": "x"}"#), "unknown field `name`");
        check(&main(r#""constructor": {"args": [{"name": "a", "type": "[Int"}]}"#), "the constructor: argument `a`");
        check(r#"{"types": [{"kind": "ENUM", "name": "X"}, {"kind": "OBJECT", "name": "X"}]}"#, "two of the type `X`");
        check(
            r#"{"types": [{"kind": "OBJECT", "name": "X", "functions": [{"name": "a_b"}, {"name": "aB"}]}]}"#,
            "two of the field or function `aB`",
        );
        check(r#"{"types": [{"kind": "UNION", "name": "X"}]}"#, "unknown variant `UNION`");
        check(
            r#"{"types": [{"kind": "ENUM", "name": "X", "fields": [{"name": "a", "type": "Int"}]}]}"#,
            "only an OBJECT",
        );
        check(r#"{"types": [{"kind": "OBJECT", "name": "X", "extra": 1}]}"#, "unknown field `extra`");
        check(
            r#"{"types": [{"kind": "OBJECT", "name": "X", "functions": [{"name": "f", "returns": "[Int"}]}]}"#,
            "function `f`: `[Int` is not a type",
        );
    }
}
