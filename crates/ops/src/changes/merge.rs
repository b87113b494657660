//! Three-way merge of directories: applies two sets of changes to their common base.
//!
//! Texts that both sides changed are merged by lines, except with `OnConflict::FailEarly`, with
//! which two different changes of one file are a conflict. `OnConflict` also decides what happens
//! to what cannot be merged: one side wins, conflict markers are written, or the merge fails. A
//! conflict that markers cannot express, such as a file against a directory, is an error even with
//! `OnConflict::Mark`.
//!
//! *Invariants.* Conflicts that are errors are found before the first write, so a merge that fails
//! with them changes nothing. The error names each of their paths.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rondel_fault::{Fault, Result};
use rondel_model::changes::OnConflict;

use super::apply_diff;
use super::compare::{DiffEntry, DiffKind, compare};
use super::content::{self, Content};
use super::lines::{self, ConflictSide};
use super::write_file::{self, NewFile};
use crate::copy::Target;

/// A directory before and after changes.
#[derive(Clone, Copy)]
pub(crate) struct DiffPair<'a> {
    /// The older directory.
    pub(crate) before: BorrowedFd<'a>,
    /// The newer one.
    pub(crate) after: BorrowedFd<'a>,
}

/// Applies both sets of changes to `to`, which is their common base.
pub(crate) fn merge(to: &Target<'_>, ours: DiffPair<'_>, theirs: DiffPair<'_>, on_conflict: OnConflict) -> Result<()> {
    let mut merge = Merge {
        ours,
        theirs,
        on_conflict,
        our_files: BTreeMap::new(),
        our_dirs: BTreeSet::new(),
        taken: Vec::new(),
        texts: Vec::new(),
        conflicts: Vec::new(),
    };
    let mine = compare(ours.before, ours.after)?;
    let others = compare(theirs.before, theirs.after)?;
    for difference in &mine {
        match difference.dir {
            true if difference.what == DiffKind::Added => drop(merge.our_dirs.insert(difference.path.clone())),
            true => {}
            false => drop(merge.our_files.insert(difference.path.clone(), difference.what)),
        }
    }
    for difference in &others {
        merge.take(difference)?;
    }
    if !merge.conflicts.is_empty() {
        return Err(Fault::user(merge.conflicts.join("\n")));
    }
    apply_diff::apply(to, ours.after, mine.iter())?;
    apply_diff::apply(to, theirs.after, merge.taken.iter())?;
    // Directories that became empty only through both sets of changes.
    apply_diff::apply(to, ours.after, mine.iter().filter(|d| d.dir && d.what == DiffKind::Removed))?;
    for (path, text, mode) in &merge.texts {
        let owner = write_file::owner(to.as_fd(), path)?;
        write_file::write(to.as_fd(), path, &NewFile { bytes: text, mode: *mode, link: false, owner })?;
    }
    Ok(())
}

struct Merge<'a> {
    ours: DiffPair<'a>,
    theirs: DiffPair<'a>,
    on_conflict: OnConflict,
    our_files: BTreeMap<PathBuf, DiffKind>,
    our_dirs: BTreeSet<PathBuf>,
    /// Their changes that are applied as they are.
    taken: Vec<DiffEntry>,
    /// Merged texts that both sides changed: path, text, permissions.
    texts: Vec<(PathBuf, Vec<u8>, u32)>,
    conflicts: Vec<String>,
}

