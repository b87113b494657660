//! Git repositories by the `git` program: [`Git`] implements the port.
//!
//! The folder:
//!
//! | path | what |
//! |---|---|
//! | `remotes/<key>/` | what was fetched from one address, or from one service under it, whoever asked: objects, each once; locked (`flock`) while it is used, so that the store may remove the others |
//! | `kept/<n>` | repositories from directories of the API, as long as somebody uses them; files for a single `git` |
//! | `home/` | the home directory of every `git`; empty |
//! | `known_hosts` | keys that SSH servers showed first |
//!
//! *Invariants.* No configuration, hook or filter that came from outside is ever used, and none of the user's: what `git`
//! is told stands in [`command`], and what `git` gets to see of a folder that came from outside, in [`sanitize_repository`]. Nothing is asked on a terminal. An address is never taken for an option, and only
//! `http`, `https`, `ssh` and `git` are spoken to the outside. Who is not let in by a server gets nothing that was fetched
//! from it for somebody else. Secrets are neither in command lines nor in files. A process that nobody waits for is killed
//! with all its children; locks that a killed engine left are removed.

mod checkout;
mod command;
mod egress_relay;
mod git_error;
mod remote;
mod sanitize_repository;
mod tcp_relay;
mod transport;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rondel_digest::Digest;
use rondel_fault::{Attempt as _, Result};
use rondel_ports::BoxFuture;
use rondel_ports::egress::Egress;
use rondel_ports::git::{Checkout, References, Repository};
use rustix::process::Rlimit;

use crate::command::Runner;

/// How many repositories from directories are kept for those who ask next.
const MAX_KEPT: usize = 16;

/// Repositories by the `git` program.
pub struct Git {
    folder: PathBuf,
    runner: Runner,
    egress: Egress,
    /// One user of a remote's folder at a time; made when the folder is used first.
    stores: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<bool>>>>,
    /// Who was let in by a server since the engine started.
    admitted: Mutex<HashSet<Digest>>,
    kept: Mutex<Vec<(Digest, PathBuf, Arc<RemovedOnDrop>)>>,
    next: AtomicU64,
}

/// A folder that is removed with this value.
struct RemovedOnDrop(PathBuf);

impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Git {
    /// Works in `folder`, which is this one's alone. `variables` are the proxies and certificates
    /// that `git` is told of, `open_files` is its limit of open files.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: &Path, variables: Vec<(String, String)>, open_files: Rlimit) -> Result<Self> {
        let kept = folder.join("kept");
        let _ = std::fs::remove_dir_all(&kept);
        for made in [kept, folder.join("home"), folder.join("remotes")] {
            std::fs::create_dir_all(&made).attempt(|| format!("make `{}`", made.display()))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            runner: Runner::new(folder, variables, open_files),
            egress: Egress::default(),
            stores: Mutex::default(),
            admitted: Mutex::default(),
            kept: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// The same, with what may be reached for processes in containers.
    #[must_use]
    pub fn with_egress(self, egress: Egress) -> Self {
        Self { egress, ..self }
    }

    fn fresh(&self) -> PathBuf {
        self.folder.join("kept").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl rondel_ports::git::Git for Git {
    fn references<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Result<References>> {
        Box::pin(remote::references(self, repository))
    }

    fn checkout<'a>(
        &'a self,
        repository: &'a Repository,
        what: &'a Checkout,
        into: &'a Path,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(checkout::checkout(self, repository, what, into))
    }

    fn common_ancestor<'a>(
        &'a self,
        one: (&'a Repository, &'a str),
        other: (&'a Repository, &'a str),
    ) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(checkout::common_ancestor(self, one, other))
    }

    fn keep(&self, key: &Digest, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Repository> {
        let known = lock(&self.kept).iter().find(|(known, ..)| known == key).cloned();
        if let Some((_, folder, guard)) = known {
            return Ok(Repository::Kept { folder, guard });
        }
        let folder = self.fresh();
        let guard = Arc::new(RemovedOnDrop(folder.clone()));
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
        Box::pin(checkout::committed(self, repository, work_tree, into))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
