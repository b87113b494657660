//! Files of the client's machine: import, export, lookup. Everything here blocks.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::Snapshot;
use rondel_model::op::Filter;

/// Prefix of paths that name files of running containers. The first component after it names the
/// root of one container. The kernel has no such path, so using one as a path of the host finds
/// nothing.
pub const CONTAINERS: &str = "/proc/containers";

/// `path` as users see it: the path of a container file as its processes see it.
pub fn shown(path: &Path) -> PathBuf {
    let Ok(inside) = path.strip_prefix(CONTAINERS) else { return path.to_owned() };
    let mut parts = inside.components();
    parts.next();
    Path::new("/").join(parts.as_path())
}

/// Files of the host. A path below [`CONTAINERS`] never leaves the root of its container, whatever
/// symlinks are there.
pub trait HostFiles: Send + Sync {
    /// Imports the directory `path`, filtered. Unchanged files are not read again. An unchanged
    /// tree gives the same snapshot, whatever its modification times. Sockets and other special
    /// files are left out. Bytes that are read and stored are reported to `progress`.
    ///
    /// # Errors
    /// When `path` is missing or no directory, or a file that passes the filter cannot be read.
    fn import(&self, path: &Path, filter: &Filter, progress: &Emitter) -> Result<Snapshot>;

    /// Imports one file. The snapshot holds it at the root under its own name.
    ///
    /// # Errors
    /// When `path` is missing or no regular file.
    fn import_file(&self, path: &Path, progress: &Emitter) -> Result<Snapshot>;

    /// Exports the directory `from` to `to` on the host: merged with the existing content or, with
    /// `wipe`, replacing it. Owners are those of the client, permissions are kept. Bytes that are
    /// written are reported to `progress`.
    ///
    /// # Errors
    /// When the host's disk is full or something is in the way.
    fn export(&self, from: BorrowedFd<'_>, to: &Path, wipe: bool, progress: &Emitter) -> Result<()>;

    /// Removes `paths` below the directory `below` of the host: files and symlinks, and directories
    /// that are empty. A path that is missing, of the other kind, or behind a symlink is left
    /// alone.
    ///
    /// # Errors
    /// When the host refuses the removal.
    fn remove(&self, below: &Path, paths: &[PathBuf]) -> Result<()>;

    /// Exports the file `from` to `to` on the host, atomically.
    ///
    /// # Errors
    /// When `to` is a directory, or the host's disk is full.
    fn export_file(&self, from: BorrowedFd<'_>, to: &Path, progress: &Emitter) -> Result<()>;

    /// Opens the file or directory `path` for reading.
    ///
    /// # Errors
    /// Those of the kernel.
    fn open(&self, path: &Path) -> std::io::Result<File>;

    /// `path` with symlinks resolved. A path of a container is returned unchanged, because its
    /// symlinks are valid in the container alone.
    ///
    /// # Errors
    /// Those of the kernel: the path is missing or cannot be reached.
    fn real(&self, path: &Path) -> std::io::Result<PathBuf>;

    /// Finds the nearest entry called `name` in `start` or a directory above it.
    fn find_up(&self, start: &Path, name: &str) -> Option<PathBuf>;
}
