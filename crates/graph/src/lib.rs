//! Single-flight, cancellable evaluation with a cache of results.
//!
//! *Invariants.* A key is evaluated at most once at a time, and not again while its result is
//! cached. Failures are never cached. An evaluation lives as long as it has a waiter: when the last
//! one goes, it is cancelled, and what it waits for loses a waiter in turn. An evaluation that
//! would wait for itself is an error ([`Code::EvaluationCycle`]). Each evaluation is a task of its
//! own, so that chains of any length need no deep stack. The values, containers, disks and clocks
//! are unknown here.

mod evaluation;

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use rondel_digest::Digest;
use rondel_fault::{Code, Fault, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::evaluation::GraphId;
pub use crate::evaluation::{Evaluation, inherit};

/// Cached results by key, and running evaluations.
pub struct Graph<V> {
    slots: Arc<Mutex<Slots<V>>>,
    stats: Arc<Stats>,
}

struct Slots<V> {
    by_key: HashMap<Digest, Slot<V>>,
    done: usize,
    capacity: usize,
    clock: u64,
}

enum Slot<V> {
    /// `finished` and `used` are times on the clock of the graph.
    Done { value: V, finished: u64, used: u64 },
    Running {
        flight: Arc<Flight<V>>,
        /// The running evaluations of this graph that wait for it, once per waiter.
        waiting: Vec<Digest>,
    },
}

struct Flight<V> {
    label: Arc<str>,
    /// For whom it was started.
    owner: Arc<str>,
    outcome: watch::Receiver<Option<Result<V>>>,
    waiters: AtomicUsize,
    cancel: CancellationToken,
}

/// Whether a result is cached after its waiters have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retention {
    Cached,
    Uncached,
}

/// Counters since the graph was made.
#[derive(Debug, Default)]
pub struct Stats {
    /// Results that were cached.
    pub hits: AtomicU64,
    /// Waiters that joined a running evaluation.
    pub joins: AtomicU64,
    /// Evaluations that were started.
    pub runs: AtomicU64,
}

