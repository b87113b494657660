//! Files of the machine on which the client runs. Everything here blocks.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rondel_fault::Result;
use rondel_model::Snapshot;
use rondel_model::op::Filter;

/// Paths below it name files of running containers: the first part after it stands for the root of one. The kernel has no
/// such path, so that whoever takes it for one of the machine finds nothing.
pub const CONTAINERS: &str = "/proc/containers";

/// `path` for people: that of a container as its processes see it.
pub fn shown(path: &Path) -> PathBuf {
    let Ok(inside) = path.strip_prefix(CONTAINERS) else { return path.to_owned() };
    let mut parts = inside.components();
    parts.next();
    Path::new("/").join(parts.as_path())
}

/// Files of the host. A path below [`CONTAINERS`] never leaves the root of its container, whatever links are there.
pub trait HostFiles: Send + Sync {
    /// Takes the directory `path` into the store, filtered. Unchanged files are not read again; an unchanged tree gives
    /// the same snapshot, whatever its modification times. Sockets and other special files are left out.
    ///
    /// # Errors
    /// When `path` is missing or no directory, or a file that passes the filter cannot be read.
    fn import(&self, path: &Path, filter: &Filter) -> Result<Snapshot>;

    /// Takes one file into the store; the snapshot holds it at the root under its own name.
    ///
    /// # Errors
    /// When `path` is missing or no regular file.
    fn import_file(&self, path: &Path) -> Result<Snapshot>;

    /// Writes the directory `from` to `to` on the host: merged over what is there, or (`wipe`) replacing it.
    /// Owners are those of the client, permissions are kept.
    ///
    /// # Errors
    /// When the host's disk is full or something is in the way.
    fn export(&self, from: BorrowedFd<'_>, to: &Path, wipe: bool) -> Result<()>;

    /// Removes what `paths` name below the directory `below` of the host: files and links, and directories that are
    /// empty. What is not there, is of the other kind, or lies behind a symbolic link is left as it is.
    ///
    /// # Errors
    /// When the host does not let it be removed.
    fn remove(&self, below: &Path, paths: &[PathBuf]) -> Result<()>;

    /// Writes the file `from` to `to` on the host, atomically.
    ///
    /// # Errors
    /// When `to` is a directory, or the host's disk is full.
    fn export_file(&self, from: BorrowedFd<'_>, to: &Path) -> Result<()>;

    /// Opens the file or directory `path` for reading.
    ///
    /// # Errors
    /// Those of the kernel.
    fn open(&self, path: &Path) -> std::io::Result<File>;

    /// `path` without symbolic links; that of a container as it is, because its links mean something in there alone.
    ///
    /// # Errors
    /// Those of the kernel: nothing is there, or it cannot be reached.
    fn real(&self, path: &Path) -> std::io::Result<PathBuf>;

    /// The nearest path called `name` in `start` or a directory above it.
    fn find_up(&self, start: &Path, name: &str) -> Option<PathBuf>;
}
