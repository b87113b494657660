//! The store itself: its state directory, its index and what it caches in memory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::{Attempt as _, Result, lock};
use rondel_model::LayerId;

use crate::last_used::{LastUsed, VolumeUse};
use crate::layer_info::LayerInfo;
use crate::options::Options;
use crate::sqlite::{IndexTable, SqliteIndex};
use crate::state_dir::StateDir;
use crate::{disk_space, state_dir};

/// How many warnings are kept. The oldest one goes first.
const MAX_WARNINGS: usize = 20;

/// The store of one engine.
pub struct Store {
    pub(crate) state: StateDir,
    pub(crate) index: SqliteIndex,
    pub(crate) options: Options,
    pub(crate) layer_cache: RwLock<HashMap<LayerId, Arc<LayerInfo>>>,
    pub(crate) blobs_used: Mutex<HashMap<Sha256Digest, LastUsed>>,
    pub(crate) volumes_used: Mutex<HashMap<Digest, VolumeUse>>,
    pub(crate) flatten_lock: Mutex<()>,
    pub(crate) gc_lock: Mutex<()>,
    /// Warnings about quarantined layers and blobs, for users.
    pub(crate) quarantined: Mutex<Vec<String>>,
    pub(crate) lost: AtomicBool,
}

impl Store {
    /// Opens the store in `state_dir`, and creates it if it is missing.
    ///
    /// # Errors
    /// When another engine uses the directory, its format is unknown, or it cannot be read or
    /// written.
    pub fn open(state_dir: &Path, options: Options) -> Result<Arc<Self>> {
        let state = StateDir::open(state_dir)?;
        disk_space::free_space(&state)?;
        let index = SqliteIndex::open(&state.path("index.sqlite"))?;
        Ok(Arc::new(Self {
            state,
            index,
            options,
            layer_cache: RwLock::default(),
            blobs_used: Mutex::default(),
            volumes_used: Mutex::default(),
            flatten_lock: Mutex::default(),
            gc_lock: Mutex::default(),
            quarantined: Mutex::default(),
            lost: AtomicBool::new(false),
        }))
    }

    /// Removes the content of the state directory `state_dir`, and the directory if nothing else is
    /// in it.
    ///
    /// # Errors
    /// When it is no state directory, an engine uses it, or something cannot be removed.
    pub fn remove(state_dir: &Path) -> Result<()> {
        state_dir::remove(state_dir)
    }

    /// The state directory.
    pub fn state_dir(&self) -> &Path {
        self.state.root()
    }

    /// Warnings about damage that was found, for users. Only the last ones are kept.
    pub fn warnings(&self) -> Vec<String> {
        let quarantined = lock(&self.quarantined);
        self.index.warnings().into_iter().chain(quarantined.iter().cloned()).collect()
    }

    /// Returns whether something was quarantined since the last call. Results that refer to it are
    /// lost.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Moves the damaged layer or blob at `path` to the quarantine. `why` is shown to users.
    pub(crate) fn quarantine(&self, path: &Path, why: &str) {
        if self.state.quarantine(path).is_err() {
            return;
        }
        self.lost.store(true, Ordering::Release);
        let mut quarantined = lock(&self.quarantined);
        if quarantined.len() == MAX_WARNINGS {
            quarantined.remove(0);
        }
        quarantined.push(format!("{why}; it was set aside, and is made again when it is needed"));
    }

    /// Waits until everything in the trash is removed from the disk.
    pub fn flush_trash(&self) {
        self.state.flush_trash();
    }

    pub(crate) fn get_fact<T: serde::de::DeserializeOwned>(&self, space: IndexTable, key: &Digest) -> Option<T> {
        self.index.get_in(space, key).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    pub(crate) fn put_fact<T: serde::Serialize>(&self, space: IndexTable, key: &Digest, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).attempt(|| "encode a fact of the store".into())?;
        self.index.put_in(space, key, &bytes, None)
    }
}
