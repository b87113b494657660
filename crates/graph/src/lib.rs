//! Single-flight, cancellable evaluation with a memory of results.
//!
//! *Invariants.* A key is evaluated at most once at a time, whoever asks, and not again while its
//! result is remembered. Failures are never remembered. An evaluation lives as long as somebody waits
//! for it: when the last waiter goes, it is cancelled, and what it waits for loses a waiter in turn.
//! Each evaluation is a task of its own, so that chains of any length need no deep stack. What is
//! evaluated, containers, disks and clocks are unknown here.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Results by key, and evaluations under way.
pub struct Graph<V> {
    state: Arc<Mutex<State<V>>>,
    stats: Arc<Stats>,
}

struct State<V> {
    slots: HashMap<Digest, Slot<V>>,
    done: usize,
    capacity: usize,
    tick: u64,
}

enum Slot<V> {
    Done { value: V, used: u64 },
    Running(Arc<Flight<V>>),
}

struct Flight<V> {
    outcome: watch::Receiver<Option<Result<V>>>,
    waiters: AtomicUsize,
    cancel: CancellationToken,
}

/// What becomes of a result when those who wait for it have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Remember,
    Forget,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Results that were remembered.
    pub hits: AtomicU64,
    /// Waiters that joined an evaluation under way.
    pub joins: AtomicU64,
    /// Evaluations that were started.
    pub runs: AtomicU64,
}

