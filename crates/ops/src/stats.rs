//! Counters of work that was done and of cache hits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start of the engine.
#[derive(Debug, Default)]
pub struct OpStats {
    /// Processes that were started.
    pub execs_run: AtomicU64,
    /// Processes whose result was found in the index.
    pub execs_cached: AtomicU64,
    /// File ops that were done.
    pub files_done: AtomicU64,
    /// File ops whose result was found in the index.
    pub files_cached: AtomicU64,
    /// Image layers that were fetched.
    pub pulls: AtomicU64,
    /// Image layers that were needed and here already.
    pub pulls_cached: AtomicU64,
    /// Images that were pushed.
    pub pushes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