impl<V: Clone + Send + Sync + 'static> Graph<V> {
    /// A graph that caches about `capacity` results.
    pub fn new(capacity: usize) -> Self {
        let slots = Slots { by_key: HashMap::new(), done: 0, capacity: capacity.max(2), clock: 0 };
        Self { slots: Arc::new(Mutex::new(slots)), stats: Arc::default() }
    }

    fn id(&self) -> GraphId {
        GraphId::of(&self.slots)
    }

    /// Counters of hits, joins and runs.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of cached results.
    pub fn len(&self) -> usize {
        lock(&self.slots).done
    }

    /// Whether no result is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of running evaluations.
    pub fn running(&self) -> usize {
        let slots = lock(&self.slots);
        slots.by_key.len() - slots.done
    }

    /// The labels of the running evaluations, in no order.
    pub fn running_labels(&self) -> Vec<Arc<str>> {
        let slots = lock(&self.slots);
        let labels = slots.by_key.values().filter_map(|slot| match slot {
            Slot::Running { flight, .. } => Some(flight.label.clone()),
            Slot::Done { .. } => None,
        });
        labels.collect()
    }

    /// The cached result of `key`. Counts as a use.
    pub fn get(&self, key: &Digest) -> Option<V> {
        let mut slots = lock(&self.slots);
        slots.clock += 1;
        let clock = slots.clock;
        match slots.by_key.get_mut(key) {
            Some(Slot::Done { value, used, .. }) => {
                *used = clock;
                Some(value.clone())
            }
            _ => None,
        }
    }

    /// Caches `value` for `key`, as if it had been evaluated.
    pub fn insert(&self, key: Digest, value: V) {
        lock(&self.slots).finish(key, value);
    }

    /// Removes the cached results for which `keep` returns `false`. Running evaluations stay.
    ///
    /// `keep` is called outside the lock, so that evaluation goes on meanwhile. A result that was
    /// evaluated again in the meantime stays.
    pub fn retain(&self, mut keep: impl FnMut(&Digest, &V) -> bool) {
        let done: Vec<(Digest, u64, V)> = {
            let slots = lock(&self.slots);
            let done = slots.by_key.iter().filter_map(|(key, slot)| match slot {
                Slot::Done { value, finished, .. } => Some((*key, *finished, value.clone())),
                Slot::Running { .. } => None,
            });
            done.collect()
        };
        let stale: Vec<_> = done.into_iter().filter(|(key, _, value)| !keep(key, value)).collect();
        let mut slots = lock(&self.slots);
        for (key, tested, _) in &stale {
            if matches!(slots.by_key.get(key), Some(Slot::Done { finished, .. }) if finished == tested) {
                slots.remove_done(key);
            }
        }
        drop(slots);
    }

    /// Removes the cached results of `keys`. Running evaluations stay.
    pub fn remove(&self, keys: &[Digest]) {
        let mut slots = lock(&self.slots);
        for key in keys {
            if matches!(slots.by_key.get(key), Some(Slot::Done { .. })) {
                slots.remove_done(key);
            }
        }
    }

    /// The current time on the clock that counts uses of results. It has no unit.
    pub fn clock(&self) -> u64 {
        lock(&self.slots).clock
    }

    /// Every cached result that was used at or after `since` on the clock of the graph.
    pub fn used_since(&self, since: u64) -> Vec<V> {
        let slots = lock(&self.slots);
        let used = slots.by_key.values().filter_map(|slot| match slot {
            Slot::Done { value, used, .. } if *used >= since => Some(value.clone()),
            _ => None,
        });
        used.collect()
    }

    /// The result of `key`: from the cache, of the running evaluation, or of a new one, which is
    /// the future that `start` returns and is listed as `label`.
    ///
    /// # Errors
    /// The error of the evaluation: every waiter gets it, and it is not cached. An error with
    /// [`Code::EvaluationCycle`] when the evaluation that asks is one that `key` waits for.
    pub async fn evaluate<F>(
        &self,
        key: Digest,
        label: impl FnOnce() -> Arc<str>,
        start: impl FnOnce() -> F,
    ) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        self.join_or_start(key, Retention::Cached, ("", |_: &str| ()), label, start).await.0
    }

    /// As [`Graph::evaluate`], on behalf of `owner`. If the evaluation runs already for another
    /// owner, `joined` is called with its label, and what it returns is held while this one waits.
    pub async fn evaluate_for<F, J>(
        &self,
        owner: &str,
        key: Digest,
        joined: impl FnOnce(&str) -> J,
        label: impl FnOnce() -> Arc<str>,
        start: impl FnOnce() -> F,
    ) -> (Result<V>, Option<J>)
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        self.join_or_start(key, Retention::Cached, (owner, joined), label, start).await
    }

    /// As [`Graph::evaluate`], for its present waiters only: the result is not cached. A key is
    /// used either with this or with [`Graph::evaluate`].
    ///
    /// # Errors
    /// As for [`Graph::evaluate`].
    pub async fn evaluate_uncached<F>(
        &self,
        key: Digest,
        label: impl FnOnce() -> Arc<str>,
        start: impl FnOnce() -> F,
    ) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        self.join_or_start(key, Retention::Uncached, ("", |_: &str| ()), label, start).await.0
    }

    async fn join_or_start<F, J>(
        &self,
        key: Digest,
        retention: Retention,
        (owner, joined): (&str, impl FnOnce(&str) -> J),
        label: impl FnOnce() -> Arc<str>,
        start: impl FnOnce() -> F,
    ) -> (Result<V>, Option<J>)
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let waiter = {
            let mut slots = lock(&self.slots);
            slots.clock += 1;
            let clock = slots.clock;
            match slots.by_key.get_mut(&key) {
                Some(Slot::Done { value, used, .. }) => {
                    *used = clock;
                    self.stats.hits.fetch_add(1, Ordering::Relaxed);
                    return (Ok(value.clone()), None);
                }
                Some(Slot::Running { flight, .. }) if !flight.cancel.is_cancelled() => {
                    let (flight, parent) = (flight.clone(), Evaluation::current().key_in(self.id()));
                    if let Some(parent) = parent
                        && slots.waits_for(parent, key)
                    {
                        return (Err(cycle(&flight.label)), None);
                    }
                    self.stats.joins.fetch_add(1, Ordering::Relaxed);
                    flight.waiters.fetch_add(1, Ordering::Relaxed);
                    slots.add_wait(&key, parent);
                    Waiter { slots: self.slots.clone(), key, parent, flight }
                }
                _ => {
                    self.stats.runs.fetch_add(1, Ordering::Relaxed);
                    let current = Evaluation::current();
                    let parent = current.key_in(self.id());
                    let flight = self.launch(key, retention, (owner, label()), current.child(self.id(), key), start());
                    let slot = Slot::Running { flight: flight.clone(), waiting: parent.into_iter().collect() };
                    slots.by_key.insert(key, slot);
                    Waiter { slots: self.slots.clone(), key, parent, flight }
                }
            }
        };
        let flight = &waiter.flight;
        let joined = (*flight.owner != *owner).then(|| joined(&flight.label));
        let mut outcome = flight.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await;
        let result = match ended.ok().and_then(|value| value.clone()) {
            Some(result) => result,
            None => Err(Fault::bug("an evaluation ended without a result")),
        };
        (result, joined)
    }

    fn launch<F>(
        &self,
        key: Digest,
        retention: Retention,
        (owner, label): (&str, Arc<str>),
        evaluation: Evaluation,
        work: F,
    ) -> Arc<Flight<V>>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let (publish, outcome) = watch::channel(None);
        let cancel = CancellationToken::new();
        let (owner, waiters) = (owner.into(), AtomicUsize::new(1));
        let flight = Arc::new(Flight { label, owner, outcome, waiters, cancel: cancel.clone() });
        let slots = Arc::downgrade(&self.slots);
        let running = Arc::downgrade(&flight);
        tokio::spawn(async move {
            // ORDER: the work is dropped before its waiters learn that it was cancelled.
            let result = {
                // A panic becomes an error of the waiters; the state of the work is not used again.
                let mut work = pin!(AssertUnwindSafe(evaluation.scope(work)).catch_unwind());
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => Err(Fault::cancelled("the last waiter of an evaluation is gone")),
                    done = &mut work => done.unwrap_or_else(|panic| {
                        Err(Fault::bug(format!("an evaluation panicked: {}", message(&*panic))))
                    }),
                }
            };
            if let Some(slots) = slots.upgrade() {
                let mut slots = lock(&slots);
                if slots.runs(&key, running.as_ptr()) {
                    match &result {
                        Ok(value) if retention == Retention::Cached => slots.finish(key, value.clone()),
                        _ => drop(slots.by_key.remove(&key)),
                    }
                }
            }
            publish.send_replace(Some(result));
        });
        flight
    }
}

