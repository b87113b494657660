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

use crate::config::CacheConfig;
use crate::explained::Explained;
use crate::sessions::Engine;

/// The clock of uses is this coarse, in milliseconds.
const CLOCK_GRANULARITY_MS: i64 = 20;
/// How often the free space of the disk is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often what is kept is counted.
const COUNT: Duration = Duration::from_secs(300);
/// How often last uses and notes are written.
const WRITE: Duration = Duration::from_secs(30);
/// How long the engine waits when nothing could be removed from a disk that is too full.
const IN_VAIN: Duration = Duration::from_secs(10);

/// What keeps the engine's house.
pub struct GarbageCollector {
    store: Arc<Store>,
    name: String,
    policy: Policy,
    disk: u64,
    /// Why work ran.
    pub(crate) explained: Explained,
    /// When what goes on now began, and how much of it did then.
    under_way: Arc<Mutex<BTreeMap<i64, usize>>>,
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
        let explained = Explained::new(store.state_dir());
        let (policy, under_way, engine) = (config.policy(disk), Arc::default(), OnceLock::new());
        Ok(Arc::new(Self { store, name, policy, disk, explained, under_way, engine }))
    }

    /// Says whose house it is. A second engine is ignored.
    pub fn serve(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// Now, on the clock of uses.
    pub fn now(&self) -> i64 {
        self.store.clock()
    }

    /// What was used since then may be needed now.
    fn in_use_since(&self) -> i64 {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = under_way.keys().next().copied();
        let attached = self.engine().and_then(|engine| engine.oldest().map(|(since, _)| since));
        oldest.into_iter().chain(attached).min().unwrap_or_else(|| self.now()) - CLOCK_GRANULARITY_MS
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get().and_then(Weak::upgrade)
    }

    /// Uses what live sessions hold in memory: what is used is not removed.
    fn use_what_is_held(&self) {
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
            gc.forget_what_was_lost();
            Ok(found)
        };
        joined(tokio::task::spawn_blocking(checked).await)
    }

    /// The same as below, when the store found something damaged or missing.
    fn forget_what_was_lost(&self) {
        if self.store.take_lost() {
            self.store.notes().iter().for_each(|note| tracing::warn!("{note}"));
            self.forget_what_is_gone();
        }
    }

    /// Forgets results in memory that consist of what is not here any more.
    fn forget_what_is_gone(&self) {
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
        self.use_what_is_held();
        let refers = |table: Table, entry: &[u8]| match table {
            Table::Files => rondel_hostlink::referred(entry),
            _ => rondel_ops::referred(table, entry),
        };
        let pruned = self.store.collect(request, &self.policy, self.in_use_since(), &refers)?;
        if !request.dry_run && !pruned.records.is_empty() {
            self.forget_what_is_gone();
        }
        Ok(pruned)
    }

    /// Keeps the disk as the policy says, until the engine ends.
    pub async fn keep(self: Arc<Self>, ending: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut counted, mut written) = (Instant::now(), Instant::now());
        let mut rest: Option<Instant> = None;
        loop {
            tokio::select! {
                () = ending.cancelled() => break,
                _ = tick.tick() => {}
            }
            self.in_background(|gc| gc.forget_what_was_lost()).await;
            let now = Instant::now();
            if now - written >= WRITE {
                written = now;
                self.in_background(|gc| gc.write()).await;
            }
            let tight = self.store.disk().is_ok_and(|disk| disk.free < self.policy.min_free);
            let rested = rest.is_none_or(|until| now >= until);
            if (tight && rested) || now - counted >= COUNT {
                counted = now;
                let freed = self.in_background(|gc| gc.prune_and_say()).await.unwrap_or_default();
                rest = (tight && freed == 0).then(|| now + IN_VAIN);
            }
        }
        self.in_background(|gc| gc.write()).await;
    }

    async fn in_background<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&GarbageCollector) -> T + Send + 'static,
    ) -> Option<T> {
        let gc = self.clone();
        tokio::task::spawn_blocking(move || work(&gc)).await.ok()
    }

    fn write(&self) {
        self.store.write_uses();
        self.explained.write();
    }

    fn prune_and_say(&self) -> u64 {
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
struct UnderWay {
    all: Arc<Mutex<BTreeMap<i64, usize>>>,
    since: i64,
}

impl Drop for UnderWay {
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
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner).entry(since).or_default() += 1;
        Box::new(UnderWay { all: self.under_way.clone(), since })
    }

    fn note(&self, note: Note) {
        self.explained.add(Note { at: self.now(), ..note });
    }
}
