//! Which evaluation a task belongs to, so that an evaluation that would wait for itself is found.
//!
//! The evaluation is a property of the task that polls it. It is the one task-local value of the
//! engine: handlers and ops between two evaluations pass nothing on by hand.

use std::future::Future;
use std::sync::Arc;

use rondel_digest::Digest;

tokio::task_local! {
    static CURRENT: Evaluation;
}

/// Distinguishes graphs: one key may be evaluated in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GraphId(usize);

impl GraphId {
    /// The identity of the graph that owns `state`: its address, which is its own while it lives.
    pub(crate) fn of<T>(state: &Arc<T>) -> Self {
        Self(Arc::as_ptr(state).addr())
    }
}

/// The innermost running evaluation of every graph that the current task works for.
#[derive(Clone, Debug, Default)]
pub struct Evaluation(Arc<[(GraphId, Digest)]>);

impl Evaluation {
    /// The evaluation that the current task works for; empty outside of any.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Polls `work` as a part of this evaluation: when `work` asks for a key that waits for this
    /// evaluation, it gets an error and does not wait.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    pub(crate) fn key_in(&self, graph: GraphId) -> Option<Digest> {
        self.0.iter().find(|(id, _)| *id == graph).map(|(_, key)| *key)
    }

    pub(crate) fn child(&self, graph: GraphId, key: Digest) -> Self {
        let others = self.0.iter().filter(|(id, _)| *id != graph).copied();
        Self(others.chain([(graph, key)]).collect())
    }
}

/// `work` for another task, as a part of the evaluation of the current one.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    Evaluation::current().scope(work)
}
