//! Garbage collection of the local cache: decides what is in use, applies the disk policy, prunes.
//! Also answers `Query.engine`.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::{Fs, FsOp};
use rondel_modules::Modules;
use rondel_ops::Ops;
use rondel_ports::BoxFuture;
use rondel_ports::cache::{Cache, Policy, PruneRequest, Pruned, Record, RecordKind};
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Snapshots as _, Verification};
use rondel_session::{EngineInfo, Evaluator};
use rondel_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client_registry::ClientRegistry;
use crate::config::CacheConfig;
use crate::instruments::Instruments;
use crate::work_tracker::WorkTracker;

/// The granularity of the clock of last uses, in milliseconds.
const CLOCK_GRANULARITY_MS: i64 = 20;
/// How often the free space of the disk is checked.
const DISK_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How often the policy is applied, however much space is free.
const PRUNE_INTERVAL: Duration = Duration::from_secs(300);
/// How often last uses and the log of inputs are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// How long pruning waits after it could remove nothing from a disk that is too full.
const PRUNE_BACKOFF: Duration = Duration::from_secs(10);

/// Collects the garbage of one engine's cache. Cheap to clone.
#[derive(Clone)]
pub struct GarbageCollector {
    name: Arc<str>,
    policy: Policy,
    disk: u64,
    cache: CacheUsers,
    instruments: Arc<Instruments>,
}

/// Why the cache is pruned.
#[derive(Clone, Copy)]
enum PruneReason {
    /// A client asked for it.
    Request,
    /// The disk has less free space than the policy wants.
    DiskFull,
    /// The policy is applied from time to time.
    Policy,
}

impl PruneReason {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::DiskFull => "disk-full",
            Self::Policy => "policy",
        }
    }
}

/// The cache, and what refers to it.
#[derive(Clone)]
pub struct CacheUsers {
    /// The cache itself.
    pub store: Arc<Store>,
    /// Deferred work that runs.
    pub tracker: Arc<WorkTracker>,
    /// Results of deferred work in memory.
    pub ops: Arc<Ops>,
    /// Results of calls in memory.
    pub evaluator: Arc<Evaluator>,
    /// Modules in memory.
    pub modules: Arc<Modules>,
    /// Attached clients. Weak, because clients hold the services of the engine, which hold this.
    pub clients: Weak<ClientRegistry>,
}

impl fmt::Debug for GarbageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GarbageCollector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl GarbageCollector {
    /// The collector of the cache of an engine called `name`.
    ///
    /// # Errors
    /// When the kernel does not report the size of the disk.
    pub fn new(cache: CacheUsers, instruments: Arc<Instruments>, name: &str, config: &CacheConfig) -> Result<Self> {
        let disk = cache.store.disk()?.size;
        Ok(Self { name: name.into(), policy: config.policy(disk), disk, cache, instruments })
    }

    /// Records used at or after this time count as in use and are not pruned.
    fn in_use_since(&self) -> i64 {
        let cache = &self.cache;
        let attached = cache.clients.upgrade().and_then(|clients| clients.oldest()).map(|since| since.clock);
        let oldest = cache.tracker.oldest().into_iter().chain(attached).min();
        oldest.unwrap_or_else(|| cache.tracker.now()) - CLOCK_GRANULARITY_MS
    }

    /// Marks as used what live sessions hold in memory, so that it is not pruned.
    fn touch_live_results(&self) {
        let cache = &self.cache;
        cache.modules.snapshots().iter().for_each(|snapshot| _ = cache.store.touch_if_present(snapshot));
        let Some(since) = cache.clients.upgrade().and_then(|clients| clients.oldest()) else { return };
        let mut seen = HashSet::new();
        for node in cache.evaluator.graph().used_since(since.graph_clock) {
            Ops::all_inputs(&node.value, &mut seen, &|fs| {
                cache.ops.touch(fs);
                true
            });
        }
    }

    /// The free space of the disk in bytes, or 0 if the kernel does not report it.
    pub(crate) fn free_space(&self) -> u64 {
        self.cache.store.disk().map_or(0, |disk| disk.free)
    }

    /// Verifies the whole cache. Damaged results are forgotten, in memory too.
    pub(crate) async fn verify(&self) -> Result<Verification> {
        let gc = self.clone();
        let checked = move || {
            let found = gc.cache.store.verify()?;
            gc.forget_lost_results();
            Ok(found)
        };
        joined(tokio::task::spawn_blocking(checked).await)
    }

