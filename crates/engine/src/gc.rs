//! The engine as handlers see it, and what keeps its disk in order: what is needed now, how much is kept, when something
//! is removed, and what is remembered of why work ran.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::explain::Note;
use rondel_model::{Fs, FsOp};
use rondel_ops::Ops;
use rondel_ports::BoxFuture;
use rondel_ports::cache::{Cache, Policy, PruneRequest, Pruned, Record, Watch};
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Snapshots as _, Verification};
use rondel_session::EngineInfo;
use rondel_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache_miss_log::InputLog;
use crate::clients::Engine;
use crate::config::CacheConfig;

/// The clock of uses is this coarse, in milliseconds.
const CLOCK_GRANULARITY_MS: i64 = 20;
/// How often the free space of the disk is looked at.
const DISK_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How often what is kept is pruned_at.
const PRUNE_INTERVAL: Duration = Duration::from_secs(300);
/// How often last uses and notes are flushed_at.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// How long the engine waits when nothing could be removed from a disk that is too full.
const PRUNE_BACKOFF: Duration = Duration::from_secs(10);

/// What keeps the engine's house.
pub struct GarbageCollector {
    store: Arc<Store>,
    name: String,
    policy: Policy,
    disk: u64,
    /// MissReport work ran.
    pub(crate) input_log: InputLog,
    /// When what goes on now began, and how much of it did then.
    active_work: Arc<Mutex<BTreeMap<i64, usize>>>,
    engine: OnceLock<Weak<Engine>>,
}

impl fmt::Debug for GarbageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GarbageCollector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl GarbageCollector {
    /// For the store of an engine called `name`.
    ///
    /// # Errors
    /// When the kernel does not say how large the disk is.
    pub fn new(store: Arc<Store>, name: String, config: &CacheConfig) -> Result<Arc<Self>> {
        let disk = store.disk()?.size;
        let input_log = InputLog::new(store.state_dir());
        let (policy, active_work, engine) = (config.policy(disk), Arc::default(), OnceLock::new());
        Ok(Arc::new(Self { store, name, policy, disk, input_log, active_work, engine }))
    }

