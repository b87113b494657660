//! The difference of two trees: what the upper one has and the lower one lacks or has differently.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rondel_fault::Result;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::{Copier, Target};
use crate::hardlink_copy::LinkOrigin;
use crate::root::{Root, failed, kind, names, open_dir_at, permissions, stat_at};

/// Copies into `to` every path of the directory `upper` that is missing in `lower` or has another
/// type, owner, permissions or content, with its parents. Times do not count.
pub(crate) fn apply(
    lower: BorrowedFd<'_>,
    upper: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    origin: LinkOrigin<'_>,
) -> Result<()> {
    let mut changed = ChangedPaths { chosen: HashSet::new(), at: PathBuf::new() };
    changed.compare(Some(lower), upper).map_err(|e| failed(e, "compare", changed.at.display().to_string()))?;
    let to = Target::root(Root(to))?;
    let mut copier = Copier { chosen: Some(changed.chosen), ..Copier::new() };
    let link_dir = origin.and_then(|(link_source, from)| link_source.at(from, Path::new(""), to.as_fd()));
    copier.content(upper, &to, link_dir.as_ref())
}

struct ChangedPaths {
    chosen: HashSet<PathBuf>,
    at: PathBuf,
}

impl ChangedPaths {
    /// Collects the paths below that differ. Returns whether there are any.
    fn compare(&mut self, lower: Option<BorrowedFd<'_>>, upper: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut any = false;
        for name in names(upper)? {
            let Some(new) = stat_at(upper, &name)? else { continue };
            let old = lower.map(|lower| stat_at(lower, &name)).transpose()?.flatten();
            self.at.push(&name);
            let mut differs = match (&old, lower) {
                (Some(old), Some(lower)) => !same(lower, old, upper, &new, &name)?,
                _ => true,
            };
            if kind(&new) == FileType::Directory {
                let inside = open_dir_at(upper, &name)?;
                let below: Option<OwnedFd> = match (&old, lower) {
                    (Some(old), Some(lower)) if kind(old) == FileType::Directory => Some(open_dir_at(lower, &name)?),
                    _ => None,
                };
                differs |= self.compare(below.as_ref().map(AsFd::as_fd), inside.as_fd())?;
            }
            if differs {
                self.chosen.insert(self.at.clone());
                any = true;
            }
            self.at.pop();
        }
        Ok(any)
    }
}

fn same(
    lower: BorrowedFd<'_>,
    old: &Stat,
    upper: BorrowedFd<'_>,
    new: &Stat,
    name: &std::ffi::OsStr,
) -> Result<bool, Errno> {
    let metadata = |s: &Stat| (kind(s), permissions(s), s.st_uid, s.st_gid);
    if metadata(old) != metadata(new) {
        return Ok(false);
    }
    same_content(lower, old, upper, new, name)
}

/// Whether two files that are no directories have the same type and content.
pub(crate) fn same_content(
    lower: BorrowedFd<'_>,
    old: &Stat,
    upper: BorrowedFd<'_>,
    new: &Stat,
    name: &std::ffi::OsStr,
) -> Result<bool, Errno> {
    if kind(old) != kind(new) {
        return Ok(false);
    }
    match kind(new) {
        FileType::RegularFile if one_file(old, new) => Ok(true),
        FileType::RegularFile => Ok(old.st_size == new.st_size && same_bytes(lower, upper, name)?),
        FileType::Symlink => {
            let link = |dir| rustix::fs::readlinkat(dir, name, Vec::new());
            Ok(link(lower)? == link(upper)?)
        }
        FileType::CharacterDevice | FileType::BlockDevice => Ok(old.st_rdev == new.st_rdev),
        _ => Ok(true),
    }
}

/// Whether both are the same file of the same layer. Overlays report the inode number of the
/// store's file system.
fn one_file(old: &Stat, new: &Stat) -> bool {
    let identity = |s: &Stat| (s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec);
    identity(old) == identity(new)
}

fn same_bytes(lower: BorrowedFd<'_>, upper: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<bool, Errno> {
    let open = |dir| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map(|fd| BufReader::with_capacity(64 << 10, File::from(fd)))
    };
    let (mut a, mut b) = (open(lower)?, open(upper)?);
    let (mut x, mut y) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (n, m) = (fill(&mut a, &mut x)?, fill(&mut b, &mut y)?);
        if x[..n] != y[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, into: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) => return Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
        }
    }
    Ok(filled)
}
