//! Git repositories by the `git` program: [`Git`] implements the port.
//!
//! The directory:
//!
//! * `remotes/<key>/` is a store: objects fetched from one address, or from one service under that
//!   address, each object once, for all clients. Each object format has its own store. Operations
//!   on a store take turns. While one runs, a shared `flock` keeps the garbage collection of the
//!   cache from removing the store.
//! * `remotes/<key>.running` records the process that works on the store, so that the next engine
//!   can end it.
//! * `kept/<n>` are repositories from directories of the API, temporary files of a single `git`,
//!   and new stores until they are complete. The last few repositories from directories stay for
//!   the next operation.
//! * `home/` is the home directory of every `git`, and empty.
//! * `known_hosts` has the keys that SSH servers showed first.
//!
//! *Invariants.*
//! * No configuration, hook or filter that came from outside is ever used, and none of the user's.
//!   The configuration of `git` is in [`command`]. What it sees of a directory that came from
//!   outside is decided in [`sanitize_repository`].
//! * Nothing is asked on a terminal.
//! * An address is never taken for an option, and only `http`, `https`, `ssh` and `git` are spoken
//!   to the outside.
//! * A client whose credentials a server refuses gets nothing that was fetched from that server
//!   for another client.
//! * Secrets are neither in command lines nor in files. A password that the user wrote into an
//!   address is in command lines, since it is a part of the address.
//! * A process is killed with all its children when its result is no longer awaited.
//! * Locks that a killed `git` left behind are removed before the next use of the store.

mod checkout;
mod command;
mod context;
mod egress;
mod egress_proxy;
mod git_error;
mod remote;
mod sanitize_repository;
mod tcp_relay;
mod transport;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Result, lock};
use rondel_ports::BoxFuture;
use rondel_ports::dirs::TempDir;
use rondel_ports::egress::Egress;
use rondel_ports::git::{Checkout, References, Repository};
use rustix::process::Rlimit;

use crate::context::GitContext;

/// How many repositories from directories stay ready for the next operation.
const MAX_KEPT: usize = 16;

/// Repositories by the `git` program.
pub struct Git {
    context: GitContext,
    /// The repositories from directories, the oldest first, with the digest of their content.
    kept: Mutex<Vec<(Digest, PathBuf, Arc<TempDir>)>>,
}

impl Git {
    /// Works in `folder`, which nothing else uses. `variables` are the proxies and certificates
    /// that `git` is told of, `open_files` is its limit of open files.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn new(folder: &Path, variables: Vec<(String, String)>, open_files: Rlimit) -> Result<Self> {
        Ok(Self { context: GitContext::new(folder, variables, open_files)?, kept: Mutex::default() })
    }

    /// Sets what work for processes in containers may connect to.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.context.egress = egress;
        self
    }
}

impl rondel_ports::git::Git for Git {
    fn references<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Result<References>> {
        Box::pin(remote::references(&self.context, repository))
    }

    fn checkout<'a>(
        &'a self,
        repository: &'a Repository,
        what: &'a Checkout,
        into: &'a Path,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(checkout::checkout(&self.context, repository, what, into, progress))
    }

    fn common_ancestor<'a>(
        &'a self,
        one: (&'a Repository, &'a str),
        other: (&'a Repository, &'a str),
    ) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(checkout::common_ancestor(&self.context, one, other))
    }

    fn keep(&self, key: &Digest, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Repository> {
        let known = lock(&self.kept).iter().find(|(known, ..)| known == key).cloned();
        if let Some((_, folder, guard)) = known {
            return Ok(Repository::Kept { folder, guard });
        }
        let folder = self.context.fresh();
        let guard = Arc::new(TempDir::new(folder.clone()));
        std::fs::create_dir_all(&folder).attempt(|| format!("make `{}`", folder.display()))?;
        fill(&folder)?;
        sanitize_repository::git_dir(&folder)?;
        let mut kept = lock(&self.kept);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push((*key, folder.clone(), guard.clone()));
        Ok(Repository::Kept { folder, guard })
    }

    fn committed<'a>(
        &'a self,
        repository: &'a Repository,
        work_tree: &'a Path,
        into: &'a Path,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(checkout::committed(&self.context, repository, work_tree, into))
    }
}