    /// Forgets results in memory that are not complete, if the store found something damaged or
    /// missing.
    fn forget_lost_results(&self) {
        if self.cache.store.take_lost() {
            self.cache.store.warnings().iter().for_each(|note| tracing::warn!("{note}"));
            self.forget_missing_results();
        }
    }

    /// Forgets results in memory of which a layer is not in the store any more.
    fn forget_missing_results(&self) {
        let CacheUsers { store, modules, evaluator, .. } = &self.cache;
        modules.retain(&|snapshot| store.contains(snapshot));
        let mut seen = HashSet::new();
        let here = |fs: &Fs| match fs.op() {
            FsOp::Known(snapshot) => store.contains(snapshot),
            _ => true,
        };
        evaluator.graph().retain(|_, node| Ops::all_inputs(&node.value, &mut seen, &here));
    }

    fn prune_now(&self, request: &PruneRequest, reason: PruneReason) -> Result<Pruned> {
        self.touch_live_results();
        let refers = |table: Table, entry: &[u8]| match table {
            Table::Files => rondel_hostlink::referred(entry),
            _ => rondel_ops::referenced_layers(table, entry),
        };
        let pruned = self.cache.store.collect(request, &self.policy, self.in_use_since(), &refers)?;
        if !request.dry_run && !pruned.records.is_empty() {
            self.forget_missing_results();
            self.log_prune(request, reason.name(), &pruned);
        }
        Ok(pruned)
    }

    fn log_prune(&self, request: &PruneRequest, reason: &'static str, pruned: &Pruned) {
        let mut kinds: BTreeMap<RecordKind, usize> = BTreeMap::new();
        for record in &pruned.records {
            *kinds.entry(record.kind).or_default() += 1;
            let Record { kind, id, bytes, description, .. } = record;
            tracing::debug!(?kind, id, bytes, description, "record pruned");
        }
        let count = |kind: RecordKind| kinds.get(&kind).copied();
        let unused_for_s = Some(request.unused_for.as_secs()).filter(|seconds| *seconds > 0);
        tracing::info!(
            reason,
            records = pruned.records.len(),
            bytes = pruned.bytes,
            left_bytes = pruned.left,
            layers = count(RecordKind::Layer),
            blobs = count(RecordKind::Blob),
            volumes = count(RecordKind::Volume),
            repositories = count(RecordKind::Repository),
            kind = request.kind,
            matching = request.matching,
            unused_for_s,
            "cache pruned"
        );
        self.instruments.pruned(reason, pruned.records.len(), pruned.bytes);
    }

    /// Applies the disk policy until the engine ends.
    pub async fn run(self, ending: CancellationToken) {
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
            let tight = self.cache.store.disk().is_ok_and(|disk| disk.free < self.policy.min_free);
            let may_retry = retry_at.is_none_or(|until| now >= until);
            if (tight && may_retry) || now - pruned_at >= PRUNE_INTERVAL {
                pruned_at = now;
                let reason = if tight { PruneReason::DiskFull } else { PruneReason::Policy };
                let freed = self.in_background(move |gc| gc.prune_in_background(reason)).await.unwrap_or_default();
                retry_at = (tight && freed == 0).then(|| now + PRUNE_BACKOFF);
            }
        }
        self.in_background(|gc| gc.flush()).await;
    }

    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&GarbageCollector) -> T + Send + 'static,
    ) -> Option<T> {
        let gc = self.clone();
        tokio::task::spawn_blocking(move || work(&gc)).await.ok()
    }

    fn flush(&self) {
        self.cache.store.write_uses();
        self.cache.tracker.input_log.write();
    }

    fn prune_in_background(&self, reason: PruneReason) -> u64 {
        match self.prune_now(&PruneRequest::default(), reason) {
            Ok(pruned) => pruned.bytes,
            Err(fault) => {
                tracing::warn!(reason = reason.name(), error = fault.full_message(), "cannot prune the cache");
                0
            }
        }
    }
}

impl EngineInfo for GarbageCollector {
    fn name(&self) -> String {
        self.name.to_string()
    }

    fn clients(&self) -> Vec<String> {
        self.cache.clients.upgrade().map(|clients| clients.names()).unwrap_or_default()
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
        let (store, in_use_since) = (self.cache.store.clone(), self.in_use_since());
        Box::pin(async move { joined(tokio::task::spawn_blocking(move || store.records(in_use_since)).await) })
    }

    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned>> {
        let gc = self.clone();
        Box::pin(async move {
            joined(tokio::task::spawn_blocking(move || gc.prune_now(&request, PruneReason::Request)).await)
        })
    }
}

fn joined<T>(done: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.unwrap_or_else(|e| Err(Fault::bug(format!("work on the cache panicked: {e}"))))
}
