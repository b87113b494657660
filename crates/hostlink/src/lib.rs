//! Host files: imports directories of the client's machine into the store, exports results to it.
//!
//! *Invariants.* Files whose size, times and inode are unchanged are neither opened nor hashed.
//! Directories that the filter excludes are not entered. A few changed files make one small layer
//! on top of the last full copy. Equal content, names, kinds and permissions give the same snapshot
//! for as long as it is in the store. Owners and modification times are not part of the identity,
//! and everything is owned by root. What is stored is what was hashed: a file that changes
//! meanwhile is copied once, and the copy is imported. An exported file appears whole or not at
//! all. An export never writes through a symlink below the target. A path inside a container never
//! leads out of it ([`host_path`]).

mod copy_file;
mod export;
pub mod filter;
mod hard_links;
mod host_link;
mod host_path;
mod import;
mod incremental_base;
mod packed_paths;
mod stat_cache;
mod unstable_files;
mod walk;

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::Snapshot;
use rondel_model::op::Filter;
use rondel_ports::host::HostFiles;

use crate::host_path::HostPath;

pub use crate::host_link::HostLink;
pub use crate::host_path::ContainerRoot;
pub use crate::import::referred;

impl HostLink {
    /// Registers the root directory `root` of a container. Its files can be named below the path of
    /// the returned value, as long as that value lives.
    pub fn enter(&self, root: OwnedFd) -> ContainerRoot {
        self.roots.enter(root)
    }

    /// Opens the unix socket `path` as a descriptor that is only good for connecting to it.
    ///
    /// # Errors
    /// When nothing or something else is there.
    pub fn socket(&self, path: &Path) -> Result<OwnedFd> {
        let place = self.roots.place(path)?;
        let what = || format!("use the socket `{}`", place.display_path().display());
        let found = place.open(rustix::fs::OFlags::PATH).attempt(what)?;
        let stat = rustix::fs::fstat(&found).attempt(what)?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Socket => Ok(found),
            _ => Err(Fault::user(format!("cannot {}: it is no socket", what()))),
        }
    }
}

impl HostFiles for HostLink {
    fn import(&self, path: &Path, filter: &Filter, progress: &Emitter) -> Result<Snapshot> {
        import::directory(self, path, filter, &progress.parts(0))
    }

    fn import_file(&self, path: &Path, progress: &Emitter) -> Result<Snapshot> {
        import::file(self, path, &progress.parts(0))
    }

    fn export(&self, from: BorrowedFd<'_>, to: &Path, wipe: bool, progress: &Emitter) -> Result<()> {
        export::directory(from, &self.roots.place(to)?, wipe, &progress.parts(0))
    }

    fn remove(&self, below: &Path, paths: &[PathBuf]) -> Result<()> {
        export::remove_below(&self.roots.place(below)?, paths)
    }

    fn export_file(&self, from: BorrowedFd<'_>, to: &Path, progress: &Emitter) -> Result<()> {
        export::file(from, &self.roots.place(to)?, &progress.parts(0))
    }

    fn open(&self, path: &Path) -> std::io::Result<File> {
        let place = self.roots.place(path).map_err(std::io::Error::other)?;
        Ok(place.open(rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK)?.into())
    }

    fn real(&self, path: &Path) -> std::io::Result<PathBuf> {
        Ok(self.roots.place(path).map_err(std::io::Error::other)?.canonical()?.as_given())
    }

    fn find_up(&self, start: &Path, name: &str) -> Option<PathBuf> {
        let start = self.roots.place(start).ok()?;
        start.ancestors().map(|dir| dir.join(name)).find(HostPath::exists).map(|found| found.as_given())
    }
}
