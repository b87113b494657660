//! Changesets: the difference of two directories, and ops on it.

use serde::Serialize;

use crate::op::TreePath;

/// Two directories to compare.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangePair {
    /// The older one.
    pub before: TreePath,
    /// The newer one.
    pub after: TreePath,
}

/// An op on changes between directories. The result is the tree of `base`, changed below its path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ChangesOp {
    /// Applies `changes` to `base`.
    Apply {
        /// The directory to change.
        base: TreePath,
        /// The changes.
        changes: ChangePair,
    },
    /// Applies two sets of changes to their common `base`. Text is merged line by line.
    Merge {
        /// The common base.
        base: TreePath,
        /// The existing changes.
        ours: ChangePair,
        /// The changes to add.
        theirs: ChangePair,
        /// How conflicts are resolved.
        on_conflict: OnConflict,
    },
    /// Writes the changes as a git patch: a tree with one file, [`PATCH_NAME`].
    Write {
        /// The changes.
        changes: ChangePair,
    },
    /// Applies a patch to `base`.
    Patch {
        /// The directory to change.
        base: TreePath,
        /// The file that holds the patch.
        patch: TreePath,
    },
}

/// The name of the file of [`ChangesOp::Write`].
pub const PATCH_NAME: &str = "diff.patch";

/// How conflicts between two sets of changes are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnConflict {
    /// Two changes of one file are an error, even where their lines could be merged.
    FailEarly,
    /// Changes that cannot be merged are an error.
    Fail,
    /// Conflict markers are written into text. A modified file wins over its removal.
    Mark,
    /// The existing changes win.
    Ours,
    /// The changes to add win.
    Theirs,
}

impl ChangesOp {
    /// Its input directories and files, in a fixed order.
    pub fn places(&self) -> Vec<&TreePath> {
        match self {
            Self::Apply { base, changes } => vec![base, &changes.before, &changes.after],
            Self::Merge { base, ours, theirs, .. } => {
                vec![base, &ours.before, &ours.after, &theirs.before, &theirs.after]
            }
            Self::Write { changes } => vec![&changes.before, &changes.after],
            Self::Patch { base, patch } => vec![base, patch],
        }
    }
}
