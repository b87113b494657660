//! What git servers said in this session.

use std::future::Future;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::Result;
use rondel_graph::Graph;
use rondel_model::git::GitAccess;
use rondel_ports::git::References;

/// How many answers a session remembers.
const REMEMBERED: usize = 1_000;

/// What the server of a repository said.
#[derive(Debug)]
pub struct KnownRemote {
    /// The refs.
    pub references: References,
    /// Who was let in.
    pub access: GitAccess,
}

/// What git servers said: asked once in a session, so that everything in it is of the same moment.
pub struct Remotes(Graph<Arc<KnownRemote>>);

impl Default for Remotes {
    fn default() -> Self {
        Self(Graph::new(REMEMBERED))
    }
}

impl Remotes {
    /// The answer to `key`, which `ask` finds out when it is not known.
    ///
    /// # Errors
    /// What `ask` fails with; that is not remembered.
    pub async fn known<F>(&self, key: Digest, ask: impl FnOnce() -> F) -> Result<Arc<KnownRemote>>
    where
        F: Future<Output = Result<Arc<KnownRemote>>> + Send + 'static,
    {
        self.0.evaluate(key, || "list the refs of a git repository".into(), ask).await
    }
}
