//! Default values of arguments: checked against their types, and written as the API shows them.

use std::sync::Arc;

use serde_json::{Number, Value as Json};

use crate::json::integer;
use crate::typedef::type_def::{EnumDef, TypeDef, TypeDefKind};

/// `json` as a default of the type `ty`, or `None` when it is no value of the type. Enum members
/// get their names in the API. Numbers and booleans in strings are converted. `members` finds an
/// enum by its name.
pub fn fitting(ty: &TypeDef, json: &Json, members: &dyn Fn(&str) -> Option<Arc<EnumDef>>) -> Option<Json> {
    match (&ty.kind, json) {
        (kind, Json::Null) => (ty.optional || matches!(kind, TypeDefKind::Void)).then_some(Json::Null),
        (TypeDefKind::Scalar(def), any) if def.name == "JSON" => Some(any.clone()),
        (TypeDefKind::Scalar(_), Json::Array(_) | Json::Object(_)) => None,
        (TypeDefKind::String, Json::String(_))
        | (TypeDefKind::Boolean, Json::Bool(_))
        | (TypeDefKind::Scalar(_), _) => Some(json.clone()),
        (TypeDefKind::Boolean, Json::String(text)) => text.parse::<bool>().ok().map(Json::Bool),
        (TypeDefKind::Integer, Json::Number(number)) => integer(number).map(Json::from),
        (TypeDefKind::Integer, Json::String(text)) => text.parse::<i64>().ok().map(Json::from),
        (TypeDefKind::Float, Json::Number(_)) => Some(json.clone()),
        (TypeDefKind::Float, Json::String(text)) => text.parse().ok().and_then(Number::from_f64).map(Json::Number),
        (TypeDefKind::Enum(def), Json::String(text)) => Some(members(&def.name)?.member(text)?.name.as_str().into()),
        (TypeDefKind::List(element), Json::Array(items)) => {
            items.iter().map(|item| fitting(element, item, members)).collect::<Option<_>>().map(Json::Array)
        }
        (TypeDefKind::Object(_) | TypeDefKind::Interface(_), Json::String(id)) => {
            rondel_call::is_id(id).then(|| json.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typedef::builder::{Annotations, ENUM_MEMBERS_SINCE};

    #[test]
    fn values_of_their_types() {
        let level = TypeDef::default().with_enum("Level", Annotations::default());
        let level =
            level.and_then(|ty| ty.with_enum_member(ENUM_MEMBERS_SINCE, "lowest", "low", Annotations::default()));
        let level = level.expect("an enum");
        let TypeDefKind::Enum(def) = level.kind.clone() else { panic!("no enum") };
        let members = |name: &str| (name == "Level").then(|| def.clone());
        let check = |ty: &TypeDef, json: &str, want: Option<&str>| {
            let given = serde_json::from_str(json).expect("JSON");
            let got = fitting(ty, &given, &members).map(|json| json.to_string());
            assert_eq!(got.as_deref(), want, "{json} as {}", ty.describe());
        };
        for text in ["\"lowest\"", "\"LOWEST\"", "\"low\""] {
            check(&level, text, Some("\"LOWEST\""));
        }
        check(&level, "\"high\"", None);
        check(&level, "1", None);
        let list = TypeDef::of(TypeDefKind::List(Arc::new(level.clone())));
        check(&list, "[\"low\"]", Some("[\"LOWEST\"]"));
        check(&list, "[null]", None);
        check(&list, "\"low\"", None);
        check(&level, "null", None);
        check(&level.with_optional(true), "null", Some("null"));
        let of = |kind: TypeDefKind| TypeDef::of(kind);
        check(&of(TypeDefKind::String), "5", None);
        check(&of(TypeDefKind::String), "\"5\"", Some("\"5\""));
        check(&of(TypeDefKind::Integer), "5", Some("5"));
        check(&of(TypeDefKind::Integer), "5.0", Some("5"));
        check(&of(TypeDefKind::Integer), "5.5", None);
        check(&of(TypeDefKind::Integer), "\"5\"", Some("5"));
        check(&of(TypeDefKind::Integer), "\"x\"", None);
        check(&of(TypeDefKind::Float), "\"1.5\"", Some("1.5"));
        check(&of(TypeDefKind::Float), "5", Some("5"));
        check(&of(TypeDefKind::Boolean), "\"true\"", Some("true"));
        check(&of(TypeDefKind::Boolean), "1", None);
        let named = |ty: TypeDef, name: &str| ty.with_scalar(name, String::new()).expect("a scalar");
        check(&named(TypeDef::default(), "JSON"), "{\"a\":[1]}", Some("{\"a\":[1]}"));
        check(&named(TypeDef::default(), "Platform"), "\"linux/amd64\"", Some("\"linux/amd64\""));
        check(&named(TypeDef::default(), "Platform"), "{}", None);
        let directory = TypeDef::default().with_object("Directory", Annotations::default()).expect("an object");
        check(&directory, "\"abc\"", None);
    }
}
