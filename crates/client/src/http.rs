//! HTTP over the engine's socket: one request, one response.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_streams::Stream;

/// Sends one request over `stream` and reads the whole response.
///
/// # Errors
/// When the engine goes away first, or the request is malformed.
pub async fn request(
    stream: Stream,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.attempt(|| "talk to the engine".into())?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "engine");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).map_err(|e| Fault::bug("a malformed request").caused_by(e))?;
    let response = sender.send_request(request).await.attempt(|| format!("ask the engine for `{path}`"))?;
    let status = response.status();
    let body = response.into_body().collect().await.attempt(|| format!("read the engine's answer to `{path}`"))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}
