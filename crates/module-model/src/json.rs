//! Helpers for single JSON values.

use serde_json::Value as Json;

/// The name of the kind of a value, for messages: `a list`.
pub fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// A JSON number as an integer, or `None` if it is no whole number that `f64` holds exactly.
pub fn integer(number: &serde_json::Number) -> Option<i64> {
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0).then_some(x as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(whole))
}
