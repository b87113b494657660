//! The HTTP endpoint on the engine's socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use rondel_events::Sink;
use rondel_fault::Result;
use rondel_link::{Ending, Hello};
use rondel_ports::cache::Cache as _;
use rondel_session::{Caller, SecretStore};

use crate::attach::{self, AttachPoint};
use crate::client_link::Link;
use crate::client_redaction::redact_errors;
use crate::client_registry::AttachedClient;
use crate::engine::Engine;
use crate::failure_terminal::FailureObserver;
use crate::graphql_request::{error_json, execute_body};
use crate::instruments::Instruments;
use crate::operator_log::report_errors;
use crate::responses::{graphql, json, refused, switching_protocols, unknown_client, wants_upgrade};
use crate::streams::ClientMachine;

/// The longest line of a client after its hello, in bytes: the answer to a question may be a large
/// secret.
const MAX_LINE_BYTES: u64 = 256 << 20;
/// The longest body of a request that controls the engine, in bytes.
const MAX_CONTROL_BODY_BYTES: usize = 1 << 20;

/// The routes of the engine's socket.
pub fn routes(engine: Arc<Engine>) -> Router {
    Router::new()
        .route(rondel_link::QUERY, post(query))
        .route(rondel_link::ATTACH, get(attach_client))
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
        let response = match client.prepare(&engine.api.modules, &engine.api.evaluator).await {
            Ok(()) => execute_body(&engine.api.evaluator, &client.caller, &body).await,
            Err(fault) => Ok(refused(fault)),
        };
        match response {
            Ok(response) => {
                let Caller { session, client: id, .. } = &*client.caller;
                report_errors(session, id, &response, &engine.api.instruments);
                let response = watch.answered(&engine.api.services.ops, response).await;
                redact_errors(response, secrets_of(&client)).body()
            }
            Err(text) => {
                engine.api.instruments.invalid_request();
                text
            }
        }
    };
    graphql(tokio::select! {
        text = work => text,
        () = client.gone.cancelled() => match engine.ending.is_cancelled() {
            true => error_json("the engine was stopped"),
            false => error_json("the client is gone"),
        },
    })
}

/// The attached client that a request names.
fn named(engine: &Engine, headers: &HeaderMap) -> Option<AttachedClient> {
    headers.get(rondel_link::CLIENT_HEADER).and_then(|v| v.to_str().ok()).and_then(|id| engine.clients.get(id))
}

fn secrets_of(client: &AttachedClient) -> &SecretStore {
    &rondel_session::client(&client.caller).session.secrets
}

/// The modules that the client is served, or the same error that its queries get.
async fn served(State(engine): State<Arc<Engine>>, headers: HeaderMap) -> Response<Body> {
    let Some(client) = named(&engine, &headers) else { return unknown_client() };
    let watch = FailureObserver::new(&client);
    match client.prepare(&engine.api.modules, &engine.api.evaluator).await {
        Ok(()) => json(&client.served(&engine.api.modules)).into_response(),
        Err(fault) => {
            let refused = watch.answered(&engine.api.services.ops, refused(fault)).await;
            (StatusCode::BAD_REQUEST, redact_errors(refused, secrets_of(&client)).body()).into_response()
        }
    }
}

async fn attach_client(State(engine): State<Arc<Engine>>, request: Request) -> Response<Body> {
    // A request that names a client attaches a further client to the session of that one.
    match request.headers().contains_key(rondel_link::CLIENT_HEADER) {
        false => attach::upgrade(request, SocketAttachPoint { engine, joined: None }),
        true => match named(&engine, request.headers()) {
            Some(client) => attach::upgrade(request, SocketAttachPoint { engine, joined: Some(client) }),
            None => unknown_client(),
        },
    }
}

/// The engine's socket as a point at which clients attach.
struct SocketAttachPoint {
    engine: Arc<Engine>,
    /// The client whose session a further client joins. `None` starts a new session.
    joined: Option<AttachedClient>,
}

impl AttachPoint for SocketAttachPoint {
    fn attach(&self, hello: Hello, link: &Arc<Link>, sink: Arc<dyn Sink>) -> Result<AttachedClient> {
        let machine = ClientMachine::new(link.clone(), self.engine.tickets.clone(), hello.streams);
        self.engine.attach(hello, link.clone(), Arc::new(machine), sink, self.joined.as_ref())
    }

    fn detach(&self, id: &str) {
        self.engine.detach(id);
    }

    fn max_line_bytes(&self) -> u64 {
        MAX_LINE_BYTES
    }

    fn instruments(&self) -> &Instruments {
        &self.engine.api.instruments
    }
}

/// Accepts a stream that the engine asked a client for.
async fn stream(State(engine): State<Arc<Engine>>, mut request: Request) -> Response<Body> {
    if !wants_upgrade(&request) {
        return (StatusCode::UPGRADE_REQUIRED, "open streams with `upgrade: rondel-link`").into_response();
    }
    let ticket = request.headers().get(rondel_link::TICKET_HEADER).and_then(|v| v.to_str().ok());
    let Some(waiting) = ticket.and_then(|ticket| engine.tickets.waiting(ticket)) else {
        return (StatusCode::NOT_FOUND, "nothing waits for this stream").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let _ = waiting.send(Box::new(TokioIo::new(upgraded))).await;
        }
    });
    switching_protocols()
}

async fn status(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    json(&engine.status())
}

async fn stop(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let evaluations = engine.api.evaluator.graph().running();
    let ending = Ending { clients: engine.clients.len(), evaluations };
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
        Ok(request) => {
            json(&engine.tracker.input_log.explain_miss(&engine.api.services.ops, &request).await).into_response()
        }
        Err(e) => (StatusCode::BAD_REQUEST, e.to_string()).into_response(),
    }
}

fn answered<T: serde::Serialize>(result: Result<T>) -> Response<Body> {
    match result {
        Ok(value) => json(&value).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.full_message()).into_response(),
    }
}
