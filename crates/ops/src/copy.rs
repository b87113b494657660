//! Copies files from one tree into another with owners, permissions, extended attributes and times.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Fault, Result};
use rondel_model::op::CopyOp;
use rondel_model::{AbsPath, ModeChange};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::filter;
use crate::hardlink_copy::{LinkDir, LinkOrigin, LinkSource, is_linkable};
use crate::owner::{self, Ids};
use crate::root::{Root, check_names, failed, inner, kind, names, open_dir_at, permissions, remove, stat_at};

/// Copies files below one directory to another. Where the target has a symlink to a directory, a
/// directory is copied into the directory it leads to. A file replaces a symlink.
pub(crate) struct Copier {
    /// The owner of everything copied. `None` keeps the owners.
    pub(crate) ids: Option<Ids>,
    /// The permission bits of everything copied. `None` keeps them.
    pub(crate) mode: Option<ModeChange>,
    /// The paths to copy, relative to the source. `None` is everything.
    pub(crate) chosen: Option<HashSet<PathBuf>>,
    /// Existing directories keep their owner and permissions.
    pub(crate) keep_existing: bool,
    /// Where the first of several hard links to a file was copied to: a path without symlinks,
    /// relative to the root of the target.
    pub(crate) links: HashMap<(u64, u64), PathBuf>,
    /// The current path, relative to the source.
    pub(crate) at: PathBuf,
}

/// A directory that receives a copy.
pub(crate) struct Target<'a> {
    /// The root of its tree. Symlinks of the tree do not lead out of it.
    root: Root<'a>,
    /// Its path without symlinks, relative to the root.
    path: PathBuf,
    dir: OwnedFd,
    how: TargetOrigin,
}

/// How the directory that receives a copy came about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TargetOrigin {
    /// It existed.
    Existing,
    /// It was just made.
    Created,
    /// A symbolic link leads to it.
    ViaSymlink,
}

impl<'a> Target<'a> {
    /// The existing directory `path` of the tree at `root`, which is open as `dir`.
    pub(crate) fn new(root: Root<'a>, path: PathBuf, dir: OwnedFd) -> Self {
        Self { root, path, dir, how: TargetOrigin::Existing }
    }

    /// The root of a tree of its own.
    pub(crate) fn root(root: Root<'a>) -> Result<Self> {
        let dir = open_dir_at(root.0, OsStr::new(".")).map_err(|e| failed(e, "open", "/"))?;
        Ok(Self::new(root, PathBuf::new(), dir))
    }

    /// The directory.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path without symlinks, relative to the root.
    pub(crate) fn into_path(self) -> PathBuf {
        self.path
    }

    /// The directory that holds it, and its name there.
    pub(crate) fn holder(&self) -> Result<(OwnedFd, &OsStr), Errno> {
        match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) => Ok((self.root.open_dir(parent)?, name)),
            _ => Ok((self.root.open_dir(Path::new(""))?, OsStr::new("."))),
        }
    }

    /// Opens the directory `name` in it, and makes it when missing. A symlink that leads to a
    /// directory inside the root is followed. Anything else is replaced.
    pub(crate) fn below(&self, name: &OsStr) -> Result<Self, Errno> {
        let path = self.path.join(name);
        let there = stat_at(self.as_fd(), name)?;
        match there.as_ref().map(kind) {
            Some(FileType::Directory) => return Ok(Self::new(self.root, path, open_dir_at(self.as_fd(), name)?)),
            Some(FileType::Symlink) => {
                // A dangling or circular symlink leads to no directory.
                let found = self.root.find(&path, true).ok();
                let found = found.filter(|found| found.stat.is_some_and(|stat| kind(&stat) == FileType::Directory));
                if let Some(found) = found {
                    let dir = self.root.open_dir(&found.path)?;
                    return Ok(Self { root: self.root, path: found.path, dir, how: TargetOrigin::ViaSymlink });
                }
                remove(self.as_fd(), name)?;
            }
            Some(_) => remove(self.as_fd(), name)?,
            None => {}
        }
        rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o755))?;
        Ok(Self { root: self.root, path, dir: open_dir_at(self.as_fd(), name)?, how: TargetOrigin::Created })
    }
}

