//! Applies the differences between two directories to a third one.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rondel_fault::Result;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::compare::{DiffEntry, DiffKind, holder};
use crate::copy::{Copier, Target};
use crate::root::{failed, kind, permissions, stat_at};

/// Removes from `to` every removed path, then copies every added or changed path from `after`. A
/// removed directory that is not empty in `to` stays.
pub(crate) fn apply<'a>(
    to: &Target<'_>,
    after: BorrowedFd<'_>,
    differences: impl Iterator<Item = &'a DiffEntry> + Clone,
) -> Result<()> {
    let removed: Vec<&DiffEntry> = differences.clone().filter(|d| d.what == DiffKind::Removed).collect();
    for gone in removed.into_iter().rev() {
        remove(to.as_fd(), gone).map_err(|e| failed(e, "remove", &gone.path))?;
    }
    let mut chosen = HashSet::new();
    for new in differences.clone().filter(|d| d.what != DiffKind::Removed) {
        let mut path = Some(&*new.path);
        while let Some(at) = path.filter(|at| !at.as_os_str().is_empty()) {
            if !chosen.insert(at.to_owned()) {
                break;
            }
            path = at.parent();
        }
    }
    let mut copier = Copier { chosen: Some(chosen), keep_existing: true, ..Copier::new() };
    copier.content(after, to, None)?;
    for dir in differences.filter(|d| d.dir && d.what == DiffKind::Mode) {
        set_mode(to.as_fd(), after, &dir.path).map_err(|e| failed(e, "set the mode of", &dir.path))?;
    }
    Ok(())
}

fn remove(to: BorrowedFd<'_>, gone: &DiffEntry) -> Result<(), Errno> {
    let (Some(dir), Some(name)) = (holder(to, &gone.path)?, gone.path.file_name()) else { return Ok(()) };
    let flags = if gone.dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR) | Ok(()) => Ok(()),
        Err(e) => Err(e),
    }
}

fn set_mode(to: BorrowedFd<'_>, after: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let (Some(old), Some(new)) = (holder(to, path)?, holder(after, path)?) else { return Ok(()) };
    match (stat_at(old.as_fd(), name)?, stat_at(new.as_fd(), name)?) {
        (Some(there), Some(stat)) if kind(&there) == FileType::Directory => {
            rustix::fs::chmodat(old, name, Mode::from_raw_mode(permissions(&stat)), AtFlags::empty())
        }
        _ => Ok(()),
    }
}
