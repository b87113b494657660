//! The API on loopback for client libraries and further `rondel` processes: checks the token and
//! passes requests on.
//!
//! *Invariants.* Nothing of a request but its head is read before its token was checked.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use rondel_client::Attached;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::{ATTACH, CLIENT_HEADER, PROTOCOL, QUERY, SERVED, STREAM, TICKET_HEADER};
use rondel_web::{Admission, ServerLimits};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many connections may be open at a time.
const CONNECTIONS: usize = 512;

/// The API on loopback. It ends when this is dropped.
pub(crate) struct Proxy {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// What requests are authorized with.
    pub(crate) token: String,
    _serving: DropGuard,
}

#[derive(Clone)]
struct Passed {
    attached: Arc<Attached>,
    expected: Arc<str>,
    admission: Admission,
}

/// Opens the API of an attached client on a free port.
pub(crate) async fn open(attached: Attached) -> Result<Proxy> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.attempt(|| "listen on loopback".into())?;
    let port = listener.local_addr().attempt(|| "listen on loopback".into())?.port();
    let token = format!("{:032x}", rand::random::<u128>());
    let expected = format!("Basic {}", STANDARD.encode(format!("{token}:"))).into();
    let passed = Passed { attached: Arc::new(attached), expected, admission: Admission::default() };
    let routes = Router::new()
        .route(QUERY, post(query))
        .route(ATTACH, get(attach))
        .route(STREAM, get(stream))
        .route(SERVED, get(served))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .layer(from_fn_with_state(passed.clone(), authorized))
        .with_state(passed);
    let ending = CancellationToken::new();
    tokio::spawn(rondel_web::serve(listener, routes, ServerLimits::for_connections(CONNECTIONS), ending.clone()));
    Ok(Proxy { port, token, _serving: ending.drop_guard() })
}

/// Lets requests with the token through.
async fn authorized(State(passed): State<Passed>, request: Request, next: Next) -> Response<Body> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    // Only the password may differ between libraries: it is always empty, and the name is the
    // token.
    if given == Some(&*passed.expected) {
        return next.run(request).await;
    }
    let refusal = [
        (header::WWW_AUTHENTICATE, "Basic realm=\"Access to the engine session\""),
        // The rest of the request is not read.
        (header::CONNECTION, "close"),
    ];
    (StatusCode::UNAUTHORIZED, refusal).into_response()
}

/// The client for which a request asks: a further one that attached here, else that of this
/// process.
fn client<'a>(passed: &'a Passed, headers: &'a HeaderMap) -> &'a str {
    let named = headers.get(CLIENT_HEADER).and_then(|v| v.to_str().ok());
    named.unwrap_or(&passed.attached.welcome().client)
}

async fn query(State(passed): State<Passed>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (body, _admitted) = match passed.admission.admit(&head.headers, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    answer(passed.attached.forward(client(&passed, &head.headers), body).await)
}

async fn served(State(passed): State<Passed>, headers: HeaderMap) -> Response<Body> {
    answer(passed.attached.describe(client(&passed, &headers)).await)
}

fn answer(answer: Result<(StatusCode, Bytes)>) -> Response<Body> {
    let head = [(header::CONTENT_TYPE, "application/json")];
    match answer {
        Ok((status, body)) => (status, head, body).into_response(),
        Err(fault) => (StatusCode::OK, head, failure(&fault)).into_response(),
    }
}

fn failure(fault: &Fault) -> String {
    serde_json::json!({"data": null, "errors": [{"message": fault.full_message()}]}).to_string()
}

/// A further client of the session of this process.
async fn attach(State(passed): State<Passed>, request: Request) -> Response<Body> {
    join(passed, request, ATTACH, None).await
}

/// A stream that a further client was asked for.
async fn stream(State(passed): State<Passed>, request: Request) -> Response<Body> {
    let ticket = request.headers().get(TICKET_HEADER).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
    join(passed, request, STREAM, ticket).await
}

/// Joins a connection with one that the engine upgrades at `path`.
async fn join(passed: Passed, mut request: Request, path: &'static str, ticket: Option<String>) -> Response<Body> {
    if request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()) != Some(PROTOCOL) {
        return (StatusCode::UPGRADE_REQUIRED, "attach with `upgrade: rondel-link`").into_response();
    }
    let headers: Vec<(&str, &str)> = ticket.iter().map(|ticket| (TICKET_HEADER, ticket.as_str())).collect();
    let mut far = match passed.attached.upgraded(path, &headers).await {
        Ok(far) => far,
        Err(fault) => return (StatusCode::BAD_GATEWAY, failure(&fault)).into_response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(near) = upgrade.await {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut far).await;
        }
    });
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, head).into_response()
}
