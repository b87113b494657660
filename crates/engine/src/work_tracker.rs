//! What runs now: since when deferred work has been running, and the inputs of what ran.
//!
//! Garbage collection removes nothing that was used since the oldest running work began.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use rondel_fault::lock;
use rondel_model::explain::Note;
use rondel_ports::cache::Watch;
use rondel_store::Store;

use crate::cache_miss_log::InputLog;

/// Watches deferred work.
pub struct WorkTracker {
    store: Arc<Store>,
    /// The inputs of what ran, for `rondel cache why`.
    pub(crate) input_log: InputLog,
    /// How much of the running work began at each time.
    running: Arc<Mutex<BTreeMap<i64, usize>>>,
}

impl fmt::Debug for WorkTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkTracker").finish_non_exhaustive()
    }
}

impl WorkTracker {
    /// A tracker on the clock of `store`, with its log in the state directory.
    pub fn new(store: Arc<Store>) -> Arc<Self> {
        let input_log = InputLog::new(store.state_dir());
        Arc::new(Self { store, input_log, running: Arc::default() })
    }

    /// Now, on the clock of last uses.
    pub fn now(&self) -> i64 {
        self.store.clock()
    }

    /// When the oldest running work began. `None` when nothing runs.
    pub(crate) fn oldest(&self) -> Option<i64> {
        lock(&self.running).keys().next().copied()
    }
}

/// Work that runs, until it is dropped.
struct RunningWork {
    all: Arc<Mutex<BTreeMap<i64, usize>>>,
    since: i64,
}

impl Drop for RunningWork {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        if let Some(count) = all.get_mut(&self.since) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.since);
            }
        }
    }
}

impl Watch for WorkTracker {
    fn begin(&self) -> Box<dyn Any + Send + Sync> {
        let since = self.now();
        *lock(&self.running).entry(since).or_default() += 1;
        Box::new(RunningWork { all: self.running.clone(), since })
    }

    fn note(&self, note: Note) {
        self.input_log.add(Note { at: self.now(), ..note });
    }
}
