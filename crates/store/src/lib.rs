//! Layers, blobs, volumes and the result index on one disk: [`Store`] implements the ports `Snapshots` and `Index`.
//!
//! The state folder:
//!
//! | path | what |
//! |---|---|
//! | `format`, `lock` | version and form of the folder; held with `flock` by the one engine that uses it |
//! | `layers/<id>/fs/` | one layer, in overlay form: whiteouts are character devices 0:0, opaque directories carry an attribute |
//! | `layers/<id>/meta.json` | size, number of files, and which modification times are no content; its own time is the last use |
//! | `blobs/sha256/<hex>` | packed layers, manifests, configurations, as they came or were made |
//! | `volumes/<hex>/` | cache volumes, named by the digest of their name |
//! | `git/` | git repositories; another crate's, removed with the rest |
//! | `quarantine/` | what was found damaged; thrown away when the folder is opened |
//! | `scratch/<n>/` | what is being written; thrown away when the folder is opened |
//! | `trash/` | what is being deleted |
//! | `run`, `doubted/` | in which run of the machine the folder was used last; what is checked before it is used again |
//! | `index.sqlite` | the result index and what the store itself remembers; `.damaged` is one that could not be used |
//!
//! *Invariants.* A layer appears by one rename and never changes; its name is the digest of its content. Nothing on a
//! path that finds what it looks for calls `fsync`, starts a process or walks a tree. After `kill -9` every layer, blob
//! and entry that can be seen is whole, whatever was being written or removed. Whoever names a path inside a layer that came from outside goes through
//! `openat2` relative to the layer's root. The overlay's own attributes never count as content.

mod blobs;
mod commit;
mod crash_recovery;
mod flatten;
mod gc;
mod index_damage;
mod last_used;
mod layer_digest;
mod layers;
pub mod memory;
mod overlay;
mod pack;
mod path_layers;
mod read_ahead;
mod remove_tree;
mod scan;
mod shared_inodes;
mod sqlite;
mod state_dir;
mod sys;
mod tar_read;
mod tar_write;
mod trash;
mod unpack;
mod verify;
mod volumes;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::Result;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::index::{Index, Table};
use rondel_ports::snapshots::{Compression, LayerBlob, LinkableLayer, Snapshots, Tree, Verification, WorkTree};

use crate::last_used::LastUsed;
use crate::layers::LayerInfo;
use crate::sqlite::{IndexTable, SqliteIndex};
use crate::state_dir::StateDir;
use crate::volumes::VolumeUse;

pub use crate::gc::{Disk, Refers};
pub use crate::unpack::Limits;
pub use crate::verify::{Check, Usage};

/// What can be chosen when a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Stacks with more layers than this are mounted with their lower part merged.
    pub flatten_above: usize,
    /// Bounds for archives that are unpacked.
    pub limits: Limits,
}

/// So many of the things that were set aside are told.
const MAX_WARNINGS: usize = 20;

impl Default for Options {
    fn default() -> Self {
        Self { flatten_above: 100, limits: Limits::default() }
    }
}

/// The store of one engine.
pub struct Store {
    state: StateDir,
    index: SqliteIndex,
    options: Options,
    layer_cache: RwLock<HashMap<LayerId, Arc<LayerInfo>>>,
    blobs_used: Mutex<HashMap<Sha256Digest, LastUsed>>,
    volumes_used: Mutex<HashMap<Digest, VolumeUse>>,
    flatten_lock: Mutex<()>,
    gc_lock: Mutex<()>,
    /// What was set aside, for people, and whether somebody has yet to forget results that consist of it.
    quarantined: Mutex<Vec<String>>,
    lost: AtomicBool,
}

impl Store {
    /// Opens the store in `state_dir`, which is made when missing.
    ///
    /// # Errors
    /// When another engine uses the folder, its format is unknown, or it cannot be read or written.
    pub fn open(state_dir: &Path, options: Options) -> Result<Arc<Self>> {
        let state = StateDir::open(state_dir)?;
        gc::free_space(&state)?;
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

    /// Removes everything that a store keeps in `state_dir`, and the folder too when nothing else is in it.
    ///
    /// # Errors
    /// When it is no state folder, an engine uses it, or something cannot be removed.
    pub fn remove(state_dir: &Path) -> Result<()> {
        state_dir::remove(state_dir)
    }

    /// The state folder.
    pub fn state_dir(&self) -> &Path {
        self.state.root()
    }

    /// What people should know of damage that was found: each line once, the last of many.
    pub fn warnings(&self) -> Vec<String> {
        let quarantined = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.warnings().into_iter().chain(quarantined.iter().cloned()).collect()
    }

    /// Whether something was set aside since this was asked last: what consists of it is not here any more.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Moves what is at `path`, which is no use, out of the way; `why` is for people.
    fn quarantine(&self, path: &Path, why: &str) {
        if self.state.quarantine(path).is_err() {
            return;
        }
        self.lost.store(true, Ordering::Release);
        let mut quarantined = self.quarantined.lock().unwrap_or_else(PoisonError::into_inner);
        if quarantined.len() == MAX_WARNINGS {
            quarantined.remove(0);
        }
        quarantined.push(format!("{why}; it was set aside, and is made again when it is needed"));
    }

    /// Waits until everything that was thrown away is gone from the disk.
    pub fn flush_trash(&self) {
        self.state.flush_trash();
    }

    /// What the store needs on disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        verify::usage(self)
    }

