//! Small pieces over the kernel's file interface that the whole crate uses: names below directory
//! descriptors, extended attributes, clocks of a file system, removal of trees.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

/// A modification time: seconds and nanoseconds since the Unix epoch.
pub(crate) type Time = (i64, u32);

/// Flags for opening a directory that shall be listed.
pub(crate) const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Whether this process lives in a user namespace of its own, where `trusted.*` attributes are out
/// of reach.
pub(crate) fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Opens the directory `path`.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the directory `name` in `parent`; a symbolic link is refused.
pub(crate) fn open_dir_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, DIR, Mode::empty())?)
}

/// Opens `path` below `root` for reading; no part of it may be a symbolic link or leave `root`.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut names = Vec::new();
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The status of `name` in `dir`, not following it.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The modification time in a status.
pub(crate) fn mtime(stat: &Stat) -> Time {
    (stat.st_mtime, stat.st_mtime_nsec as u32)
}

/// The time in the form of system calls, for both access and modification.
pub(crate) fn timestamps(time: Time) -> Timestamps {
    let spec = Timespec { tv_sec: time.0, tv_nsec: time.1 as _ };
    Timestamps { last_access: spec, last_modification: spec }
}

/// Sets the modification time of `name` in `dir`, not following it.
pub(crate) fn set_mtime(dir: BorrowedFd<'_>, name: &[u8], time: Time) -> io::Result<()> {
    Ok(rustix::fs::utimensat(dir, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The path by which the kernel finds `name` in `dir`, whatever the directory's own path is.
pub(crate) fn fd_path(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let name = if name.is_empty() { b"." } else { name };
    Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(OsStr::from_bytes(name))
}

/// Names and values of the extended attributes of `path`, not following it.
pub(crate) fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = match rustix::fs::llistxattr_query(path) {
        Ok(0) | Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => return Ok(Vec::new()),
        Ok(size) => {
            let mut list = vec![0u8; size];
            let size = rustix::fs::llistxattr(path, &mut list[..])?;
            list.truncate(size);
            list
        }
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if let Some(value) = xattr(path, name)? {
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The value of one extended attribute of `path`, not following it.
pub(crate) fn xattr(path: &Path, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let size = match rustix::fs::lgetxattr_query(path, name) {
        Ok(size) => size,
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let mut value = vec![0u8; size];
    if size > 0 {
        let size = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(size);
    }
    Ok(Some(value))
}

/// Sets one extended attribute of `path`, not following it.
pub(crate) fn set_xattr(path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

/// Removes one extended attribute of `path`, not following it.
pub(crate) fn remove_xattr(path: &Path, name: &[u8]) -> io::Result<()> {
    match rustix::fs::lremovexattr(path, name) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Removes a tree of any depth. The tree must not be in use. A missing tree is no error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => open_dir(path).and_then(empty).and_then(|()| std::fs::remove_dir(path)),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A directory that is being emptied: its name, which file it is, and the directories in it that
/// are left.
struct Level {
    name: CString,
    identity: (u64, u64),
    left: Vec<CString>,
}

/// Empties a directory. Neither the stack nor the open files grow with its depth: the way up is
/// `..`.
fn empty(top: OwnedFd) -> io::Result<()> {
    let mut at = top;
    let mut levels = vec![enter(&at, CString::default())?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            at = open_dir_at(at.as_fd(), name.to_bytes())?;
            levels.push(enter(&at, name)?);
            continue;
        }
        let done = levels.pop().map(|level| level.name);
        if let (Some(name), Some(above)) = (done, levels.last()) {
            let up = open_dir_at(at.as_fd(), b"..")?;
            if identity(&up)? != above.identity {
                return Err(io::Error::other("a directory was moved while it was removed"));
            }
            // ORDER: a directory that is removed while it is open costs a hundred times as much
            // when it is closed.
            at = up;
            rustix::fs::unlinkat(&at, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Removes from `dir` what is no directory, and the directories that are empty.
fn enter(dir: &OwnedFd, name: CString) -> io::Result<Level> {
    let mut left = Vec::new();
    for child in names(dir.as_fd())? {
        match rustix::fs::unlinkat(dir, &child, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => match rustix::fs::unlinkat(dir, &child, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => left.push(child),
                Err(e) => return Err(e.into()),
            },
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Level { name, identity: identity(dir)?, left })
}

fn identity(dir: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Copies the bytes of `from` to `to`: shared blocks where the file system can, else a copy inside
/// the kernel.
pub(crate) fn copy_bytes(from: &File, to: &File) -> io::Result<u64> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(from.metadata()?.len());
    }
    let (mut from, mut to) = (from, to);
    io::copy(&mut from, &mut to)
}

/// Makes a descriptor usable as a path argument of a mount call, free of characters that mean
/// something there.
pub(crate) fn magic_path(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_removed_however_deep_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().join("top");
        let outside = folder.path().join("outside");
        for made in [&top, &outside] {
            std::fs::create_dir(made).expect("makes");
        }
        std::fs::write(outside.join("kept"), "").expect("writes");
        let mut at = open_dir(&top).expect("opens");
        for level in 0..3_000 {
            for name in ["a", "b", "c"] {
                rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).expect("makes");
            }
            if level % 1_000 == 0 {
                rustix::fs::symlinkat(&outside, &at, "link").expect("links");
                rustix::fs::openat(&at, "file", OFlags::CREATE, Mode::from_raw_mode(0o600)).expect("writes");
            }
            at = open_dir_at(at.as_fd(), b"b").expect("opens");
        }
        let thread =
            std::thread::Builder::new().stack_size(64 << 10).spawn(move || remove_tree(&top).expect("removes"));
        thread.expect("starts").join().expect("ends well");
        assert!(!folder.path().join("top").exists() && outside.join("kept").exists());
        remove_tree(&folder.path().join("top")).expect("is gone already");
    }
}
