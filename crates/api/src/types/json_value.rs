//! `JSONValue`: a value of JSON that is taken apart and put together.

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::{File, Value};
use rondel_query::{Args, Cx, Node, Outcome};
use serde::Serialize as _;
use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::Surface;
use crate::inspect::tools;

/// The type's name.
const TYPE: &str = "JSONValue";

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "json", |_, _, _| std::future::ready(Ok(value(Json::Null).into())));
    surface.field("File", "asJSON", of_file);
    surface.plain(TYPE, "contents", contents);
    surface.plain(TYPE, "withContents", |_: &Json, args| parse(&args.str("contents")?).map(value));
    surface.plain(TYPE, "newString", |_: &Json, args| Ok(value(Json::from(&*args.str("value")?))));
    surface.plain(TYPE, "newInteger", |_: &Json, args| Ok(value(Json::from(args.int("value")?))));
    surface.plain(TYPE, "newBoolean", |_: &Json, args| Ok(value(Json::from(args.bool("value")?))));
    surface.plain(TYPE, "asString", |json: &Json, _| match json {
        Json::String(text) => Ok(Value::string(&**text)),
        other => Err(not(other, "a string")),
    });
    surface.plain(TYPE, "asInteger", |json: &Json, _| match json.as_i64() {
        Some(number) => Ok(Value::Int(number)),
        None => Err(not(json, "an integer")),
    });
    surface.plain(TYPE, "asBoolean", |json: &Json, _| match json {
        Json::Bool(it) => Ok(Value::Bool(*it)),
        other => Err(not(other, "a boolean")),
    });
    surface.plain(TYPE, "asArray", |json: &Json, _| match json {
        Json::Array(items) => Ok(Value::List(items.iter().cloned().map(value).collect())),
        other => Err(not(other, "an array")),
    });
    surface.plain(TYPE, "fields", |json: &Json, _| match json {
        Json::Object(fields) => {
            let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
            names.sort_unstable();
            Ok(Value::strings(names))
        }
        other => Err(not(other, "an object")),
    });
    surface.plain(TYPE, "field", |json: &Json, args| field(json, &path(args)?).map(|found| value(found.clone())));
    surface.field(TYPE, "withField", with_field);
}

fn value(json: Json) -> Value {
    Value::object(TYPE, json)
}

async fn of_file(cx: Cx, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = tools(&cx)?;
    let bytes = ops.read(&op_cx, &node.get::<File>()?.place).await?;
    Ok(value(parse(&String::from_utf8_lossy(&bytes))?).into())
}

fn parse(text: &str) -> Result<Json> {
    // Clients match on the first words.
    serde_json::from_str(text).map_err(|error| Fault::user(format!("invalid JSON: {error}")))
}

fn contents(json: &Json, args: &Args) -> Result<Value> {
    if !args.bool("pretty")? {
        return Ok(Value::string(json.to_string()));
    }
    let indent = args.opt_str("indent")?.unwrap_or_default();
    let mut out = Vec::new();
    let mut writer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(indent.as_bytes()));
    json.serialize(&mut writer).attempt(|| "write a value as JSON".into())?;
    Ok(Value::string(String::from_utf8_lossy(&out).into_owned()))
}

fn path(args: &Args) -> Result<Vec<String>> {
    let path = args.strings("path")?;
    match path.is_empty() {
        true => Err(Fault::user("the path of a JSON field is empty").with_hint("name at least one field")),
        false => Ok(path),
    }
}

fn field<'a>(json: &'a Json, path: &[String]) -> Result<&'a Json> {
    path.iter().try_fold(json, |current, name| match current {
        Json::Object(fields) => fields.get(name).ok_or_else(|| Fault::user(format!("no such field: '{name}'"))),
        _ => Err(Fault::user(format!("can't lookup field '{name}' in non-object value"))),
    })
}

async fn with_field(_: Cx, node: Node, args: Args) -> Result<Outcome> {
    let mut json = node.get::<Json>()?.clone();
    let field = args.object("value").await?;
    set(&mut json, &path(&args)?, field.get::<Json>()?.clone());
    Ok(value(json).into())
}

/// Sets the field at `path`; what is no object on the way becomes one.
fn set(json: &mut Json, path: &[String], field: Json) {
    let mut current = json;
    for name in path {
        if !current.is_object() {
            *current = Json::Object(serde_json::Map::new());
        }
        current = &mut current[name.as_str()];
    }
    *current = field;
}

fn not(json: &Json, what: &str) -> Fault {
    let kind = match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    };
    Fault::user(format!("value is not {what}: it is {kind}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(path: &[&str]) -> Vec<String> {
        path.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn fields_are_set_and_found() {
        let mut json = json!({"a": 1, "b": {"c": 2}});
        set(&mut json, &words(&["b", "d", "e"]), json!([3]));
        set(&mut json, &words(&["a", "x"]), json!("y"));
        assert_eq!(json, json!({"a": {"x": "y"}, "b": {"c": 2, "d": {"e": [3]}}}));
        assert_eq!(field(&json, &words(&["b", "d", "e"])).expect("is there"), &json!([3]));
        let missing = field(&json, &words(&["b", "z"])).expect_err("is not there").to_string();
        assert_eq!(missing, "no such field: 'z'");
        let deep = field(&json, &words(&["b", "c", "z"])).expect_err("is no object").to_string();
        assert_eq!(deep, "can't lookup field 'z' in non-object value");
    }
}