    /// Says whose house it is. A second engine is ignored.
    pub fn set_engine(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// Now, on the clock of uses.
    pub fn now(&self) -> i64 {
        self.store.clock()
    }

    /// What was used since then may be needed now.
    fn in_use_since(&self) -> i64 {
        let active_work = self.active_work.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = active_work.keys().next().copied();
        let attached = self.engine().and_then(|engine| engine.oldest().map(|(since, _)| since));
        oldest.into_iter().chain(attached).min().unwrap_or_else(|| self.now()) - CLOCK_GRANULARITY_MS
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get().and_then(Weak::upgrade)
    }

    /// Uses what live sessions hold in memory: what is used is not removed.
    fn touch_live_results(&self) {
        let Some(engine) = self.engine() else { return };
        engine.modules.snapshots().iter().for_each(|snapshot| _ = self.store.has(snapshot));
        let Some((_, moment)) = engine.oldest() else { return };
        let (mut seen, ops) = (HashSet::new(), &engine.services.ops);
        for node in engine.evaluator.graph().used_since(moment) {
            Ops::consists_of(&node.value, &mut seen, &|fs| {
                ops.use_tree(fs);
                true
            });
        }
    }

    /// Checks everything that is kept. What is damaged is no result any more, in memory either.
    pub(crate) async fn verify(self: &Arc<Self>) -> Result<Verification> {
        let gc = self.clone();
        let checked = move || {
            let found = gc.store.verify()?;
            gc.forget_lost_results();
            Ok(found)
        };
        joined(tokio::task::spawn_blocking(checked).await)
    }

    /// The same as below, when the store found something damaged or missing.
    fn forget_lost_results(&self) {
        if self.store.take_lost() {
            self.store.notes().iter().for_each(|note| tracing::warn!("{note}"));
            self.forget_missing_results();
        }
    }

    /// Forgets results in memory that consist of what is not here any more.
    fn forget_missing_results(&self) {
        let Some(engine) = self.engine() else { return };
        engine.modules.retain(&|snapshot| self.store.keeps(snapshot));
        let mut seen = HashSet::new();
        let here = |fs: &Fs| match fs.op() {
            FsOp::Known(snapshot) => self.store.keeps(snapshot),
            _ => true,
        };
        engine.evaluator.graph().retain(|_, node| Ops::consists_of(&node.value, &mut seen, &here));
    }

    fn prune_now(&self, request: &PruneRequest) -> Result<Pruned> {
        self.touch_live_results();
        let refers = |table: Table, entry: &[u8]| match table {
            Table::Files => rondel_hostlink::referred(entry),
            _ => rondel_ops::referred(table, entry),
        };
        let pruned = self.store.collect(request, &self.policy, self.in_use_since(), &refers)?;
        if !request.dry_run && !pruned.records.is_empty() {
            self.forget_missing_results();
        }
        Ok(pruned)
    }

    /// Keeps the disk as the policy says, until the engine ends.
    pub async fn run(self: Arc<Self>, ending: CancellationToken) {
        let mut tick = tokio::time::interval(DISK_POLL_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut pruned_at, mut flushed_at) = (Instant::now(), Instant::now());
        let mut retry_at: Option<Instant> = None;
        loop {
            tokio::select! {
                () = ending.cancelled() => break,
                _ = tick.tick() => {}
            }
            self.in_background(|gc| gc.forget_lost_results()).await;
            let now = Instant::now();
            if now - flushed_at >= FLUSH_INTERVAL {
                flushed_at = now;
                self.in_background(|gc| gc.flush()).await;
            }
            let tight = self.store.disk().is_ok_and(|disk| disk.free < self.policy.min_free);
            let may_retry = retry_at.is_none_or(|until| now >= until);
            if (tight && may_retry) || now - pruned_at >= PRUNE_INTERVAL {
                pruned_at = now;
                let freed = self.in_background(|gc| gc.prune_and_log()).await.unwrap_or_default();
                retry_at = (tight && freed == 0).then(|| now + PRUNE_BACKOFF);
            }
        }
        self.in_background(|gc| gc.flush()).await;
    }

    async fn in_background<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&GarbageCollector) -> T + Send + 'static,
    ) -> Option<T> {
        let gc = self.clone();
        tokio::task::spawn_blocking(move || work(&gc)).await.ok()
    }

    fn flush(&self) {
        self.store.write_uses();
        self.input_log.write();
    }

    fn prune_and_log(&self) -> u64 {
        match self.prune_now(&PruneRequest::default()) {
            Ok(pruned) => {
                if pruned.bytes > 0 {
                    tracing::info!("removed {} bytes in {} records", pruned.bytes, pruned.records.len());
                }
                pruned.bytes
            }
            Err(fault) => {
                tracing::warn!("cannot remove what nobody needs: {}", fault.full_message());
                0
            }
        }
    }
}

impl EngineInfo for GarbageCollector {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn clients(&self) -> Vec<String> {
        self.engine().map(|engine| engine.client_names()).unwrap_or_default()
    }
}

impl Cache for GarbageCollector {
    fn policy(&self) -> Policy {
        self.policy
    }

    fn disk(&self) -> u64 {
        self.disk
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        let (store, in_use_since) = (self.store.clone(), self.in_use_since());
        Box::pin(async move { joined(tokio::task::spawn_blocking(move || store.records(in_use_since)).await) })
    }

    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned>> {
        let engine = self.engine();
        Box::pin(async move {
            let gc = engine.ok_or_else(|| Fault::cancelled("the engine ends"))?.gc.clone();
            joined(tokio::task::spawn_blocking(move || gc.prune_now(&request)).await)
        })
    }
}

fn joined<T>(done: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.unwrap_or_else(|e| Err(Fault::bug(format!("work on the cache panicked: {e}"))))
}

/// Something that goes on.
struct ActiveWork {
    all: Arc<Mutex<BTreeMap<i64, usize>>>,
    since: i64,
}

impl Drop for ActiveWork {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.since) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.since);
            }
        }
    }
}

impl Watch for GarbageCollector {
    fn begin(&self) -> Box<dyn Any + Send + Sync> {
        let since = self.now();
        *self.active_work.lock().unwrap_or_else(PoisonError::into_inner).entry(since).or_default() += 1;
        Box::new(ActiveWork { all: self.active_work.clone(), since })
    }

    fn note(&self, note: Note) {
        self.input_log.add(Note { at: self.now(), ..note });
    }
}
