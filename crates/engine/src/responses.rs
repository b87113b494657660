//! HTTP responses that the engine's socket and the API in a container share.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use rondel_fault::Fault;
use rondel_gql::Location;
use rondel_query::Response as GraphqlResponse;
use rondel_query::execute::ResponseError;

use crate::graphql_request::error_json;

/// The response to a request that names no attached client.
pub(crate) fn unknown_client() -> Response<Body> {
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")];
    (StatusCode::UNAUTHORIZED, head, error_json("the request names no attached client")).into_response()
}

/// The response to a GraphQL request.
pub(crate) fn graphql(text: String) -> Response<Body> {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The GraphQL response to a request that could not be run because of `fault`.
pub(crate) fn refused(fault: Fault) -> GraphqlResponse {
    let error = ResponseError { fault, path: Vec::new(), location: Location { line: 1, column: 1 } };
    GraphqlResponse { data: None, errors: vec![error] }
}

/// `value` as a JSON response.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> impl IntoResponse + use<T> {
    let text = serde_json::to_string(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// Whether `request` asks for an upgrade to the link protocol.
pub(crate) fn wants_upgrade(request: &Request) -> bool {
    request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()) == Some(rondel_link::PROTOCOL)
}

/// The response that upgrades a connection to the link protocol.
pub(crate) fn switching_protocols() -> Response<Body> {
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, rondel_link::PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, head).into_response()
}