impl<V: Clone + Send + Sync + 'static> Graph<V> {
    /// A graph that remembers about `capacity` results.
    pub fn new(capacity: usize) -> Self {
        let state = State { slots: HashMap::new(), done: 0, capacity: capacity.max(2), tick: 0 };
        Self { state: Arc::new(Mutex::new(state)), stats: Arc::default() }
    }

    /// How often what happened.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of results that are remembered.
    pub fn len(&self) -> usize {
        lock(&self.state).done
    }

    /// The number of evaluations under way.
    pub fn running(&self) -> usize {
        let state = lock(&self.state);
        state.slots.len() - state.done
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The remembered result of `key`.
    pub fn peek(&self, key: &Digest) -> Option<V> {
        let mut state = lock(&self.state);
        state.tick += 1;
        let tick = state.tick;
        match state.slots.get_mut(key) {
            Some(Slot::Done { value, used }) => {
                *used = tick;
                Some(value.clone())
            }
            _ => None,
        }
    }

    /// Remembers `value` for `key`, as if it had been evaluated.
    pub fn remember(&self, key: Digest, value: V) {
        lock(&self.state).finish(key, value);
    }

    /// Forgets the results for which `keep` says no. Evaluations under way are not touched.
    pub fn retain(&self, mut keep: impl FnMut(&Digest, &V) -> bool) {
        let mut state = lock(&self.state);
        state.slots.retain(|key, slot| match slot {
            Slot::Done { value, .. } => keep(key, value),
            Slot::Running(_) => true,
        });
        state.done = state.slots.values().filter(|slot| matches!(slot, Slot::Done { .. })).count();
    }

    /// Forgets the results of `keys`. Evaluations under way are not touched.
    pub fn forget(&self, keys: &[Digest]) {
        let mut state = lock(&self.state);
        for key in keys {
            if matches!(state.slots.get(key), Some(Slot::Done { .. })) {
                state.slots.remove(key);
                state.done -= 1;
            }
        }
    }

    /// The present moment, as uses of results are counted.
    pub fn moment(&self) -> u64 {
        lock(&self.state).tick
    }

    /// Every result that was used since `moment`.
    pub fn used_since(&self, moment: u64) -> Vec<V> {
        let state = lock(&self.state);
        let used = state.slots.values().filter_map(|slot| match slot {
            Slot::Done { value, used } if *used >= moment => Some(value.clone()),
            _ => None,
        });
        used.collect()
    }

    /// The result of `key`: remembered, or of the evaluation under way, or of the one that `start` makes.
    ///
    /// # Errors
    /// What the evaluation fails with. A failure is told to everyone who waits, and then forgotten.
    pub async fn evaluate<F>(&self, key: Digest, start: impl FnOnce() -> F) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        self.settled(key, Afterwards::Remember, start).await
    }

    /// The same, and the result is for those who wait for it: whoever comes later starts another evaluation. A key is used
    /// either with this or with [`Graph::evaluate`].
    ///
    /// # Errors
    /// As for [`Graph::evaluate`].
    pub async fn share<F>(&self, key: Digest, start: impl FnOnce() -> F) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        self.settled(key, Afterwards::Forget, start).await
    }

    async fn settled<F>(&self, key: Digest, afterwards: Afterwards, start: impl FnOnce() -> F) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let (flight, _waiter) = {
            let mut state = lock(&self.state);
            state.tick += 1;
            let tick = state.tick;
            match state.slots.get_mut(&key) {
                Some(Slot::Done { value, used }) => {
                    *used = tick;
                    self.stats.hits.fetch_add(1, Ordering::Relaxed);
                    return Ok(value.clone());
                }
                Some(Slot::Running(flight)) if !flight.cancel.is_cancelled() => {
                    self.stats.joins.fetch_add(1, Ordering::Relaxed);
                    let flight = flight.clone();
                    flight.waiters.fetch_add(1, Ordering::Relaxed);
                    (flight.clone(), self.waiter(key, flight))
                }
                _ => {
                    self.stats.runs.fetch_add(1, Ordering::Relaxed);
                    let flight = self.launch(key, afterwards, start());
                    state.slots.insert(key, Slot::Running(flight.clone()));
                    (flight.clone(), self.waiter(key, flight))
                }
            }
        };
        let mut outcome = flight.outcome.clone();
        let settled = outcome.wait_for(Option::is_some).await;
        match settled.ok().and_then(|value| value.clone()) {
            Some(result) => result,
            None => Err(Fault::bug("an evaluation ended without a result")),
        }
    }

    fn waiter(&self, key: Digest, flight: Arc<Flight<V>>) -> Waiter<V> {
        Waiter { state: self.state.clone(), key, flight }
    }

    fn launch<F>(&self, key: Digest, afterwards: Afterwards, work: F) -> Arc<Flight<V>>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let (settle, outcome) = watch::channel(None);
        let cancel = CancellationToken::new();
        let flight = Arc::new(Flight { outcome, waiters: AtomicUsize::new(1), cancel: cancel.clone() });
        let state = Arc::downgrade(&self.state);
        let running = Arc::downgrade(&flight);
        tokio::spawn(async move {
            // ORDER: the work is dropped before anybody is told that it was cancelled.
            let result = {
                // A panic becomes an error of the waiters; nothing that the work has touched is looked at again.
                let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => Err(Fault::cancelled("nobody waits for it any more")),
                    done = &mut work => done.unwrap_or_else(|panic| {
                        Err(Fault::bug(format!("an evaluation panicked: {}", message(&*panic))))
                    }),
                }
            };
            if let Some(state) = state.upgrade() {
                let mut state = lock(&state);
                let mine = matches!(state.slots.get(&key), Some(Slot::Running(f)) if std::ptr::eq(Arc::as_ptr(f), running.as_ptr()));
                match &result {
                    Ok(value) if mine && afterwards == Afterwards::Remember => state.finish(key, value.clone()),
                    _ if mine => drop(state.slots.remove(&key)),
                    _ => {}
                }
            }
            settle.send_replace(Some(result));
        });
        flight
    }
}

impl<V> State<V> {
    fn finish(&mut self, key: Digest, value: V) {
        self.tick += 1;
        let slot = Slot::Done { value, used: self.tick };
        if !matches!(self.slots.insert(key, slot), Some(Slot::Done { .. })) {
            self.done += 1;
        }
        if self.done > self.capacity {
            self.evict();
        }
    }

    /// Forgets the half of the results that was not used for longest.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self
            .slots
            .values()
            .filter_map(|s| match s {
                Slot::Done { used, .. } => Some(*used),
                Slot::Running(_) => None,
            })
            .collect();
        let middle = used.len() / 2;
        let (_, &mut limit, _) = used.select_nth_unstable(middle);
        self.slots.retain(|_, slot| match slot {
            Slot::Done { used, .. } => *used >= limit,
            Slot::Running(_) => true,
        });
        self.done = used.len() - middle;
    }
}

