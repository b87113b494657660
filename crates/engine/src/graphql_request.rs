//! Executes the body of a GraphQL request for a caller.

use std::sync::Arc;

use rondel_gql::{GqlError, Limits, Request};
use rondel_query::{Response, execute};
use rondel_session::{Caller, Evaluator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request.
#[derive(Deserialize)]
struct GraphqlBody {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
}

/// Executes the request in `body` for `caller`.
///
/// # Errors
/// The response, as JSON, when `body` is no valid request.
pub async fn execute_body(evaluator: &Arc<Evaluator>, caller: &Arc<Caller>, body: &[u8]) -> Result<Response, String> {
    let body: GraphqlBody = serde_json::from_slice(body)
        .map_err(|e| error_json(&format!("the request is not a GraphQL request in JSON: {e}")))?;
    let operation = {
        let request = Request {
            query: &body.query,
            operation_name: body.operation_name.as_deref().filter(|name| !name.is_empty()),
            variables: body.variables.as_ref(),
        };
        rondel_gql::prepare(&caller.schema(), &request, &Limits::default()).map_err(|e| invalid_request(&e))?
    };
    Ok(execute(evaluator, caller, Arc::new(operation)).await)
}

fn invalid_request(e: &GqlError) -> String {
    let locations: Vec<_> = e.locations.iter().map(|l| json!({"line": l.line, "column": l.column})).collect();
    json!({"data": null, "errors": [{"message": e.message, "locations": locations}]}).to_string()
}

/// The response to a request that could not be executed, as JSON.
pub fn error_json(message: &str) -> String {
    json!({"data": null, "errors": [{"message": message}]}).to_string()
}