impl Merge<'_> {
    fn take(&mut self, theirs: &DiffEntry) -> Result<()> {
        if theirs.what != DiffKind::Removed && self.blocked(theirs) {
            self.settle(theirs, "path is a file in one changeset and a directory in the other", true);
            return Ok(());
        }
        let ours = if theirs.dir { None } else { self.our_files.get(&theirs.path).copied() };
        match (ours, theirs.what) {
            (None, _) | (Some(DiffKind::Mode), DiffKind::Removed | DiffKind::Modified) => {
                self.taken.push(theirs.clone())
            }
            (Some(_), DiffKind::Mode) | (Some(DiffKind::Removed), DiffKind::Removed) => {}
            (Some(DiffKind::Removed), DiffKind::Added) | (Some(DiffKind::Added), DiffKind::Removed) => {
                self.taken.push(theirs.clone())
            }
            (Some(DiffKind::Removed), DiffKind::Modified) => self.settle(theirs, MODIFIED_REMOVED, false),
            (Some(DiffKind::Modified), DiffKind::Removed) => {
                // The modified file stays, unless their side wins.
                if self.on_conflict != OnConflict::Mark {
                    self.settle(theirs, MODIFIED_REMOVED, false);
                }
            }
            (Some(DiffKind::Mode), DiffKind::Added) => self.taken.push(theirs.clone()),
            (Some(DiffKind::Added | DiffKind::Modified), _) => self.both(theirs)?,
        }
        Ok(())
    }

    /// Whether our side has a file where theirs needs a directory, or the reverse.
    fn blocked(&self, theirs: &DiffEntry) -> bool {
        let is_file = |path: &Path| matches!(self.our_files.get(path), Some(DiffKind::Added | DiffKind::Modified));
        let above = theirs.path.ancestors().skip(1).any(is_file);
        above || if theirs.dir { is_file(&theirs.path) } else { self.our_dirs.contains(&theirs.path) }
    }

    /// Resolves a conflict that cannot be merged. `hard`: conflict markers cannot express it
    /// either.
    fn settle(&mut self, theirs: &DiffEntry, why: &str, hard: bool) {
        match self.on_conflict {
            OnConflict::Ours => {}
            OnConflict::Theirs => self.taken.push(theirs.clone()),
            OnConflict::Mark if !hard => self.taken.push(theirs.clone()),
            _ => self.conflict(&theirs.path, why),
        }
    }

    fn conflict(&mut self, path: &Path, why: &str) {
        // Users match on this text.
        self.conflicts.push(format!("conflict between changesets at path {:?}: {why}", path.display().to_string()));
    }

    /// Merges a file that both sides added or both modified.
    fn both(&mut self, theirs: &DiffEntry) -> Result<()> {
        let path = &theirs.path;
        let (mine, other) = (content::read(self.ours.after, path)?, content::read(self.theirs.after, path)?);
        let (Some(mine), Some(other)) = (mine, other) else {
            self.settle(theirs, BOTH_MODIFIED, true);
            return Ok(());
        };
        if mine.bytes() == other.bytes() && mine.git_mode() == other.git_mode() {
            return Ok(());
        }
        let why = if theirs.what == DiffKind::Added { BOTH_ADDED } else { BOTH_MODIFIED };
        let base = match content::read(self.theirs.before, path)? {
            Some(base) => Some(base),
            None => content::read(self.ours.before, path)?,
        };
        if self.on_conflict == OnConflict::FailEarly {
            self.conflict(path, why);
            return Ok(());
        }
        match (&mine, &other) {
            (Content::File { bytes: mine, mode: our_mode }, Content::File { bytes: other, mode: their_mode })
                if content::is_text(mine) && content::is_text(other) =>
            {
                let (text, was) = match &base {
                    Some(Content::File { bytes, mode }) => (&bytes[..], Some(mode & 0o111)),
                    _ => (&[][..], None),
                };
                let on_conflict = match self.on_conflict {
                    OnConflict::Ours => ConflictSide::Ours,
                    OnConflict::Theirs => ConflictSide::Theirs,
                    _ => ConflictSide::Neither,
                };
                let merged = lines::merge(text, mine, other, on_conflict);
                if merged.conflicts && self.on_conflict == OnConflict::Fail {
                    self.conflict(path, why);
                }
                let mode = if was == Some(our_mode & 0o111) { *their_mode } else { *our_mode };
                self.texts.push((path.clone(), merged.text, mode));
            }
            _ => self.settle(theirs, &format!("{why}, and it cannot be merged by lines"), true),
        }
        Ok(())
    }
}

const BOTH_ADDED: &str = "path added in both changesets";
const BOTH_MODIFIED: &str = "path modified in both changesets";
const MODIFIED_REMOVED: &str = "path modified in one changeset and removed in the other";
