//! HTTP over the engine's socket: one request, one response.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_streams::Stream;

/// A request to the engine.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Bytes,
}

impl<'a> Request<'a> {
    /// A request without headers.
    pub(crate) fn new(method: Method, path: &'a str, body: Bytes) -> Self {
        Self { method, path, headers: Vec::new(), body }
    }

    /// The same request with one more header.
    pub(crate) fn with_header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Sends one request over `stream` and reads the whole response.
///
/// # Errors
/// When the engine goes away first, or the request is malformed.
pub(crate) async fn send(stream: Stream, request: Request<'_>) -> Result<(StatusCode, Bytes)> {
    let Request { method, path, headers, body } = request;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.attempt(|| "talk to the engine".into())?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", "engine");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body)).map_err(|e| Fault::bug("a malformed request").caused_by(e))?;
    let response = sender.send_request(request).await.attempt(|| format!("ask the engine for `{path}`"))?;
    let status = response.status();
    let body = response.into_body().collect().await.attempt(|| format!("read the engine's answer to `{path}`"))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}
