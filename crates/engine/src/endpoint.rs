//! The HTTP endpoint on the engine's socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use rondel_fault::Fault;
use rondel_gql::Location;
use rondel_link::Ending;
use rondel_ports::cache::Cache as _;
use rondel_query::Response as Answer;
use rondel_query::execute::ResponseError;

use crate::attach::Origin;
use crate::clients::{AttachedClient, Engine};
use crate::failure_terminal::FailureObserver;
use crate::graphql_request::{error_json, execute_body};

/// The longest body of a request that controls the engine, in bytes.
const MAX_CONTROL_BODY_BYTES: usize = 1 << 20;

/// The routes of the engine's socket.
pub fn routes(engine: Arc<Engine>) -> Router {
    Router::new()
        .route(rondel_link::QUERY, post(query))
        .route(rondel_link::ATTACH, get(attach))
        .route(rondel_link::STREAM, get(stream))
        .route(rondel_link::STATUS, get(status))
        .route(rondel_link::SERVED, get(served))
        .route(rondel_link::STOP, post(stop))
        .route(rondel_link::VERIFY, post(verify))
        .route(rondel_link::CACHE, get(cache).post(prune))
        .route(rondel_link::WHY, post(explain_miss))
        .route(rondel_link::METRICS, get(crate::metrics::answer))
        .layer(DefaultBodyLimit::max(MAX_CONTROL_BODY_BYTES))
        .with_state(engine)
}

async fn query(State(engine): State<Arc<Engine>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(client) = named(&engine, &head.headers) else { return unknown_client() };
    let (body, _admitted) = match client.admission.admit(&head.headers, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let work = async {
        let watch = FailureObserver::new(&client);
        let response = match client.prepare(&engine).await {
            Ok(()) => execute_body(&engine.evaluator, &client.caller, &body).await,
            Err(fault) => Ok(refused(fault)),
        };
        match response {
            Ok(response) => watch.answered(&engine, response).await.body(),
            Err(text) => text,
        }
    };
    graphql(tokio::select! {
        text = work => text,
        () = client.gone.cancelled() => error_json("the client is gone"),
    })
}

/// The attached client that a request names.
fn named(engine: &Engine, headers: &HeaderMap) -> Option<AttachedClient> {
    headers.get(rondel_link::CLIENT_HEADER).and_then(|v| v.to_str().ok()).and_then(|id| engine.client(id))
}

/// The answer to a request that names no attached client.
pub(crate) fn unknown_client() -> Response<Body> {
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")];
    (StatusCode::UNAUTHORIZED, head, error_json("the request names no attached client")).into_response()
}

/// The answer to a GraphQL request.
pub(crate) fn graphql(text: String) -> Response<Body> {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// What the client is served, or the same error that its queries get.
async fn served(State(engine): State<Arc<Engine>>, headers: HeaderMap) -> Response<Body> {
    let Some(client) = named(&engine, &headers) else { return unknown_client() };
    let watch = FailureObserver::new(&client);
    match client.prepare(&engine).await {
        Ok(()) => json(&client.served(&engine)).into_response(),
        Err(fault) => {
            let refused = watch.answered(&engine, refused(fault)).await;
            (StatusCode::BAD_REQUEST, refused.body()).into_response()
        }
    }
}

/// The answer to a request that `fault` kept from being run.
pub(crate) fn refused(fault: Fault) -> Answer {
    let error = ResponseError { fault, path: Vec::new(), location: Location { line: 1, column: 1 } };
    Answer { data: None, errors: vec![error] }
}

async fn attach(State(engine): State<Arc<Engine>>, request: Request) -> Response<Body> {
    // Who passes a further client on names the one whose session it joins.
    match request.headers().contains_key(rondel_link::CLIENT_HEADER) {
        false => attached(request, Origin::Machine(engine, None)),
        true => match named(&engine, request.headers()) {
            Some(client) => attached(request, Origin::Machine(engine, Some(client))),
            None => unknown_client(),
        },
    }
}

/// Upgrades the connection of `request` and attaches its client.
pub(crate) fn attached(mut request: Request, origin: Origin) -> Response<Body> {
    if !wants_upgrade(&request) {
        return (StatusCode::UPGRADE_REQUIRED, "attach with `upgrade: rondel-link`").into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            crate::attach::serve(origin, upgraded).await;
        }
    });
    switched()
}

/// A stream that a client was asked for.
async fn stream(State(engine): State<Arc<Engine>>, mut request: Request) -> Response<Body> {
    if !wants_upgrade(&request) {
        return (StatusCode::UPGRADE_REQUIRED, "open streams with `upgrade: rondel-link`").into_response();
    }
    let ticket = request.headers().get(rondel_link::TICKET_HEADER).and_then(|v| v.to_str().ok());
    let Some(waiting) = ticket.and_then(|ticket| engine.tickets.waiting(ticket)) else {
        return (StatusCode::NOT_FOUND, "nobody waits for this stream").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let _ = waiting.send(Box::new(TokioIo::new(upgraded))).await;
        }
    });
    switched()
}

fn wants_upgrade(request: &Request) -> bool {
    request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()) == Some(rondel_link::PROTOCOL)
}

fn switched() -> Response<Body> {
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, rondel_link::PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, head).into_response()
}

async fn status(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    json(&engine.status())
}

async fn stop(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let evaluations = engine.evaluator.graph().running();
    let ending = Ending { clients: engine.client_names().len(), evaluations };
    engine.ending.cancel();
    json(&ending)
}

async fn verify(State(engine): State<Arc<Engine>>) -> Response<Body> {
    answered(engine.gc.verify().await)
}

async fn cache(State(engine): State<Arc<Engine>>) -> Response<Body> {
    answered(engine.gc.records().await)
}

async fn prune(State(engine): State<Arc<Engine>>, body: Bytes) -> Response<Body> {
    match serde_json::from_slice(&body) {
        Ok(request) => answered(engine.gc.prune(request).await),
        Err(e) => (StatusCode::BAD_REQUEST, e.to_string()).into_response(),
    }
}

async fn explain_miss(State(engine): State<Arc<Engine>>, body: Bytes) -> Response<Body> {
    match serde_json::from_slice(&body) {
        Ok(request) => json(&engine.gc.input_log.explain_miss(&engine.services.ops, &request).await).into_response(),
        Err(e) => (StatusCode::BAD_REQUEST, e.to_string()).into_response(),
    }
}

fn answered<T: serde::Serialize>(result: rondel_fault::Result<T>) -> Response<Body> {
    match result {
        Ok(value) => json(&value).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.full_message()).into_response(),
    }
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> impl IntoResponse + use<T> {
    let text = serde_json::to_string(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text)
}
