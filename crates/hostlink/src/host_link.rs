//! The adapter for host files: the store that it imports into, and what it remembers of files.

use std::sync::Arc;

use rondel_ports::dirs::TempDirs;
use rondel_ports::index::Index;
use rondel_ports::snapshots::Snapshots;

use crate::host_path::ContainerRoots;
use crate::stat_cache::StatCache;

/// Files of this machine: imported into a store, exported to the host.
pub struct HostLink {
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) temp_dirs: Arc<dyn TempDirs>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) cache: StatCache,
    pub(crate) roots: Arc<ContainerRoots>,
}

impl HostLink {
    /// Imports into `snapshots`, with temporary files in `temp_dirs`. File stats, digests and
    /// imported trees are remembered in `index`.
    pub fn new(snapshots: Arc<dyn Snapshots>, temp_dirs: Arc<dyn TempDirs>, index: Arc<dyn Index>) -> Self {
        Self { snapshots, temp_dirs, index, cache: StatCache::default(), roots: Arc::default() }
    }
}
