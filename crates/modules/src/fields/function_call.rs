//! `FunctionCall`: a module's code reads its call here, and answers it.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::{Object, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, CallOutcome, FunctionCall, ResolverContext, client};
use rondel_surface::Surface;
use rondel_surface::api_error::ApiError;

use crate::call::api_error::error_of;

/// One argument of a function call.
#[derive(Clone)]
struct InputArg {
    name: String,
    value: String,
}

pub(super) fn register(surface: &mut Surface) {
    surface.field("Query", "currentFunctionCall", |cx: ResolverContext, _, _| async move { current(&cx) });
    surface.plain("FunctionCall", "name", |it: &FunctionCall, _| Ok(Value::string(&*it.name)));
    surface.plain("FunctionCall", "parentName", |it: &FunctionCall, _| Ok(Value::string(&*it.parent_name)));
    surface.plain("FunctionCall", "parent", |it: &FunctionCall, _| Ok(Value::string(&*it.parent)));
    surface.plain("FunctionCall", "inputArgs", |it: &FunctionCall, _| {
        let arg = |(name, value): &(String, String)| {
            Value::object("FunctionCallArgValue", InputArg { name: name.clone(), value: value.clone() })
        };
        Ok(Value::List(it.args.iter().map(arg).collect()))
    });
    surface.plain("FunctionCallArgValue", "name", |it: &InputArg, _| Ok(Value::string(&*it.name)));
    surface.plain("FunctionCallArgValue", "value", |it: &InputArg, _| Ok(Value::string(&*it.value)));
    surface.field("FunctionCall", "returnValue", |cx: ResolverContext, node, args| async move {
        return_value(&cx, &node, &args)
    });
    surface.field("FunctionCall", "returnError", |_, node, args| async move { return_error(&node, &args).await });
}

fn current(cx: &ResolverContext) -> Result<Outcome> {
    let scope = client(&cx.caller).scope.as_ref();
    // Users match on this text; see docs/protocol.md#function-calls.
    let none = || Fault::user("no current module: main client caller has no current module");
    let call: Option<&Arc<FunctionCall>> = scope.ok_or_else(none)?.call.as_ref();
    let call = call.ok_or_else(|| Fault::user("no current function call: the client does not serve one"))?;
    Ok(Value::Object(Object::shared("FunctionCall", call.clone())).into())
}

fn return_value(cx: &ResolverContext, node: &Node, args: &Args) -> Result<Outcome> {
    let text = match args.literal("value") {
        rondel_call::Literal::String(text) => text.to_string(),
        other => crate::call::codec::literal_json(&cx.evaluator, &other).to_string(),
    };
    node.get::<FunctionCall>()?.answer(CallOutcome::Value(text))?;
    Ok(Value::Null.into())
}

async fn return_error(node: &Node, args: &Args) -> Result<Outcome> {
    let error = args.object("error").await?;
    let error = error.get::<ApiError>()?;
    node.get::<FunctionCall>()?.answer(CallOutcome::Error(error_of(&error.message, &error.values)))?;
    Ok(Value::Null.into())
}
