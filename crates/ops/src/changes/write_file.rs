//! Writes and removes files below a directory without following symlinks.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rondel_fault::Result;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::compare::holder;
use crate::owner::Ids;
use crate::root::{failed, open_dir_at, remove as remove_any, stat_at};

/// A file or symlink to write.
pub(crate) struct NewFile<'a> {
    /// The content, or the target of a symlink.
    pub(crate) bytes: &'a [u8],
    /// The permission bits.
    pub(crate) mode: u32,
    /// Whether it is a symbolic link.
    pub(crate) link: bool,
    /// The owner. `None` is root.
    pub(crate) owner: Option<Ids>,
}

/// Writes a file or symlink at `path`, and makes missing parents. A directory at `path` is an
/// error.
pub(crate) fn write(top: BorrowedFd<'_>, path: &Path, new: &NewFile<'_>) -> Result<()> {
    write_inner(top, path, new).map_err(|e| failed(e, "write", path))
}

fn write_inner(top: BorrowedFd<'_>, path: &Path, new: &NewFile<'_>) -> Result<(), Errno> {
    let name = path.file_name().ok_or(Errno::ISDIR)?;
    let ids = new.owner.unwrap_or(Ids::ROOT);
    let dir = ensure(top, path.parent().unwrap_or(Path::new("")))?;
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    if new.link {
        rustix::fs::symlinkat(OsStr::new(std::str::from_utf8(new.bytes).map_err(|_| Errno::ILSEQ)?), &dir, name)?;
        return ids.own(dir.as_fd(), name);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(file);
    file.write_all(new.bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let (uid, gid) = ids.pair();
    rustix::fs::fchown(&file, uid, gid)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(new.mode & 0o7777))
}

/// The owner of the file at `path`. `None` if it is missing.
pub(crate) fn owner(top: BorrowedFd<'_>, path: &Path) -> Result<Option<Ids>> {
    let look = || -> Result<_, Errno> {
        let (Some(dir), Some(name)) = (holder(top, path)?, path.file_name()) else { return Ok(None) };
        Ok(stat_at(dir.as_fd(), name)?.map(|stat| Ids { uid: stat.st_uid, gid: stat.st_gid }))
    };
    look().map_err(|e| failed(e, "read", path))
}

fn ensure(top: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let mut dir = open_dir_at(top, OsStr::new("."))?;
    for part in path {
        dir = match open_dir_at(dir.as_fd(), part) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755))?;
                let new = open_dir_at(dir.as_fd(), part)?;
                rustix::fs::fchmod(&new, Mode::from_raw_mode(0o755))?;
                new
            }
            other => other?,
        };
    }
    Ok(dir)
}

/// Removes the file at `path`, and then its parents up to `top` as long as they are empty.
pub(crate) fn remove(top: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let inner = || -> Result<(), Errno> {
        let (Some(dir), Some(name)) = (holder(top, path)?, path.file_name()) else { return Ok(()) };
        remove_any(dir.as_fd(), name)?;
        for parent in path.ancestors().skip(1).take_while(|parent| !parent.as_os_str().is_empty()) {
            let (Some(dir), Some(name)) = (holder(top, parent)?, parent.file_name()) else { break };
            match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    inner().map_err(|e| failed(e, "remove", path))
}
