//! Figures for monitoring, in Prometheus's text form. The names are those that dashboards of the original read.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::cache::Cache as _;
use rondel_web::ServerLimits;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How many connections may be open at a time.
const MAX_CONNECTIONS: usize = 64;

/// Serves the figures on `address` until the engine ends. Only this machine can ask: nobody is asked for credentials.
///
/// # Errors
/// When the address is not one of this machine alone, or is taken.
pub async fn serve(engine: Arc<Engine>, address: SocketAddr, ending: CancellationToken) -> Result<()> {
    if !address.ip().is_loopback() {
        return Err(Fault::user(format!("cannot serve metrics on `{address}`: it is not an address of loopback"))
            .with_hint("Write `metrics = \"127.0.0.1:9464\"`"));
    }
    let listener = tokio::net::TcpListener::bind(address).await.attempt(|| format!("serve metrics on `{address}`"))?;
    let routes = Router::new().route(rondel_link::METRICS, get(answer)).with_state(engine);
    tokio::spawn(rondel_web::serve(listener, routes, ServerLimits::for_connections(MAX_CONNECTIONS), ending));
    Ok(())
}

/// Answers with the figures.
pub async fn answer(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let records = engine.gc.records().await.unwrap_or_default();
    let status = engine.status();
    let bytes: u64 = records.iter().map(|record| record.bytes).sum();
    let figures = [
        ("dagger_connected_clients", "Attached clients", status.clients as u64),
        ("dagger_dagql_cache_entries", "Results remembered in memory", status.results as u64),
        ("dagger_local_cache_total_disk_size_bytes", "What the cache takes on disk", bytes),
        ("dagger_local_cache_entries", "Records of the cache on disk", records.len() as u64),
        ("rondel_execs_total", "Processes run in containers since the start", status.execs),
    ];
    let mut text = String::new();
    for (name, help, value) in figures {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
