//! Serves the API on loopback for client libraries and other `rondel` processes: checks the token
//! and forwards requests.
//!
//! *Invariants.* Only the head of a request is read before its token was checked.

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

/// How many connections may be open at the same time.
const MAX_CONNECTIONS: usize = 512;

/// A server of the API on loopback. It stops when it is dropped.
pub(crate) struct SessionProxy {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// The token that requests must carry.
    pub(crate) token: String,
    attached: Arc<Attached>,
    _serving: DropGuard,
}

impl SessionProxy {
    /// Ends the stream of events of the client.
    pub(crate) fn end_events(&self) {
        self.attached.end_events();
    }
}

#[derive(Clone)]
struct ProxyState {
    attached: Arc<Attached>,
    expected: Arc<str>,
    admission: Admission,
}

/// Serves the API of an attached client on a free port of 127.0.0.1.
pub(crate) async fn open(attached: Attached) -> Result<SessionProxy> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.attempt(|| "listen on loopback".into())?;
    let port = listener.local_addr().attempt(|| "listen on loopback".into())?.port();
    let token = format!("{:032x}", rand::random::<u128>());
    let expected = format!("Basic {}", STANDARD.encode(format!("{token}:"))).into();
    let attached = Arc::new(attached);
    let proxy = ProxyState { attached: attached.clone(), expected, admission: Admission::default() };
    let routes = Router::new()
        .route(QUERY, post(query))
        .route(ATTACH, get(attach))
        .route(STREAM, get(stream))
        .route(SERVED, get(served))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .layer(from_fn_with_state(proxy.clone(), authorized))
        .with_state(proxy);
    let ending = CancellationToken::new();
    tokio::spawn(rondel_web::serve(listener, routes, ServerLimits::for_connections(MAX_CONNECTIONS), ending.clone()));
    Ok(SessionProxy { port, token, attached, _serving: ending.drop_guard() })
}

/// Forwards requests with the token and refuses all others.
async fn authorized(State(proxy): State<ProxyState>, request: Request, next: Next) -> Response<Body> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    // Libraries send the token as the user name, with an empty password.
    if given == Some(&*proxy.expected) {
        return next.run(request).await;
    }
    let refusal = [
        (header::WWW_AUTHENTICATE, "Basic realm=\"Access to the engine session\""),
        // The rest of the request is not read.
        (header::CONNECTION, "close"),
    ];
    (StatusCode::UNAUTHORIZED, refusal).into_response()
}

/// The client that a request is for: one that attached through this server, else the client of this
/// process.
fn client<'a>(proxy: &'a ProxyState, headers: &'a HeaderMap) -> &'a str {
    let named = headers.get(CLIENT_HEADER).and_then(|v| v.to_str().ok());
    named.unwrap_or(&proxy.attached.welcome().client)
}

async fn query(State(proxy): State<ProxyState>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (body, _admitted) = match proxy.admission.admit(&head.headers, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    answer(proxy.attached.forward(client(&proxy, &head.headers), body).await)
}

async fn served(State(proxy): State<ProxyState>, headers: HeaderMap) -> Response<Body> {
    answer(proxy.attached.describe(client(&proxy, &headers)).await)
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

/// Attaches another client to the session of this process.
async fn attach(State(proxy): State<ProxyState>, request: Request) -> Response<Body> {
    relay_upgrade(proxy, request, ATTACH, None).await
}

/// Opens a stream that the engine asked another client for.
async fn stream(State(proxy): State<ProxyState>, request: Request) -> Response<Body> {
    let ticket = request.headers().get(TICKET_HEADER).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
    relay_upgrade(proxy, request, STREAM, ticket).await
}

/// Relays between this connection and one that the engine upgrades at `path`.
async fn relay_upgrade(
    proxy: ProxyState,
    mut request: Request,
    path: &'static str,
    ticket: Option<String>,
) -> Response<Body> {
    if request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()) != Some(PROTOCOL) {
        return (StatusCode::UPGRADE_REQUIRED, "attach with `upgrade: rondel-link`").into_response();
    }
    let headers: Vec<(&str, &str)> = ticket.iter().map(|ticket| (TICKET_HEADER, ticket.as_str())).collect();
    let mut far = match proxy.attached.upgraded(path, &headers).await {
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
