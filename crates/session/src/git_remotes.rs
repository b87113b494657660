//! Refs of git repositories, listed once per session.

use std::future::Future;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::Result;
use rondel_graph::Graph;
use rondel_model::git::GitAccess;
use rondel_ports::git::References;

/// The most repositories whose refs a session caches.
const MAX_CACHED: usize = 1_000;

/// The refs of a repository, and with which credentials the server gave them.
#[derive(Debug)]
pub struct GitRemoteRefs {
    /// The refs.
    pub references: References,
    /// The credentials that the server accepted.
    pub access: GitAccess,
}

/// Refs by repository. Each repository is listed once per session, so that all of the session sees
/// the same state.
pub struct GitRemotes(Graph<Arc<GitRemoteRefs>>);

impl Default for GitRemotes {
    fn default() -> Self {
        Self(Graph::new(MAX_CACHED))
    }
}

impl GitRemotes {
    /// The cached refs of `key`, or those that `list` gets from the server.
    ///
    /// # Errors
    /// Those of `list`. Errors are not cached.
    pub async fn refs<F>(&self, key: Digest, list: impl FnOnce() -> F) -> Result<Arc<GitRemoteRefs>>
    where
        F: Future<Output = Result<Arc<GitRemoteRefs>>> + Send + 'static,
    {
        self.0.evaluate(key, || "list the refs of a git repository".into(), list).await
    }
}
