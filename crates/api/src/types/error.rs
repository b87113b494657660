//! `Error` and `ErrorValue`: errors that module functions return.

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::Value;
use rondel_session::Args;

use rondel_surface::Surface;
use rondel_surface::api_error::ApiError;

#[derive(Debug, Clone)]
struct ErrorValue {
    name: String,
    value: serde_json::Value,
}

pub(crate) fn register(surface: &mut Surface) {
    surface.plain("Error", "message", |error: &ApiError, _| Ok(Value::string(&*error.message)));
    surface.plain("Error", "values", |error: &ApiError, _| {
        let object = |(name, value): &(String, serde_json::Value)| {
            Value::object("ErrorValue", ErrorValue { name: name.clone(), value: value.clone() })
        };
        Ok(Value::List(error.values.iter().map(object).collect()))
    });
    surface.plain("Error", "withValue", with_value);
    surface.plain("ErrorValue", "name", |it: &ErrorValue, _| Ok(Value::string(&*it.name)));
    surface.plain("ErrorValue", "value", |it: &ErrorValue, _| Ok(Value::string(it.value.to_string())));
}

fn with_value(error: &ApiError, args: &Args) -> Result<Value> {
    let name = args.str("name")?;
    let text = args.str("value")?;
    let value = serde_json::from_str(&text).attempt(|| format!("read the value of `{name}` as JSON"));
    let value = value.map_err(|fault| Fault::user(fault.full_message()))?;
    let mut error = error.clone();
    error.values.retain(|(known, _)| **known != *name);
    error.values.push((name.to_string(), value));
    Ok(Value::object("Error", error))
}
