//! A GraphQL request body, answered for a caller.

use std::sync::Arc;

use rondel_gql::{GqlError, Limits, Request};
use rondel_query::{Caller, Evaluator, execute};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request.
#[derive(Deserialize)]
struct Body {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
}

/// Answers `body` for `caller`: always JSON that a client understands, whatever the body is.
pub async fn answer(evaluator: &Arc<Evaluator>, caller: &Arc<Caller>, body: &[u8]) -> String {
    let body: Body = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(e) => return failure(&format!("the request is not a GraphQL request in JSON: {e}")),
    };
    let operation = {
        let request = Request {
            query: &body.query,
            operation_name: body.operation_name.as_deref().filter(|name| !name.is_empty()),
            variables: body.variables.as_ref(),
        };
        match rondel_gql::prepare(&caller.schema(), &request, &Limits::default()) {
            Ok(operation) => operation,
            Err(e) => return refusal(&e),
        }
    };
    execute(evaluator, caller, Arc::new(operation)).await.body()
}

fn refusal(e: &GqlError) -> String {
    let locations: Vec<_> = e.locations.iter().map(|l| json!({"line": l.line, "column": l.column})).collect();
    json!({"data": null, "errors": [{"message": e.message, "locations": locations}]}).to_string()
}

/// The answer to a request that could not be run at all.
pub fn failure(message: &str) -> String {
    json!({"data": null, "errors": [{"message": message}]}).to_string()
}