/// Somebody who waits for a flight; the last one to go cancels it.
struct Waiter<V> {
    state: Arc<Mutex<State<V>>>,
    key: Digest,
    flight: Arc<Flight<V>>,
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if self.flight.waiters.fetch_sub(1, Ordering::Relaxed) == 1 && self.flight.outcome.borrow().is_none() {
            self.flight.cancel.cancel();
            if matches!(state.slots.get(&self.key), Some(Slot::Running(f)) if Arc::ptr_eq(f, &self.flight)) {
                state.slots.remove(&self.key);
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it said nothing")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    fn key(n: u32) -> Digest {
        Digest::of_bytes(&n.to_le_bytes())
    }

    #[tokio::test]
    async fn evaluated_once_whoever_asks() {
        let graph = Graph::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            graph.evaluate(key(1), || {
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
    async fn shared_by_those_who_wait() {
        let graph = Graph::new(10);
        let count = Arc::new(AtomicUsize::new(0));
        let ask = || {
            graph.share(key(1), || {
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
    async fn failures_are_told_to_all_and_forgotten() {
        let graph: Graph<u32> = Graph::new(10);
        let fail = || {
            graph.evaluate(key(1), || async {
                tokio::task::yield_now().await;
                Err(Fault::user("no"))
            })
        };
        for result in join_all([fail(), fail()]).await {
            assert_eq!(result.map_err(|e| e.to_string()), Err("no".into()));
        }
        assert_eq!(graph.evaluate(key(1), || async { Ok(7) }).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let graph: Graph<u32> = Graph::new(10);
        let result = graph.evaluate(key(1), || async { panic!("oops") }).await;
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
    async fn the_last_waiter_takes_the_work_along() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let (tx, gone) = oneshot::channel();
        let inner = graph.clone();
        let work = async move {
            let nested = inner.evaluate(key(2), || async move {
                let _guard = OnDrop(Some(tx));
                std::future::pending::<Result<u32>>().await
            });
            nested.await
        };
        let (g1, g2) = (graph.clone(), graph.clone());
        let first = tokio::spawn(async move { g1.evaluate(key(1), || work).await });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { g2.evaluate(key(1), || async { Ok(0) }).await });
        tokio::task::yield_now().await;
        first.abort();
        let _ = first.await;
        assert!(!second.is_finished());
        second.abort();
        gone.await.expect("the nested work is dropped");
        assert_eq!(graph.evaluate(key(1), || async { Ok(3) }).await.ok(), Some(3));
    }

    #[tokio::test]
    async fn one_waiter_going_does_not_disturb_another() {
        let graph: Arc<Graph<u32>> = Arc::new(Graph::new(10));
        let go = Arc::new(Notify::new());
        let (g1, g2, wait) = (graph.clone(), graph.clone(), go.clone());
        let first = tokio::spawn(async move {
            g1.evaluate(key(1), || async move {
                wait.notified().await;
                Ok(5)
            })
            .await
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { g2.evaluate(key(1), || async { Ok(6) }).await });
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
                graph.evaluate(key(n - 1), move || link(next, n - 1)).await.map(|v| v + 1)
            })
        }
        let graph = Arc::new(Graph::new(100_000));
        assert_eq!(link(graph, 20_000).await.ok(), Some(20_000));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_evaluated_again() {
        let graph: Graph<u32> = Graph::new(10);
        graph.remember(key(1), 1);
        let moment = graph.moment() + 1;
        graph.remember(key(2), 2);
        assert_eq!(graph.used_since(moment), [2]);
        graph.forget(&[key(1), key(3)]);
        assert_eq!((graph.len(), graph.peek(&key(1)), graph.peek(&key(2))), (1, None, Some(2)));
    }

    #[tokio::test]
    async fn what_is_used_stays_longest() {
        let graph: Graph<u32> = Graph::new(10);
        for n in 0..10 {
            graph.remember(key(n), n);
        }
        assert_eq!(graph.peek(&key(0)), Some(0));
        graph.remember(key(10), 10);
        assert!(graph.len() <= 6);
        assert_eq!((graph.peek(&key(0)), graph.peek(&key(10)), graph.peek(&key(1))), (Some(0), Some(10), None));
    }
}