    /// Removes every layer that is not in `keep` and every blob that is neither in `keep_blobs` nor the packed form of a
    /// kept layer. Nothing may be open that is not kept.
    ///
    /// # Errors
    /// When something cannot be removed; what was removed until then stays removed.
    pub fn prune(&self, keep: &HashSet<LayerId>, keep_blobs: &HashSet<Sha256Digest>) -> Result<Usage> {
        verify::prune(self, keep, keep_blobs)
    }

    /// Checks every layer and blob, and every result with `check`, which says what is wrong with an entry.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify_with(&self, check: &Check<'_>) -> Result<Verification> {
        verify::verify(self, check)
    }

    fn get_fact<T: serde::de::DeserializeOwned>(&self, space: IndexTable, key: &Digest) -> Option<T> {
        self.index.get_in(space, key).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    fn put_fact<T: serde::Serialize>(&self, space: IndexTable, key: &Digest, value: &T) -> Result<()> {
        use rondel_fault::Attempt;
        let bytes = serde_json::to_vec(value).attempt(|| "encode a fact of the store".into())?;
        self.index.put_in(space, key, &bytes, None)
    }
}

impl Snapshots for Store {
    fn view(&self, snapshot: &Snapshot) -> Result<Tree> {
        layers::view(self, snapshot)
    }

    fn view_for_process(&self, snapshot: &Snapshot) -> Result<Tree> {
        layers::view_for_process(self, snapshot)
    }

    fn prepare(&self, snapshot: &Snapshot) -> Result<WorkTree> {
        layers::prepare(self, snapshot)
    }

    fn linkable_layers(&self, source: &Snapshot, base: &Snapshot) -> Option<Vec<LinkableLayer>> {
        shared_inodes::linkable_layers(self, source, base)
    }

    fn layers_at(&self, snapshot: &Snapshot, path: &Path) -> Result<Vec<LayerId>> {
        path_layers::layers_at(self, snapshot, path)
    }

    fn commit(&self, tree: WorkTree) -> Result<Snapshot> {
        commit::commit(self, tree)
    }

    fn abort(&self, tree: WorkTree) {
        let WorkTree { root, scratch, .. } = tree;
        drop(root);
        let _ = sys::remove_tree(&scratch);
    }

    fn touch_if_present(&self, snapshot: &Snapshot) -> bool {
        snapshot.layers().iter().all(|layer| self.touch_layer(layer).is_some())
    }

    fn contains(&self, snapshot: &Snapshot) -> bool {
        snapshot.layers().iter().all(|layer| self.inspect(layer).is_some())
    }

    fn unpack(&self, blob: &Path, compression: Compression, expected: &LayerBlob) -> Result<LayerId> {
        unpack::unpack(self, blob, compression, expected)
    }

    fn layer_of_diff(&self, diff_id: &Sha256Digest) -> Option<LayerId> {
        let layer: LayerId = self.get_fact(IndexTable::Diffs, &blobs::key_of_diff(diff_id))?;
        self.touch_layer(&layer).map(|_| layer)
    }

    fn pack(&self, layer: &LayerId, compression: Compression) -> Result<(LayerBlob, PathBuf)> {
        pack::pack(self, layer, compression)
    }

    fn blob(&self, digest: &Sha256Digest) -> Option<PathBuf> {
        blobs::find(self, digest)
    }

    fn put_blob(&self, digest: &Sha256Digest, content: &mut dyn Read) -> Result<PathBuf> {
        blobs::put(self, digest, content)
    }

    fn volume(&self, name: &str) -> Result<PathBuf> {
        volumes::open(self, name)
    }

    fn temp_dir(&self) -> Result<PathBuf> {
        self.state.scratch_dir()
    }

    fn flatten(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        flatten::flatten(self, snapshot)
    }

    fn verify(&self) -> Result<Verification> {
        self.verify_with(&|_, _, _| None)
    }
}

impl Index for Store {
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>> {
        self.index.get(table, key)
    }

    fn put(&self, table: Table, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()> {
        self.index.put(table, key, value, expires_in)
    }

    fn remove(&self, table: Table, key: &Digest) -> Result<()> {
        self.index.remove(table, key)
    }

    fn each(&self, table: Table, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        self.index.each(table, visit)
    }
}
