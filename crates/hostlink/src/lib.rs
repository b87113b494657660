//! The files of the machine on which the client runs: taking directories into the store, writing results out.
//!
//! *Invariants.* A tree whose files have the sizes, times and inodes they had is not read: neither opened nor hashed.
//! What a filter leaves out is not even looked into. Equal content, names, kinds and permissions give the same snapshot
//! for as long as it is in the store; owners and modification times are no identity, everything is owned by root. A
//! file that changes while it is read is never stored half old, half new. An exported file appears whole or not at all,
//! and nothing that is exported is written through a symbolic link below the target.

mod cache;
mod copy;
mod export;
pub mod filter;
mod import;
mod walk;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::Snapshot;
use rondel_model::op::Filter;
use rondel_ports::host::HostFiles;
use rondel_ports::index::Index;
use rondel_ports::snapshots::Snapshots;

use crate::cache::StatCache;

/// The files of this machine, kept in `Snapshots`, remembered in `Index`.
pub struct HostLink {
    snapshots: Arc<dyn Snapshots>,
    index: Arc<dyn Index>,
    cache: StatCache,
}

impl HostLink {
    /// Host files over a store and an index.
    pub fn new(snapshots: Arc<dyn Snapshots>, index: Arc<dyn Index>) -> Self {
        Self { snapshots, index, cache: StatCache::default() }
    }
}

impl HostFiles for HostLink {
    fn import(&self, path: &Path, filter: &Filter) -> Result<Snapshot> {
        import::directory(self, path, filter)
    }

    fn import_file(&self, path: &Path) -> Result<Snapshot> {
        import::file(self, path)
    }

    fn export(&self, from: BorrowedFd<'_>, to: &Path, wipe: bool) -> Result<()> {
        export::directory(from, to, wipe)
    }

    fn export_file(&self, from: BorrowedFd<'_>, to: &Path) -> Result<()> {
        export::file(from, to)
    }

    fn find_up(&self, start: &Path, name: &str) -> Option<PathBuf> {
        let mut places = start.ancestors().map(|dir| dir.join(name));
        places.find(|place| place.symlink_metadata().is_ok())
    }
}
