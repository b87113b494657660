//! Compares two directories and lists the paths that differ.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rondel_fault::Result;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::diff::same_content;
use crate::root::{failed, kind, names, open_dir_at, permissions, stat_at};

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiffKind {
    /// Only the newer directory has it.
    Added,
    /// Only the older directory has it.
    Removed,
    /// The content of a file differs, or only one of the files is executable by its owner.
    Modified,
    /// Other permission bits differ. Not listed as a change for people, but applied with the
    /// others.
    Mode,
}

/// A path that differs. A directory that became a file, or the reverse, is listed as removed and as
/// added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiffEntry {
    /// Relative to both directories.
    pub(crate) path: PathBuf,
    /// Whether it is a directory.
    pub(crate) dir: bool,
    /// How it differs.
    pub(crate) what: DiffKind,
}

/// Lists the differences in path order, a directory before its entries. Owners and times do not
/// count.
pub(crate) fn compare(before: BorrowedFd<'_>, after: BorrowedFd<'_>) -> Result<Vec<DiffEntry>> {
    let mut comparison = Comparison { found: Vec::new(), at: PathBuf::new() };
    comparison.both(before, after).map_err(|e| failed(e, "compare", comparison.at.display().to_string()))?;
    Ok(comparison.found)
}

/// Whether the owner may execute the file, the only permission that version control keeps.
pub(crate) fn executable(stat: &Stat) -> bool {
    permissions(stat) & 0o100 != 0
}

struct Comparison {
    found: Vec<DiffEntry>,
    at: PathBuf,
}

impl Comparison {
    fn note(&mut self, dir: bool, what: DiffKind) {
        self.found.push(DiffEntry { path: self.at.clone(), dir, what });
    }

    fn both(&mut self, before: BorrowedFd<'_>, after: BorrowedFd<'_>) -> Result<(), Errno> {
        let (old, new) = (names(before)?, names(after)?);
        let mut all: Vec<&std::ffi::OsString> = old.iter().chain(&new).collect();
        all.sort_unstable();
        all.dedup();
        for name in all {
            self.at.push(name);
            self.entry(before, after, name)?;
            self.at.pop();
        }
        Ok(())
    }

    fn entry(&mut self, before: BorrowedFd<'_>, after: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let is_dir = |stat: &Stat| kind(stat) == FileType::Directory;
        match (stat_at(before, name)?, stat_at(after, name)?) {
            (Some(old), Some(new)) if is_dir(&old) && is_dir(&new) => {
                if permissions(&old) != permissions(&new) {
                    self.note(true, DiffKind::Mode);
                }
                if old.st_ino == new.st_ino && old.st_dev == new.st_dev {
                    return Ok(());
                }
                self.both(open_dir_at(before, name)?.as_fd(), open_dir_at(after, name)?.as_fd())
            }
            (Some(old), Some(new)) if !is_dir(&old) && !is_dir(&new) => {
                if executable(&old) != executable(&new) || !same_content(before, &old, after, &new, name)? {
                    self.note(false, DiffKind::Modified);
                } else if permissions(&old) != permissions(&new) {
                    self.note(false, DiffKind::Mode);
                }
                Ok(())
            }
            (old, new) => {
                if let Some(old) = old {
                    self.whole(before, name, &old, DiffKind::Removed)?;
                }
                match new {
                    Some(new) => self.whole(after, name, &new, DiffKind::Added),
                    None => Ok(()),
                }
            }
        }
    }

    fn whole(&mut self, holder: BorrowedFd<'_>, name: &OsStr, stat: &Stat, what: DiffKind) -> Result<(), Errno> {
        let dir = kind(stat) == FileType::Directory;
        self.note(dir, what);
        if !dir {
            return Ok(());
        }
        let inside = open_dir_at(holder, name)?;
        for child in names(inside.as_fd())? {
            let Some(stat) = stat_at(inside.as_fd(), &child)? else { continue };
            self.at.push(&child);
            self.whole(inside.as_fd(), &child, &stat, what)?;
            self.at.pop();
        }
        Ok(())
    }
}

/// Opens the directory that holds `path` below `top` without following symlinks. `None` if it is
/// missing.
pub(crate) fn holder(top: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let mut dir = open_dir_at(top, OsStr::new("."))?;
    for part in path.parent().unwrap_or(Path::new("")) {
        dir = match open_dir_at(dir.as_fd(), part) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(e),
        };
    }
    Ok(Some(dir))
}
