//! Export: writes files of a tree to the host.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_events::Parts;
use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::copy_file;
use crate::host_path::HostPath;
use crate::walk::{self, FileStat, failed, join, show};

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Writes the directory `from` to `to`.
pub(crate) fn directory(from: BorrowedFd<'_>, place: &HostPath, wipe: bool, progress: &Parts) -> Result<()> {
    let to = &place.display_path();
    let target = place.make_dirs().map_err(|fault| match place.exists() && !place.is_dir() {
        true => Fault::user(format!("cannot export a directory to `{}`: it is not a directory", to.display()))
            .caused_by(fault),
        false => fault,
    })?;
    let from = rustix::fs::openat(from, ".", DIR, Mode::empty()).attempt(|| "open the directory to export".into())?;
    Export { to, top: &target, wipe, progress, first_names: RefCell::default() }.dir(&from, &target, b"")
}

/// Removes files and empty directories below `place`.
pub(crate) fn remove_below(place: &HostPath, paths: &[PathBuf]) -> Result<()> {
    if paths.is_empty() || !place.is_dir() {
        return Ok(());
    }
    let top = place.open(DIR).attempt(|| format!("open `{}`", place.display_path().display()))?;
    for path in paths {
        let removed = remove_one(&top, path);
        removed.map_err(|e| failed("remove", &place.display_path(), path.as_os_str().as_bytes(), e.into()))?;
    }
    Ok(())
}

fn remove_one(top: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let mut dir = rustix::fs::openat(top, ".", DIR, Mode::empty())?;
    for part in path.parent().unwrap_or(Path::new("")) {
        dir = match rustix::fs::openat(&dir, part, DIR, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other?,
        };
    }
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Writes the file `from` to `to`.
pub(crate) fn file(from: BorrowedFd<'_>, place: &HostPath, progress: &Parts) -> Result<()> {
    let to = &place.display_path();
    if place.is_dir() {
        return Err(Fault::user(format!("cannot export a file to `{}`: it is a directory", to.display())));
    }
    let name = to.file_name().ok_or_else(|| Fault::user(format!("`{}` names no file", to.display())))?;
    let dir = place.parent().make_dirs()?;
    let stat = rustix::fs::fstat(from).attempt(|| "look at the file to export".into())?;
    let readable = rustix::fs::open(
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&from)),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let readable = readable.attempt(|| "open the file to export".into())?;
    put_file(&readable.into(), &stat, dir.as_fd(), name.as_bytes(), progress)
        .attempt(|| format!("write `{}`", to.display()))
}

struct Export<'a> {
    /// For messages.
    to: &'a Path,
    /// The directory that is written.
    top: &'a OwnedFd,
    wipe: bool,
    progress: &'a Parts,
    /// Where the first name of each file went that has several.
    first_names: RefCell<HashMap<(u64, u64), Vec<u8>>>,
}