impl<V> Slots<V> {
    fn finish(&mut self, key: Digest, value: V) {
        self.clock += 1;
        let slot = Slot::Done { value, finished: self.clock, used: self.clock };
        if !matches!(self.by_key.insert(key, slot), Some(Slot::Done { .. })) {
            self.done += 1;
        }
        if self.done > self.capacity {
            self.evict();
        }
    }

    fn remove_done(&mut self, key: &Digest) {
        self.by_key.remove(key);
        self.done -= 1;
    }

    /// Whether `flight` is the running evaluation of `key`.
    fn runs(&self, key: &Digest, flight: *const Flight<V>) -> bool {
        matches!(self.by_key.get(key), Some(Slot::Running { flight: f, .. }) if std::ptr::eq(Arc::as_ptr(f), flight))
    }

    fn add_wait(&mut self, key: &Digest, parent: Option<Digest>) {
        if let Some(Slot::Running { waiting, .. }) = self.by_key.get_mut(key) {
            waiting.extend(parent);
        }
    }

    /// Whether the running evaluation `awaited` waits for `evaluation`, directly or through others.
    fn waits_for(&self, evaluation: Digest, awaited: Digest) -> bool {
        let mut seen = std::collections::HashSet::from([evaluation]);
        let mut next = vec![evaluation];
        while let Some(key) = next.pop() {
            if key == awaited {
                return true;
            }
            if let Some(Slot::Running { waiting, .. }) = self.by_key.get(&key) {
                next.extend(waiting.iter().filter(|parent| seen.insert(**parent)));
            }
        }
        false
    }

