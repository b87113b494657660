//! `JSONValue`: reads and builds JSON values.

use rondel_fault::{Fault, Result};
use rondel_model::{File, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use serde_json::Value as Json;

use crate::json_text::JsonText;
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "JSONValue";

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "json", |_, _, _| std::future::ready(Ok(value(JsonText::of(Json::Null)).into())));
    surface.field("File", "asJSON", of_file);
    surface.plain(TYPE, "contents", contents);
    surface.plain(TYPE, "withContents", |_: &JsonText, args| JsonText::parse(&args.str("contents")?).map(value));
    surface.plain(TYPE, "newString", |_: &JsonText, args| Ok(value(JsonText::of(&*args.str("value")?))));
    surface.plain(TYPE, "newInteger", |_: &JsonText, args| Ok(value(JsonText::of(args.int("value")?))));
    surface.plain(TYPE, "newBoolean", |_: &JsonText, args| Ok(value(JsonText::of(args.bool("value")?))));
    surface.plain(TYPE, "asString", |json: &JsonText, _| {
        json.read().map(|text: String| Value::string(text)).ok_or_else(|| not(json, "a string"))
    });
    surface.plain(TYPE, "asInteger", |json: &JsonText, _| {
        json.read().map(Value::Int).ok_or_else(|| not(json, "an integer"))
    });
    surface.plain(TYPE, "asBoolean", |json: &JsonText, _| {
        json.read().map(Value::Bool).ok_or_else(|| not(json, "a boolean"))
    });
    surface.plain(TYPE, "asArray", |json: &JsonText, _| {
        let items = json.items().ok_or_else(|| not(json, "an array"))?;
        Ok(Value::List(items.into_iter().map(value).collect()))
    });
    surface.plain(TYPE, "fields", |json: &JsonText, _| {
        json.names().map(Value::strings).ok_or_else(|| not(json, "an object"))
    });
    surface.plain(TYPE, "field", |json: &JsonText, args| json.at(&path(args)?).map(value));
    surface.field(TYPE, "withField", with_field);
}

fn value(json: JsonText) -> Value {
    Value::object(TYPE, json)
}

async fn of_file(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    let bytes = ops.read(&op_cx, &node.get::<File>()?.place).await?;
    Ok(value(JsonText::parse(&String::from_utf8_lossy(&bytes))?).into())
}

fn contents(json: &JsonText, args: &Args) -> Result<Value> {
    if !args.bool("pretty")? {
        return Ok(Value::string(json.text()));
    }
    let indent = args.opt_str("indent")?.unwrap_or_default();
    Ok(Value::string(json.pretty(&indent)))
}

fn path(args: &Args) -> Result<Vec<String>> {
    let path = args.strings("path")?;
    match path.is_empty() {
        true => Err(Fault::user("the path of a JSON field is empty").with_hint("name at least one field")),
        false => Ok(path),
    }
}

async fn with_field(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let field = args.object("value").await?;
    Ok(value(node.get::<JsonText>()?.with(&path(&args)?, field.get::<JsonText>()?)).into())
}

fn not(json: &JsonText, what: &str) -> Fault {
    let kind = match json.text().trim_start().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a number",
    };
    Fault::user(format!("value is not {what}: it is {kind}"))
}
