//! Small changes to a tree: writes, directories, symlinks, removals, times and owners.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::op::{Edit, Removal};
use rondel_model::pattern::Glob;
use rondel_model::{AbsPath, Owner};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::filter::{glob, has_wildcards};
use crate::owner::{self, Ids};
use crate::root::{Root, check_names, failed, inner, kind, names, open_dir_at, remove, stat_at};

/// Applies `edit` to the tree at `root`.
pub(crate) fn apply(edit: &Edit, root: Root<'_>) -> Result<()> {
    match edit {
        Edit::WriteFile { path, contents, permissions, owner } => {
            let ids = ids(root, owner.as_ref())?;
            write_file(root, path, contents, *permissions, ids)
        }
        Edit::MakeDir { path, permissions, owner } => make_dir(root, path, *permissions, ids(root, owner.as_ref())?),
        Edit::Symlink { target, path } => symlink(root, target, path),
        Edit::Remove { paths, base, what } => paths.iter().try_for_each(|path| remove_path(root, path, base, *what)),
        Edit::Timestamps { path, seconds } => {
            let time = Timespec { tv_sec: *seconds, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            everything(root, path, "set the times of", &mut |dir, name, _| {
                rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            })
        }
        Edit::Chown { path, owner } => chown(root, path, owner),
    }
}

/// Sets the owner of everything at and below `path`, looked up in the tree.
pub(crate) fn chown(root: Root<'_>, path: &AbsPath, owner: &Owner) -> Result<()> {
    own(root, path, owner::resolve(root, owner)?)
}

/// Sets the owner of everything at and below `path`.
pub(crate) fn own(root: Root<'_>, path: &AbsPath, ids: Ids) -> Result<()> {
    everything(root, path, "change the owner of", &mut |dir, name, stat| {
        if (stat.st_uid, stat.st_gid) == (ids.uid, ids.gid) {
            return Ok(());
        }
        ids.own(dir, name)?;
        match kind(stat) {
            // The kernel clears set-id bits when the owner changes.
            FileType::RegularFile if stat.st_mode & 0o6000 != 0 => {
                rustix::fs::chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
            }
            _ => Ok(()),
        }
    })
}

fn ids(root: Root<'_>, owner: Option<&Owner>) -> Result<Ids> {
    owner.map_or(Ok(Ids::ROOT), |owner| owner::resolve(root, owner))
}

fn write_file(root: Root<'_>, path: &AbsPath, contents: &[u8], permissions: u32, ids: Ids) -> Result<()> {
    check_names(path)?;
    let fail = |e| failed(e, "write", path.as_str());
    let Some(parent) = path.parent() else { return Err(fail(Errno::ISDIR)) };
    // A symlink is written through to its target inside the root, whether the target exists or not.
    let above = |e| failed(e, "make", parent.as_str());
    root.find(inner(&parent), true).map_err(above)?;
    let found = root.find(inner(path), true).map_err(|e| if e == Errno::NOTDIR { above(e) } else { fail(e) })?;
    let is_dir = found.stat.is_some_and(|stat| kind(&stat) == FileType::Directory);
    let (false, Some(parent), Some(name)) = (is_dir, found.path.parent(), found.path.file_name()) else {
        return Err(fail(Errno::ISDIR));
    };
    let (dir, _) = root.ensure_dir(parent, &mut |_| Ok(())).map_err(|e| failed(e, "make", parent))?;
    remove(dir.as_fd(), name).map_err(fail)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
    let mut file = File::from(file);
    file.write_all(contents).attempt(|| format!("write `{path}`"))?;
    let (uid, gid) = ids.pair();
    rustix::fs::fchown(&file, uid, gid).map_err(fail)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(permissions & 0o7777)).map_err(fail)
}

fn make_dir(root: Root<'_>, path: &AbsPath, permissions: u32, ids: Ids) -> Result<()> {
    check_names(path)?;
    let (uid, gid) = ids.pair();
    let mut made = |dir: BorrowedFd<'_>| {
        rustix::fs::fchown(dir, uid, gid)?;
        rustix::fs::fchmod(dir, Mode::from_raw_mode(permissions & 0o7777))
    };
    root.ensure_dir(inner(path), &mut made).map(drop).map_err(|e| failed(e, "make", path.as_str()))
}

fn symlink(root: Root<'_>, target: &str, path: &AbsPath) -> Result<()> {
    check_names(path)?;
    // Users match on `symlink` and `file exists`.
    let exists = || Fault::user(format!("symlink {target} {path}: file exists"));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(exists()) };
    let (dir, _) = root.ensure_dir(inner(&parent), &mut |_| Ok(())).map_err(|e| failed(e, "make", parent.as_str()))?;
    match rustix::fs::symlinkat(target, &dir, name) {
        Err(Errno::EXIST) => Err(exists()),
        other => other.map_err(|e| failed(e, "make the symbolic link", path.as_str())),
    }
}