    /// Removes the half of the cached results that was not used for longest.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self
            .by_key
            .values()
            .filter_map(|slot| match slot {
                Slot::Done { used, .. } => Some(*used),
                Slot::Running { .. } => None,
            })
            .collect();
        let middle = used.len() / 2;
        let (_, &mut limit, _) = used.select_nth_unstable(middle);
        self.by_key.retain(|_, slot| match slot {
            Slot::Done { used, .. } => *used >= limit,
            Slot::Running { .. } => true,
        });
        self.done = used.len() - middle;
    }
}

/// One waiter of a running evaluation; the last one to go cancels it.
struct Waiter<V> {
    slots: Arc<Mutex<Slots<V>>>,
    key: Digest,
    /// The evaluation of the same graph that waits.
    parent: Option<Digest>,
    flight: Arc<Flight<V>>,
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        let mut slots = lock(&self.slots);
        let cancelled =
            self.flight.waiters.fetch_sub(1, Ordering::Relaxed) == 1 && self.flight.outcome.borrow().is_none();
        if cancelled {
            self.flight.cancel.cancel();
        }
        if !slots.runs(&self.key, Arc::as_ptr(&self.flight)) {
            return;
        }
        if cancelled {
            slots.by_key.remove(&self.key);
        } else if let Some(Slot::Running { waiting, .. }) = slots.by_key.get_mut(&self.key)
            && let Some(at) = waiting.iter().position(|key| Some(*key) == self.parent)
        {
            waiting.swap_remove(at);
        }
    }
}