impl Export<'_> {
    fn dir(&self, from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> Result<()> {
        let told = |attempted: &str, path: &[u8], e: io::Error| failed(attempted, self.to, path, e);
        let names = walk::names(from.as_fd()).map_err(|e| told("list what is exported to", path, e))?;
        if self.wipe {
            for (name, _) in walk::names(to.as_fd()).map_err(|e| told("list", path, e))? {
                if names.binary_search_by(|(found, _)| found.cmp(&name)).is_err() {
                    let below = join(path, name.to_bytes());
                    remove(to.as_fd(), name.to_bytes()).map_err(|e| told("remove", &below, e))?;
                }
            }
        }
        names.iter().try_for_each(|(name, _)| self.entry(from, to, &join(path, name.to_bytes()), name.to_bytes()))
    }

    fn entry(&self, from: &OwnedFd, to: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        let write = |e: Errno| failed("write", self.to, path, e.into());
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(write)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink) {
            return Ok(());
        }
        let there = match rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Some(FileType::from_raw_mode(there.st_mode)),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(write(e)),
        };
        let is_dir = |kind: FileType| kind == FileType::Directory;
        let mut fresh = there.is_none();
        if there.is_some_and(|there| is_dir(there) != is_dir(kind)) {
            self.clear_way(to, path, name, is_dir(kind))?;
            fresh = true;
        }
        match kind {
            FileType::Directory => {
                if fresh {
                    rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).map_err(write)?;
                }
                let below = rustix::fs::openat(from, name, DIR, Mode::empty()).map_err(write)?;
                let target = rustix::fs::openat(to, name, DIR, Mode::empty()).map_err(write)?;
                self.dir(&below, &target, path)?;
                rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(write)?;
                rustix::fs::futimens(&target, &copy_file::times(FileStat::of(&stat).mtime)).map_err(write)
            }
            FileType::Symlink => put_link(from, to, name).map_err(|e| failed("write", self.to, path, e)),
            _ => {
                if self.put_hard_link(&stat, to, path, name).map_err(|e| failed("write", self.to, path, e))? {
                    return Ok(());
                }
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let file = File::from(rustix::fs::openat(from, name, flags, Mode::empty()).map_err(write)?);
                put_file(&file, &stat, to.as_fd(), name, self.progress).map_err(|e| failed("write", self.to, path, e))
            }
        }
    }

    /// Makes `name` a further name of a file that was written already; whether it is one and the
    /// file system has such.
    fn put_hard_link(&self, stat: &Stat, to: &OwnedFd, path: &[u8], name: &[u8]) -> io::Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let mut first_names = self.first_names.borrow_mut();
        let first = first_names.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.to_vec());
        if first.as_slice() == path {
            return Ok(false);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let (holder, old) = match first.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => {
                (rustix::fs::openat2(self.top, &first[..slash], DIR, Mode::empty(), resolve)?, &first[slash + 1..])
            }
            None => (rustix::fs::openat(self.top, ".", DIR, Mode::empty())?, &first[..]),
        };
        let made = with_temp_name(|temp| rustix::fs::linkat(&holder, old, to, temp, AtFlags::empty()));
        let temp = match made {
            Ok((temp, ())) => temp,
            // Without links in this file system, or with too many, each name is a file of its own.
            Err(e) if is_unlinkable(&e) => {
                *first = path.to_vec();
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let moved = rustix::fs::renameat(to, temp.as_str(), to, name);
        // Nothing is renamed when both are one file already.
        let _ = rustix::fs::unlinkat(to, temp.as_str(), AtFlags::empty());
        Ok(moved.map(|()| true)?)
    }

    /// What stands where something of another kind shall be is removed when wiping, and an error
    /// otherwise.
    fn clear_way(&self, to: &OwnedFd, path: &[u8], name: &[u8], dir_comes: bool) -> Result<()> {
        if self.wipe {
            return remove(to.as_fd(), name).map_err(|e| failed("remove", self.to, path, e));
        }
        let exported = String::from_utf8_lossy(path);
        let place = show(self.to, path);
        let text = if dir_comes {
            format!(
                "cannot export the directory `{exported}` to `{place}`: something that is no directory is in the way"
            )
        } else {
            format!("cannot export the file `{exported}` to `{place}`: a directory is in the way")
        };
        Err(Fault::user(text).with_hint("remove what is in the way, or export with `wipe`"))
    }
}

fn is_unlinkable(error: &io::Error) -> bool {
    let errors = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV, Errno::NOENT];
    Errno::from_io_error(error).is_some_and(|error| errors.contains(&error))
}

/// Writes a file under a temporary name and puts it in place.
fn put_file(from: &File, stat: &Stat, dir: BorrowedFd<'_>, name: &[u8], progress: &Parts) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let (temp, file) = with_temp_name(|temp| rustix::fs::openat(dir, temp, flags, Mode::from_raw_mode(0o600)))?;
    let file = File::from(file);
    let write = || -> io::Result<()> {
        copy_file::content(from, &file)?;
        progress.add(u64::try_from(stat.st_size).unwrap_or_default());
        rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        rustix::fs::futimens(&file, &copy_file::times(FileStat::of(stat).mtime))?;
        Ok(rustix::fs::renameat(dir, temp.as_str(), dir, name)?)
    };
    write().inspect_err(|_| {
        let _ = rustix::fs::unlinkat(dir, temp.as_str(), AtFlags::empty());
    })
}

fn put_link(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let target = rustix::fs::readlinkat(from, name, Vec::new())?;
    let (temp, ()) = with_temp_name(|temp| rustix::fs::symlinkat(&target, to, temp))?;
    let moved = rustix::fs::renameat(to, temp.as_str(), to, name).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(to, temp.as_str(), AtFlags::empty());
    });
    Ok(moved?)
}

/// Tries names until one is free.
fn with_temp_name<T>(mut make: impl FnMut(&str) -> Result<T, Errno>) -> io::Result<(String, T)> {
    let mut n = 0u32;
    loop {
        let name = format!(".rondel-{}-{n}.tmp", std::process::id());
        match make(&name) {
            Err(Errno::EXIST) if n < 10_000 => n += 1,
            other => return Ok((name, other?)),
        }
    }
}

fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let top = dir.try_clone_to_owned()?;
    // Directories that are being emptied, with what is left in them; the names of their parents'
    // content lead to them.
    let mut open = vec![(top, vec![name.to_vec()])];
    while let Some((dir, left)) = open.last_mut() {
        let Some(name) = left.last() else {
            open.pop();
            if let Some((above, left)) = open.last_mut()
                && let Some(emptied) = left.pop()
            {
                rustix::fs::unlinkat(above, emptied.as_slice(), AtFlags::REMOVEDIR)?;
            }
            continue;
        };
        match rustix::fs::unlinkat(&*dir, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => drop(left.pop()),
            Err(Errno::ISDIR | Errno::PERM) => {
                let below = rustix::fs::openat(&*dir, name.as_slice(), DIR, Mode::empty())?;
                let names = walk::names(below.as_fd())?.into_iter().map(|(name, _)| name.into_bytes()).collect();
                open.push((below, names));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
