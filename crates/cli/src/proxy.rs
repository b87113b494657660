//! The API on loopback for client libraries: checks the token and passes requests on to the engine.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{any, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondel_client::Attached;
use rondel_fault::{Attempt as _, Result};
use tokio::net::TcpListener;

/// The API on loopback.
pub(crate) struct Proxy {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// What requests are authorized with.
    pub(crate) token: String,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Passed {
    attached: Arc<Attached>,
    expected: Arc<str>,
}

/// Opens the API of an attached client on a free port.
pub(crate) async fn open(attached: Attached) -> Result<Proxy> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.attempt(|| "listen on loopback".into())?;
    let port = listener.local_addr().attempt(|| "listen on loopback".into())?.port();
    let token = format!("{:032x}", rand::random::<u128>());
    let expected = format!("Basic {}", STANDARD.encode(format!("{token}:"))).into();
    let routes = Router::new()
        .route("/query", post(query))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::disable())
        .with_state(Passed { attached: Arc::new(attached), expected });
    let server = tokio::spawn(async move {
        let _ = axum::serve(listener, routes).await;
    });
    Ok(Proxy { port, token, server })
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn query(State(passed): State<Passed>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    // Only the password may differ between libraries: it is always empty, and the name is the token.
    if given != Some(&*passed.expected) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"Access to the engine session\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    match passed.attached.query(body).await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(e) => {
            let body = serde_json::json!({"data": null, "errors": [{"message": e.full_message()}]}).to_string();
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
}