impl Copier {
    /// A copier of everything as it is.
    pub(crate) fn new() -> Self {
        Self { ids: None, mode: None, chosen: None, keep_existing: false, links: HashMap::new(), at: PathBuf::new() }
    }

    /// Copies the entries of `from` into `to`. Entries of `from` win, and directories are merged,
    /// also through symlinks of the target. Files that `link_dir` has are hard-linked.
    pub(crate) fn content(
        &mut self,
        from: BorrowedFd<'_>,
        to: &Target<'_>,
        link_dir: Option<&LinkDir<'_>>,
    ) -> Result<()> {
        for name in names(from).map_err(|e| failed(e, "list", self.shown()))? {
            self.at.push(&name);
            if self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&self.at)) {
                self.entry(from, to, &name, link_dir)?;
            }
            self.at.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: &Target<'_>,
        name: &OsStr,
        link_dir: Option<&LinkDir<'_>>,
    ) -> Result<()> {
        let stat = stat_at(from, name).map_err(|e| failed(e, "read", self.shown()))?;
        let Some(stat) = stat else { return Ok(()) };
        let fail = |e| failed(e, "copy", Path::new("/").join(&self.at));
        if kind(&stat) != FileType::Directory {
            if self.link_instead(to.as_fd(), name, name, &stat, link_dir).map_err(fail)? {
                return Ok(());
            }
            return self.link_or_file(from, to, name, &stat).map_err(|e| failed(e, "copy", self.shown()));
        }
        let target = to.below(name).map_err(|e| failed(e, "make", self.shown()))?;
        let source = open_dir_at(from, name).map_err(|e| failed(e, "list", self.shown()))?;
        if let Some(link_dir) = link_dir.filter(|_| target.how == TargetOrigin::ViaSymlink) {
            return Err(link_dir.abandon());
        }
        let made = target.how == TargetOrigin::Created;
        let link_dir = link_dir.and_then(|link_dir| link_dir.below(name, target.as_fd(), made));
        self.content(source.as_fd(), &target, link_dir.as_ref())?;
        if made || !self.keep_existing {
            let (holder, new) = target.holder().map_err(|e| failed(e, "copy", self.shown()))?;
            self.attributes(from, holder.as_fd(), name, new, &stat).map_err(|e| failed(e, "copy", self.shown()))?;
        }
        Ok(())
    }

    /// Hard-links the file `name` of `link_dir` as `new` in `to` if its metadata stay the same.
    /// Returns whether that was possible.
    fn link_instead(
        &self,
        to: BorrowedFd<'_>,
        name: &OsStr,
        new: &OsStr,
        stat: &Stat,
        link_dir: Option<&LinkDir<'_>>,
    ) -> Result<bool, Errno> {
        let Some(link_dir) = link_dir.filter(|_| is_linkable(stat) && self.keeps_metadata(stat)) else {
            return Ok(false);
        };
        if !link_dir.is_fresh() {
            remove(to, new)?;
        }
        Ok(link_dir.link(name, new, stat))
    }

    /// Whether a file with the status `stat` keeps its owner and permissions.
    fn keeps_metadata(&self, stat: &Stat) -> bool {
        let owner = self.ids.is_none_or(|ids| (ids.uid, ids.gid) == (stat.st_uid, stat.st_gid));
        let bits = permissions(stat);
        owner && self.mode.as_ref().is_none_or(|mode| mode.apply(bits, false) == bits)
    }

    fn link_or_file(&mut self, from: BorrowedFd<'_>, to: &Target<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                let holder = to.root.open_dir(first.parent().unwrap_or(Path::new("")))?;
                let old = first.file_name().ok_or(Errno::ISDIR)?;
                remove(to.as_fd(), name)?;
                return rustix::fs::linkat(&holder, old, &to.dir, name, AtFlags::empty());
            }
            self.links.insert(identity, to.path.join(name));
        }
        self.file(from, name, to.as_fd(), name, stat)
    }

    /// Copies the file, link or device `name` in `from` to `new` in `to`, which it replaces.
    pub(crate) fn file(
        &self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        to: BorrowedFd<'_>,
        new: &OsStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let secret = Mode::from_raw_mode(0o600);
        match kind(stat) {
            FileType::RegularFile => {
                remove(to, new)?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, new, flags, secret)?;
                bytes(&mut File::from(source), &mut File::from(target), stat)?;
            }
            FileType::Symlink => {
                remove(to, new)?;
                rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, new)?;
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(()),
            FileType::Socket | FileType::Unknown => return Ok(()),
            special => {
                remove(to, new)?;
                rustix::fs::mknodat(to, new, special, secret, stat.st_rdev)?;
            }
        }
        self.attributes(from, to, name, new, stat)
    }

    /// Gives `new` in `to` the owner, permissions, extended attributes and times of `name` in
    /// `from`.
    pub(crate) fn attributes(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
        new: &OsStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        self.ids.unwrap_or(Ids { uid: stat.st_uid, gid: stat.st_gid }).own(to, new)?;
        if kind(stat) != FileType::Symlink {
            let (bits, is_dir) = (permissions(stat), kind(stat) == FileType::Directory);
            let bits = self.mode.as_ref().map_or(bits, |mode| mode.apply(bits, is_dir));
            rustix::fs::chmodat(to, new, Mode::from_raw_mode(bits), AtFlags::empty())?;
        }
        extended_attributes(&magic_path(from, name), &magic_path(to, new))?;
        rustix::fs::utimensat(to, new, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn shown(&self) -> PathBuf {
        Path::new("/").join(&self.at)
    }
}

/// Applies `op`: copies from `source` to `target`.
pub(crate) fn apply(op: &CopyOp, source: Root<'_>, target: Root<'_>, link_source: Option<&LinkSource>) -> Result<()> {
    check_names(&op.target)?;
    let ids = op.owner.as_ref().map(|owner| owner::resolve(target, owner)).transpose()?;
    let from = source.find(inner(&op.source.path), true).map_err(|e| failed(e, "read", op.source.path.as_str()))?;
    let stat = from.stat.ok_or_else(|| failed(Errno::NOENT, "read", op.source.path.as_str()))?;
    let is_dir = kind(&stat) == FileType::Directory;
    match (op.source_is_file, is_dir) {
        (true, false) => copy_file(op, ids, source, &from.path, &stat, (target, link_source)),
        (false, true) => copy_directory(op, ids, source, &from.path, &stat, (target, link_source)),
        (true, true) => Err(failed(Errno::ISDIR, "copy", op.source.path.as_str())),
        (false, false) => Err(failed(Errno::NOTDIR, "copy", op.source.path.as_str())),
    }
}

fn copy_file(
    op: &CopyOp,
    ids: Option<Ids>,
    source: Root<'_>,
    from: &Path,
    stat: &Stat,
    (target, link_source): (Root<'_>, Option<&LinkSource>),
) -> Result<()> {
    let fail = |e| failed(e, "copy a file to", op.target.as_str());
    let asked = op.source.path.file_name().unwrap_or_default();
    let own_name = OsString::from(op.source_name.as_deref().unwrap_or(asked));
    let file_name = from.file_name().ok_or_else(|| fail(Errno::ISDIR))?;
    let parent = from.parent().unwrap_or(Path::new(""));
    let holder = source.open_dir(parent).map_err(fail)?;
    let copier = Copier { ids, mode: op.permissions.map(ModeChange::Set), ..Copier::new() };
    let origin = link_source.map(|link_source| (link_source, parent));
    let destination = Destination { target, path: &op.target, is_dir: op.target_is_dir, origin };
    destination.file(&copier, holder.as_fd(), file_name, own_name, stat)
}

fn copy_directory(
    op: &CopyOp,
    ids: Option<Ids>,
    source: Root<'_>,
    from: &Path,
    stat: &Stat,
    (target, link_source): (Root<'_>, Option<&LinkSource>),
) -> Result<()> {
    let origin = link_source.map(|link_source| (link_source, from));
    let from = source.open_dir(from).map_err(|e| failed(e, "copy a directory to", op.target.as_str()))?;
    let chosen = filter::choose(from.as_fd(), &op.filter)?;
    let keep_existing = chosen.is_some();
    let mode = op.permissions.map(ModeChange::Set);
    let mut copier = Copier { ids, mode, chosen, keep_existing, ..Copier::new() };
    let destination = Destination { target, path: &op.target, is_dir: true, origin };
    destination.clear()?;
    destination.directory(&mut copier, from.as_fd(), stat)
}

/// The destination of a copy.
pub(crate) struct Destination<'a> {
    /// The tree.
    pub(crate) target: Root<'a>,
    /// The path in it.
    pub(crate) path: &'a AbsPath,
    /// It names a directory.
    pub(crate) is_dir: bool,
    /// The directory to copy, or the one that holds the file, for hard links.
    pub(crate) origin: LinkOrigin<'a>,
}

impl Destination<'_> {
    /// Copies the file `from` in `holder` to the path. If the path is a directory, copies into it
    /// as `own_name`.
    pub(crate) fn file(
        &self,
        copier: &Copier,
        holder: BorrowedFd<'_>,
        from: &OsStr,
        own_name: OsString,
        stat: &Stat,
    ) -> Result<()> {
        let fail = |e| failed(e, "copy a file to", self.path.as_str());
        let existing = self.target.find(inner(self.path), true).map_err(fail)?;
        let into_dir = self.is_dir || existing.stat.as_ref().is_some_and(|s| kind(s) == FileType::Directory);
        let (dir, name) = match (into_dir, self.path.parent(), self.path.file_name()) {
            (false, Some(parent), Some(name)) => (parent, OsString::from(name)),
            _ => (self.path.clone(), own_name),
        };
        if name.len() > 255 {
            return Err(fail(Errno::NAMETOOLONG));
        }
        let (dir, path) = self.target.ensure_dir(inner(&dir), &mut |new| chown(new, copier.ids)).map_err(fail)?;
        let link_dir = self.origin.and_then(|(link_source, from)| link_source.at(from, &path, dir.as_fd()));
        if copier.link_instead(dir.as_fd(), from, &name, stat, link_dir.as_ref()).map_err(fail)? {
            return Ok(());
        }
        copier.file(holder, from, dir.as_fd(), &name, stat).map_err(fail)
    }

    /// Removes a file at the path to make room for a directory.
    fn clear(&self) -> Result<()> {
        let fail = |e| failed(e, "copy a directory to", self.path.as_str());
        let found = self.target.find(inner(self.path), true).map_err(fail)?;
        let in_the_way = found.stat.is_some_and(|stat| kind(&stat) != FileType::Directory);
        match (found.path.parent(), found.path.file_name()) {
            (Some(parent), Some(name)) if in_the_way => {
                remove(self.target.open_dir(parent).map_err(fail)?.as_fd(), name).map_err(fail)
            }
            _ => Ok(()),
        }
    }

    /// Copies the entries of `from`, a directory with the status `stat`, into the path.
    pub(crate) fn directory(&self, copier: &mut Copier, from: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
        let fail = |e| failed(e, "copy a directory to", self.path.as_str());
        let existed = self.target.find(inner(self.path), true).map_err(fail)?.stat.is_some();
        let made = &mut |new: BorrowedFd<'_>| chown(new, copier.ids);
        let (to, path) = self.target.ensure_dir(inner(self.path), made).map_err(fail)?;
        let link_dir = self.origin.and_then(|(link_source, from)| link_source.at(from, &path, to.as_fd()));
        let to = Target::new(self.target, path, to);
        copier.content(from, &to, link_dir.as_ref())?;
        if existed {
            return Ok(());
        }
        let (holder, name) = to.holder().map_err(fail)?;
        copier.attributes(from, holder.as_fd(), OsStr::new("."), name, stat).map_err(fail)
    }
}

/// Copies the directory `from`, filtered, as the root of the empty tree `to`.
pub(crate) fn as_root(
    from: BorrowedFd<'_>,
    filter: &rondel_model::op::Filter,
    to: BorrowedFd<'_>,
    origin: LinkOrigin<'_>,
) -> Result<()> {
    let chosen = filter::choose(from, filter)?;
    let to = Target::root(Root(to))?;
    let mut copier = Copier { chosen, ..Copier::new() };
    let link_dir = origin.and_then(|(link_source, from)| link_source.at(from, Path::new(""), to.as_fd()));
    copier.content(from, &to, link_dir.as_ref())?;
    let stat = rustix::fs::fstat(from).map_err(|e| failed(e, "read", "/"))?;
    let dot = OsStr::new(".");
    copier.attributes(from, to.as_fd(), dot, dot, &stat).map_err(|e| failed(e, "copy", "/"))
}

pub(crate) fn chown(dir: BorrowedFd<'_>, ids: Option<Ids>) -> Result<(), Errno> {
    let Some(ids) = ids else { return Ok(()) };
    let (uid, gid) = ids.pair();
    rustix::fs::fchown(dir, uid, gid)
}

fn bytes(from: &mut File, to: &mut File, stat: &Stat) -> Result<(), Errno> {
    let size = stat.st_size as u64;
    if (stat.st_blocks as u64) * 512 >= size {
        return std::io::copy(from, to).map(drop).map_err(errno);
    }
    to.set_len(size).map_err(errno)?;
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(&*from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(&*from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        rustix::fs::seek(&*from, SeekFrom::Start(start))?;
        rustix::fs::seek(&*to, SeekFrom::Start(start))?;
        let mut piece = std::io::Read::take(&mut *from, end.saturating_sub(start));
        if std::io::copy(&mut piece, to).map_err(errno)? == 0 {
            break;
        }
        at = end;
    }
    Ok(())
}

fn extended_attributes(from: &Path, to: &Path) -> Result<(), Errno> {
    for (name, value) in attributes_of(from)? {
        match rustix::fs::lsetxattr(to, &*name, &value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP | Errno::PERM) | Ok(()) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The name and the value of an extended attribute.
pub(crate) type ExtendedAttribute = (Vec<u8>, Vec<u8>);

/// The extended attributes of the file at `path`, without those of the overlay.
pub(crate) fn attributes_of(path: &Path) -> Result<Vec<ExtendedAttribute>, Errno> {
    let size = match rustix::fs::llistxattr_query(path) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut list = vec![0u8; size];
    let filled = rustix::fs::llistxattr(path, &mut list[..])?;
    let mut all = Vec::new();
    for name in list[..filled].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0u8; rustix::fs::lgetxattr_query(path, name)?];
        let filled = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(filled);
        all.push((name.to_vec(), value));
    }
    Ok(all)
}

/// A path by which the kernel reaches `name` in the directory `dir`.
pub(crate) fn magic_path(dir: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    path.push(name);
    path
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// The text of a path. Bytes that are not UTF-8 are replaced.
pub(crate) fn text(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

/// Copies the open file `from` into a new file `name` in the directory `to`.
pub(crate) fn plain_file(from: &mut File, to: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    remove(to, name).map_err(|e| failed(e, "replace", name))?;
    let target =
        rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(e, "make", name))?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(mode)).map_err(|e| failed(e, "set the mode of", name))?;
    std::io::copy(from, &mut File::from(target))
        .map_err(|e| Fault::environment(format!("cannot write `{}`", name.display())).caused_by(e))?;
    Ok(())
}