fn cycle(label: &str) -> Fault {
    Fault::user(format!("{label} needs its own result: it was called again, with the same arguments, while it ran"))
        .with_code(Code::EvaluationCycle)
        .with_hint("call it with other arguments, or break the recursion")
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

use rondel_fault::lock;

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    fn key(n: u32) -> Digest {
        Digest::of_bytes(&n.to_le_bytes())
    }

    fn label() -> Arc<str> {
        "work".into()
    }

    #[tokio::test]
    async fn fifty_callers_share_one_evaluation() {
        let graph = Graph::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            graph.evaluate(key(1), label, || {
                let count = count.clone();
                async move {
                    tokio::task::yield_now().await;
                    Ok(count.fetch_add(1, Ordering::SeqCst))
                }
            })
        };
        let all = join_all((0..50).map(|_| ask())).await;
        assert!(all.into_iter().all(|r| matches!(r, Ok(0))));
        assert_eq!(ask().await.ok(), Some(0));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn uncached_results_are_shared_by_present_waiters() {
        let graph = Graph::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            graph.evaluate_uncached(key(1), label, || {
                let count = count.clone();
                async move {
                    tokio::task::yield_now().await;
                    Ok(count.fetch_add(1, Ordering::SeqCst))
                }
            })
        };
        for round in 0..3 {
            let all = join_all((0..50).map(|_| ask())).await;
            assert!(all.into_iter().all(|result| result.is_ok_and(|number| number == round)));
            assert!(graph.is_empty() && graph.running() == 0);
        }
    }

    #[tokio::test]
    async fn every_waiter_gets_a_failure_and_it_is_not_cached() {
        let graph: Graph<u32> = Graph::new(10);
        let fail = || {
            graph.evaluate(key(1), label, || async {
                tokio::task::yield_now().await;
                Err(Fault::user("no"))
            })
        };
        for result in join_all([fail(), fail()]).await {
            assert_eq!(result.map_err(|e| e.to_string()), Err("no".into()));
        }
        assert_eq!(graph.evaluate(key(1), label, || async { Ok(7) }).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let graph: Graph<u32> = Graph::new(10);
        let result = graph.evaluate(key(1), label, || async { panic!("oops") }).await;
        let fault = result.expect_err("a panic is no result");
        assert_eq!(
            (fault.kind(), fault.to_string().as_str()),
            (rondel_fault::Kind::Bug, "an evaluation panicked: oops")
        );
    }

    struct OnDrop(Option<oneshot::Sender<()>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.0.take().map(|tx| tx.send(()));
        }
    }

    #[tokio::test]
    async fn the_last_waiter_to_go_cancels_the_work() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let (tx, gone) = oneshot::channel();
        let inner = graph.clone();
        let work = async move {
            let nested = inner.evaluate(key(2), label, || async move {
                let _guard = OnDrop(Some(tx));
                std::future::pending::<Result<u32>>().await
            });
            nested.await
        };
        let (g1, g2) = (graph.clone(), graph.clone());
        let first = tokio::spawn(async move { g1.evaluate(key(1), label, || work).await });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { g2.evaluate(key(1), label, || async { Ok(0) }).await });
        tokio::task::yield_now().await;
        first.abort();
        let _ = first.await;
        assert!(!second.is_finished());
        second.abort();
        gone.await.expect("the nested work is dropped");
        assert_eq!(graph.evaluate(key(1), label, || async { Ok(3) }).await.ok(), Some(3));
    }

    #[tokio::test]
    async fn a_waiter_that_goes_leaves_the_others_waiting() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let go = Arc::new(Notify::new());
        let (g1, g2, wait) = (graph.clone(), graph.clone(), go.clone());
        let first = tokio::spawn(async move {
            g1.evaluate(key(1), label, || async move {
                wait.notified().await;
                Ok(5)
            })
            .await
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { g2.evaluate(key(1), label, || async { Ok(6) }).await });
        tokio::task::yield_now().await;
        first.abort();
        let _ = first.await;
        go.notify_one();
        assert!(matches!(second.await, Ok(Ok(5))));
    }

    #[tokio::test]
    async fn a_chain_of_any_length() {
        fn link(graph: Arc<Graph<u32>>, n: u32) -> std::pin::Pin<Box<dyn Future<Output = Result<u32>> + Send>> {
            Box::pin(async move {
                if n == 0 {
                    return Ok(0);
                }
                let next = graph.clone();
                graph.evaluate(key(n - 1), label, move || link(next, n - 1)).await.map(|v| v + 1)
            })
        }
        let graph = Arc::new(Graph::new(100_000));
        assert_eq!(link(graph, 20_000).await.ok(), Some(20_000));
    }

    #[tokio::test]
    async fn a_removed_result_is_evaluated_again() {
        let graph: Graph<u32> = Graph::new(10);
        graph.insert(key(1), 1);
        let since = graph.clock() + 1;
        graph.insert(key(2), 2);
        assert_eq!(graph.used_since(since), [2]);
        graph.remove(&[key(1), key(3)]);
        assert_eq!((graph.len(), graph.get(&key(1)), graph.get(&key(2))), (1, None, Some(2)));
    }

    #[tokio::test]
    async fn eviction_removes_the_least_recently_used() {
        let graph: Graph<u32> = Graph::new(10);
        for n in 0..10 {
            graph.insert(key(n), n);
        }
        assert_eq!(graph.get(&key(0)), Some(0));
        graph.insert(key(10), 10);
        assert!(graph.len() <= 6);
        assert_eq!((graph.get(&key(0)), graph.get(&key(10)), graph.get(&key(1))), (Some(0), Some(10), None));
    }

    #[tokio::test]
    async fn running_evaluations_are_listed_by_label() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let own = graph.clone();
        let task = tokio::spawn(async move {
            own.evaluate(key(1), || "pull alpine".into(), std::future::pending::<Result<u32>>).await
        });
        tokio::task::yield_now().await;
        assert_eq!(graph.running_labels(), ["pull alpine".into()]);
        task.abort();
        let _ = task.await;
        assert!(graph.running_labels().is_empty());
    }

    /// Evaluates key 0, which asks for 1, and so on to `last`, which asks for `back`.
    async fn ring(graph: &Arc<Graph<u32>>, last: u32, back: u32) -> Result<u32> {
        fn step(
            graph: Arc<Graph<u32>>,
            n: u32,
            last: u32,
            back: u32,
        ) -> futures_util::future::BoxFuture<'static, Result<u32>> {
            Box::pin(async move {
                let next = if n == last { back } else { n + 1 };
                let own = graph.clone();
                graph.evaluate(key(next), label, move || step(own, next, last, back)).await
            })
        }
        let own = graph.clone();
        graph.evaluate(key(0), label, move || step(own, 0, last, back)).await
    }

    #[tokio::test]
    async fn an_evaluation_that_waits_for_itself_is_an_error() {
        for (last, back) in [(0, 0), (1, 0), (5, 2)] {
            let graph = Arc::new(Graph::new(10));
            let fault = ring(&graph, last, back).await.expect_err("a cycle has no result");
            assert_eq!(fault.code(), Code::EvaluationCycle, "{last} {back}");
            assert_eq!(graph.running(), 0);
        }
    }

    #[tokio::test]
    async fn a_cycle_is_found_through_tasks_that_inherit_the_evaluation() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let own = graph.clone();
        let work = move || async move {
            let again = async move { own.evaluate(key(1), label, || async { Ok(1) }).await };
            tokio::spawn(inherit(again)).await.expect("the task ends")
        };
        let fault = graph.evaluate(key(1), label, work).await.expect_err("a cycle has no result");
        assert_eq!(fault.code(), Code::EvaluationCycle);
    }

    #[tokio::test]
    async fn an_owner_learns_that_it_waits_for_the_evaluation_of_another() {
        let graph: Graph<u32> = Graph::new(10);
        let evaluate = |owner: &'static str| {
            let work = || async {
                tokio::task::yield_now().await;
                Ok(1)
            };
            graph.evaluate_for(owner, key(1), str::to_owned, label, work)
        };
        let (first, same, other) = tokio::join!(evaluate("a"), evaluate("a"), evaluate("b"));
        assert!(matches!((first, same), ((Ok(1), None), (Ok(1), None))));
        assert!(matches!(other, (Ok(1), Some(waited)) if *waited == *label()));
        assert!(matches!(evaluate("b").await, (Ok(1), None)), "the result is cached");
    }

    #[tokio::test]
    async fn two_evaluations_may_wait_for_a_third() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let shared = |n: u32| {
            let own = graph.clone();
            graph.evaluate(key(n), label, move || async move {
                own.evaluate(key(9), label, || async {
                    tokio::task::yield_now().await;
                    Ok(9)
                })
                .await
            })
        };
        assert!(matches!(tokio::join!(shared(1), shared(2)), (Ok(9), Ok(9))));
    }

    #[tokio::test]
    async fn evaluation_goes_on_while_results_are_tested() {
        let graph: Graph<u32> = Graph::new(10);
        graph.insert(key(1), 1);
        graph.insert(key(2), 2);
        graph.retain(|_, value| {
            // Evaluated again while the predicate runs: the new result stays.
            graph.insert(key(1), 10);
            *value != 1 && *value != 2
        });
        assert_eq!((graph.get(&key(1)), graph.get(&key(2)), graph.len()), (Some(10), None, 1));
    }
}
