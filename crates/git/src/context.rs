//! What every operation on repositories shares: the directory, the `git` runner, the egress rules
//! and the locks of the stores.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_fault::{Attempt as _, Result};
use rondel_ports::egress::Egress;
use rustix::process::Rlimit;

use crate::command::Runner;

/// The shared state of one [`crate::Git`].
pub(crate) struct GitContext {
    /// The directory of this adapter alone.
    pub(crate) folder: PathBuf,
    /// Runs `git`.
    pub(crate) runner: Runner,
    /// What work for processes in containers may connect to.
    pub(crate) egress: Egress,
    /// One lock for each store of a remote. The value says whether the store was cleaned up since
    /// the engine started, which its first use does.
    pub(crate) stores: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<bool>>>>,
    /// Keys of the repositories whose server accepted the credentials since the engine started.
    pub(crate) admitted: Mutex<HashSet<Digest>>,
    next: AtomicU64,
}

impl GitContext {
    /// Makes the directories in `folder` and removes kept repositories of an earlier engine.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub(crate) fn new(folder: &Path, variables: Vec<(String, String)>, open_files: Rlimit) -> Result<Self> {
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
            next: AtomicU64::new(0),
        })
    }

    /// A path below `kept` that was not used before. Nothing is there yet.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.folder.join("kept").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}
