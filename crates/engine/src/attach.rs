//! Attaching: the upgrade of a connection, the handshake, and the life of an attached client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rondel_events::{Nowhere, Sink};
use rondel_fault::{Fault, Result};
use rondel_link::{Greeting, Hello, Refusal, Welcome};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::client_link::Link;
use crate::client_registry::AttachedClient;
use crate::instruments::Instruments;
use crate::responses::{switching_protocols, wants_upgrade};

/// How long a client may take to send its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest hello, in bytes.
const MAX_HELLO_BYTES: u64 = 1 << 20;

/// The listener that a client came in by: the engine's socket, or the API in a container.
pub(crate) trait AttachPoint: Send + Sync + 'static {
    /// Attaches the client that sent `hello`. Its events go to `sink`.
    ///
    /// # Errors
    /// When the client is refused.
    fn attach(&self, hello: Hello, link: &Arc<Link>, sink: Arc<dyn Sink>) -> Result<AttachedClient>;

    /// Detaches the client `id`, and cancels its work unless other clients wait for it.
    fn detach(&self, id: &str);

    /// The longest line of a client after its hello, in bytes.
    fn max_line_bytes(&self) -> u64;

    /// Where refused clients are counted.
    fn instruments(&self) -> &Instruments;
}

/// Upgrades the connection of `request` and attaches its client at `point`.
pub(crate) fn upgrade(mut request: Request, point: impl AttachPoint) -> Response<Body> {
    if !wants_upgrade(&request) {
        return (StatusCode::UPGRADE_REQUIRED, "attach with `upgrade: rondel-link`").into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(point, upgraded).await;
        }
    });
    switching_protocols()
}

/// Serves one upgraded connection to its end; then the client is gone.
async fn serve(point: impl AttachPoint, upgraded: Upgraded) {
    let (read, mut write) = tokio::io::split(TokioIo::new(upgraded));
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let hello = tokio::time::timeout(HELLO_TIMEOUT, read_line(&mut read, &mut line, MAX_HELLO_BYTES)).await;
    if !matches!(hello, Ok(true)) {
        return;
    }
    let (link, mut outgoing) = Link::new();
    let _gone = link.gone.clone().drop_guard();
    let attached = match attach(&point, &line, &link) {
        Ok(attached) => attached,
        Err(e) => {
            tracing::warn!(code = e.code().as_str(), reason = e.full_message(), "client refused");
            point.instruments().clients_refused.inc();
            let code = e.code().as_str().to_owned();
            let refusal = Greeting::Refusal(Refusal { message: e.full_message(), hints: e.hints().to_vec(), code });
            let _ = write.write_all(json_line(&refusal).as_bytes()).await;
            return;
        }
    };
    let (client, view) = (attached.caller.client.to_string(), attached.caller.view.to_string());
    let engine = crate::VERSION.to_owned();
    let welcome = Greeting::Welcome(Welcome { client, engine, view });
    let id = attached.caller.client.clone();
    let _ = write.write_all(json_line(&welcome).as_bytes()).await;
    let writer = tokio::spawn(async move {
        let mut buffer = Vec::new();
        while let Some(lines) = outgoing.next(&mut buffer).await {
            if write.write_all(lines).await.is_err() {
                break;
            }
        }
    });
    let mut line = String::new();
    loop {
        line.clear();
        tokio::select! {
            read = read_line(&mut read, &mut line, point.max_line_bytes()) => match read {
                true => link.on_message(&line),
                false => break,
            },
            () = attached.gone.cancelled() => break,
        }
    }
    point.detach(&id);
    writer.abort();
}

/// Reads a line of at most `max` bytes. False when there is none.
async fn read_line(read: &mut (impl AsyncBufRead + Unpin), line: &mut String, max: u64) -> bool {
    let read = read.take(max).read_line(line).await;
    read.is_ok_and(|bytes| bytes > 0) && line.ends_with('\n')
}

fn attach(point: &impl AttachPoint, line: &str, link: &Arc<Link>) -> Result<AttachedClient> {
    let hello: Hello = serde_json::from_str(line)
        .map_err(|e| Fault::user("the client says something unexpected while attaching").caused_by(e))?;
    link.providers.store(hello.providers, Ordering::Relaxed);
    if !hello.workdir.is_absolute() {
        return Err(Fault::user(format!("the working directory `{}` is not absolute", hello.workdir.display())));
    }
    rondel_version::of_client(&hello.version).map_err(|e| Fault::user(e.to_string()))?;
    let sink: Arc<dyn Sink> = if hello.quiet { Arc::new(Nowhere) } else { link.event_sender() };
    point.attach(hello, link, sink)
}

fn json_line(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}