fn remove_path(root: Root<'_>, pattern: &str, base: &AbsPath, what: Removal) -> Result<()> {
    let fail = |e| failed(e, "remove", base.join_inside(pattern).as_str());
    let wanted = base.join_inside(pattern);
    let found = match root.find(inner(base), true) {
        Ok(found) => found,
        Err(Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    if !found.stat.is_some_and(|s| kind(&s) == FileType::Directory) {
        return Ok(());
    }
    if wanted == *base {
        return match what {
            Removal::Files => Ok(()),
            Removal::Directory => empty(root, &found.path).map_err(fail),
        };
    }
    let parts =
        wanted.strip_prefix(base).unwrap_or_default().split('/').map(PatternPart::new).collect::<Result<Vec<_>>>()?;
    for path in expand(root, found.path, &parts).map_err(fail)? {
        remove_at(root, &path, what).map_err(fail)?;
    }
    Ok(())
}

/// One part of a path pattern.
enum PatternPart<'a> {
    Name(&'a str),
    Pattern(Glob),
}

impl<'a> PatternPart<'a> {
    fn new(text: &'a str) -> Result<Self> {
        if has_wildcards(text) { glob(text).map(PatternPart::Pattern) } else { Ok(PatternPart::Name(text)) }
    }
}

/// Expands the pattern `parts` below `dir` to existing paths. Symlinks in directories are followed.
fn expand(root: Root<'_>, dir: PathBuf, parts: &[PatternPart<'_>]) -> Result<Vec<PathBuf>, Errno> {
    let mut places = vec![dir];
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let mut next = Vec::new();
        for place in places {
            let names: Vec<OsString> = match part {
                PatternPart::Name(name) => vec![OsString::from(name)],
                PatternPart::Pattern(glob) => {
                    let dir = root.open_dir(&place)?;
                    names(dir.as_fd())?.into_iter().filter(|name| glob.matches(name.as_bytes())).collect()
                }
            };
            for name in names {
                match root.find(&place.join(name), !last) {
                    Ok(found) if last && found.stat.is_some() => next.push(found.path),
                    Ok(found) if found.stat.is_some_and(|s| kind(&s) == FileType::Directory) => next.push(found.path),
                    Ok(_) | Err(Errno::NOTDIR | Errno::NAMETOOLONG) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        places = next;
    }
    Ok(places)
}

fn remove_at(root: Root<'_>, path: &Path, what: Removal) -> Result<(), Errno> {
    let Some(name) = path.file_name() else { return empty(root, path) };
    let dir = root.open_dir(path.parent().unwrap_or(Path::new("")))?;
    let is_dir = stat_at(dir.as_fd(), name)?.is_some_and(|s| kind(&s) == FileType::Directory);
    if is_dir && what == Removal::Files {
        return Ok(());
    }
    remove(dir.as_fd(), name)
}

fn empty(root: Root<'_>, path: &Path) -> Result<(), Errno> {
    let dir = root.open_dir(path)?;
    names(dir.as_fd())?.iter().try_for_each(|name| remove(dir.as_fd(), name))
}

type Visit<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &OsStr, &Stat) -> Result<(), Errno>;

/// Calls `visit` for everything at and below `path`, the entries of a directory before the
/// directory.
fn everything(root: Root<'_>, path: &AbsPath, attempted: &str, visit: Visit<'_>) -> Result<()> {
    let fail = |e| failed(e, attempted, path.as_str());
    let found = root.find(inner(path), false).map_err(fail)?;
    let (holder, name) = match found.path.file_name() {
        Some(name) => (root.open_dir(found.path.parent().unwrap_or(Path::new(""))), name),
        None => (root.open_dir(Path::new("")), OsStr::new(".")),
    };
    if found.stat.is_none() {
        return Err(fail(Errno::NOENT));
    }
    below(holder.map_err(fail)?.as_fd(), name, visit).map_err(fail)
}

fn below(dir: BorrowedFd<'_>, name: &OsStr, visit: Visit<'_>) -> Result<(), Errno> {
    let Some(stat) = stat_at(dir, name)? else { return Ok(()) };
    if kind(&stat) == FileType::Directory {
        let inside = open_dir_at(dir, name)?;
        for child in names(inside.as_fd())? {
            below(inside.as_fd(), &child, visit)?;
        }
    }
    visit(dir, name, &stat)
}
