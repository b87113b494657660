//! Instruments: the counters, gauges and histograms that the engine updates while it works.
//!
//! Values that the engine can read at any time, such as the number of clients, are not instruments:
//! `metrics.rs` reads them each time that metrics are requested.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use rondel_fault::Fault;

/// The label of a counter with one label.
type Label = [(&'static str, &'static str); 1];

/// Instruments of one engine. Updating one is an atomic operation.
pub struct Instruments {
    registry: Registry,
    /// Processes in containers that run now.
    pub(crate) execs_running: Gauge,
    exec_durations: Histogram,
    /// Function calls that were answered from the cache.
    pub(crate) functions_cached: Counter,
    /// Function calls that ran.
    pub(crate) functions_run: Counter,
    /// Bytes of image layers that were fetched.
    pub(crate) pull_bytes: Counter,
    /// Clients that were refused.
    pub(crate) clients_refused: Counter,
    prunes: Family<Label, Counter>,
    pruned_records: Counter,
    pruned_bytes: Counter,
    errors: Family<Label, Counter>,
}

impl Default for Instruments {
    fn default() -> Self {
        // From 10 ms to about 11 minutes.
        let exec_durations = Histogram::new(exponential_buckets(0.01, 2.0, 17));
        let mut registry = Registry::default();
        let instruments = Self {
            exec_durations: exec_durations.clone(),
            execs_running: Gauge::default(),
            functions_cached: Counter::default(),
            functions_run: Counter::default(),
            pull_bytes: Counter::default(),
            clients_refused: Counter::default(),
            prunes: Family::default(),
            pruned_records: Counter::default(),
            pruned_bytes: Counter::default(),
            errors: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "rondel_execs_running",
            "Processes in containers that run now",
            instruments.execs_running.clone(),
        );
        registry.register("rondel_exec_duration_seconds", "How long processes in containers ran", exec_durations);
        registry.register(
            "rondel_pull_bytes",
            "Bytes of image layers that were fetched",
            instruments.pull_bytes.clone(),
        );
        registry.register(
            "rondel_clients_refused",
            "Clients that the engine did not let attach",
            instruments.clients_refused.clone(),
        );
        registry.register("rondel_prunes", "Prunes that removed something, by reason", instruments.prunes.clone());
        registry.register("rondel_pruned_records", "Records that prunes removed", instruments.pruned_records.clone());
        registry.register("rondel_pruned_bytes", "Bytes that prunes removed", instruments.pruned_bytes.clone());
        registry.register(
            "rondel_errors",
            "Errors in answers to GraphQL requests, by code",
            instruments.errors.clone(),
        );
        Self { registry, ..instruments }
    }
}

impl Instruments {
    /// The registry with all instruments.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a process that ran for `duration`.
    pub(crate) fn exec_ended(&self, duration: Duration) {
        self.exec_durations.observe(duration.as_secs_f64());
    }

    /// Counts a prune.
    pub(crate) fn pruned(&self, reason: &'static str, records: usize, bytes: u64) {
        self.prunes.get_or_create(&[("reason", reason)]).inc();
        self.pruned_records.inc_by(records as u64);
        self.pruned_bytes.inc_by(bytes);
    }

    /// Counts an error of a GraphQL answer.
    pub(crate) fn error(&self, fault: &Fault) {
        self.errors.get_or_create(&[("code", fault.code().as_str())]).inc();
    }

    /// Counts a request that is no valid GraphQL.
    pub(crate) fn invalid_request(&self) {
        self.errors.get_or_create(&[("code", INVALID_REQUEST)]).inc();
    }
}

/// The code of a request that is no valid GraphQL.
const INVALID_REQUEST: &str = "INVALID_REQUEST";
