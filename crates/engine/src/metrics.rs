//! The endpoint of the engine's metrics, in the format that Prometheus reads.
//!
//! Names with `dagger_` are those that dashboards of the original read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::cache::{Cache as _, Record, RecordKind};
use rondel_web::ServerLimits;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How many connections may be open at a time.
const MAX_CONNECTIONS: usize = 64;

/// Serves the metrics on `address` until the engine ends. Requests need no credentials, and come
/// from this machine only.
///
/// # Errors
/// When the address is not one of this machine alone, or is taken.
pub async fn serve(engine: Arc<Engine>, address: SocketAddr, ending: CancellationToken) -> Result<()> {
    if !address.ip().is_loopback() {
        return Err(Fault::user(format!("cannot serve metrics on `{address}`: it is not an address of loopback"))
            .with_hint("write `metrics = \"127.0.0.1:9464\"`"));
    }
    let listener = tokio::net::TcpListener::bind(address).await.attempt(|| format!("serve metrics on `{address}`"))?;
    let routes = Router::new().route(rondel_link::METRICS, get(answer)).with_state(engine);
    tokio::spawn(rondel_web::serve(listener, routes, ServerLimits::for_connections(MAX_CONNECTIONS), ending));
    Ok(())
}

/// The format of the metrics, OpenMetrics.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers with the metrics.
pub async fn answer(State(engine): State<Arc<Engine>>) -> Response<Body> {
    let records = engine.gc.records().await.unwrap_or_default();
    let mut text = String::new();
    let encoded = encode_registry(&mut text, engine.api.instruments.registry())
        .and_then(|()| encode_registry(&mut text, &current(&engine, &records)))
        .and_then(|()| encode_eof(&mut text));
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// The metrics whose values the engine reads for each request.
fn current(engine: &Engine, records: &[Record]) -> Registry {
    let mut registry = Registry::default();
    let status = engine.status();
    let graph = engine.api.evaluator.graph();
    let bytes: u64 = records.iter().map(|record| record.bytes).sum();
    let gauges = [
        ("dagger_connected_clients", "Attached clients", status.clients as u64),
        ("dagger_dagql_cache_entries", "Results cached in memory", status.results as u64),
        ("dagger_local_cache_total_disk_size_bytes", "What the cache takes on disk", bytes),
        ("dagger_local_cache_entries", "Records of the cache on disk", records.len() as u64),
        ("rondel_sessions", "Sessions", engine.clients.sessions() as u64),
        ("rondel_clients", "Attached clients", status.clients as u64),
        ("rondel_results", "Results cached in memory", status.results as u64),
        ("rondel_evaluations_running", "Evaluations of API calls that run or wait", graph.running() as u64),
        ("rondel_disk_free_bytes", "Free space of the disk with the state directory", engine.gc.free_space()),
        ("rondel_warnings", "Warnings about missing host features and damage", status.notes.len() as u64),
        ("rondel_uptime_seconds", "Seconds since the engine started", status.uptime),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(value));
    }
    registry.register("rondel_execs", "Processes run in containers since the start", ConstCounter::new(status.execs));
    let version = [("version", status.version)];
    registry.register("rondel_build", "The version of the engine", Info::new(version));
    registry.register("rondel_cache_bytes", "What the cache takes on disk, by kind of record", by_kind(records));
    let (hits, misses) = lookups(engine);
    registry.register("rondel_cache_hits", "Results that were cached, by kind of work", hits);
    registry.register("rondel_cache_misses", "Work that was not cached and ran, by kind", misses);
    registry
}

/// A label and its value.
type Label = [(&'static str, &'static str); 1];

fn by_kind(records: &[Record]) -> Family<Label, Gauge> {
    let family = Family::<Label, Gauge>::default();
    for kind in [RecordKind::Layer, RecordKind::Blob, RecordKind::Volume, RecordKind::Repository] {
        let bytes: u64 = records.iter().filter(|record| record.kind == kind).map(|record| record.bytes).sum();
        let name = match kind {
            RecordKind::Layer => "layer",
            RecordKind::Blob => "blob",
            RecordKind::Volume => "volume",
            RecordKind::Repository => "repository",
        };
        family.get_or_create(&[("kind", name)]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    family
}

/// Hits and misses by kind of work.
fn lookups(engine: &Engine) -> (Family<Label, Counter>, Family<Label, Counter>) {
    let (hits, misses) = (Family::<Label, Counter>::default(), Family::<Label, Counter>::default());
    let (calls, ops, instruments) =
        (engine.api.evaluator.graph().stats(), engine.api.services.ops.stats(), &engine.api.instruments);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let kinds = [
        ("call", read(&calls.hits) + read(&calls.joins), read(&calls.runs)),
        ("function", instruments.functions_cached.get(), instruments.functions_run.get()),
        ("exec", read(&ops.execs_cached), read(&ops.execs_run)),
        ("files", read(&ops.files_cached), read(&ops.files_done)),
        ("layer", read(&ops.pulls_cached), read(&ops.pulls)),
    ];
    for (kind, hit, missed) in kinds {
        hits.get_or_create(&[("kind", kind)]).inc_by(hit);
        misses.get_or_create(&[("kind", kind)]).inc_by(missed);
    }
    (hits, misses)
}
