//! What differs between two directories, and work with it.

use serde::Serialize;

use crate::container::Directory;
use crate::op::{Fs, TreePath};

/// A comparison of two directories.
#[derive(Clone, Debug)]
pub struct Changeset {
    /// The older one.
    pub before: Directory,
    /// The newer one.
    pub after: Directory,
}

impl Changeset {
    /// The two places.
    pub fn pair(&self) -> Pair {
        Pair { before: self.before.place.clone(), after: self.after.place.clone() }
    }
}

/// Two directories to compare.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The older one.
    pub before: TreePath,
    /// The newer one.
    pub after: TreePath,
}

/// Work with what differs between directories. The result is the tree of `base`, changed below the place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ChangesOp {
    /// What differs in `changes` is done to `base`, too.
    Apply {
        /// The directory to change.
        base: TreePath,
        /// The changes.
        changes: Pair,
    },
    /// Both changes are done to `base`, text merged line by line.
    Merge {
        /// What both were made from.
        base: TreePath,
        /// The changes that are there.
        ours: Pair,
        /// The changes to add.
        theirs: Pair,
        /// What happens where both changed the same.
        on_conflict: OnConflict,
    },
    /// A tree with one file, [`PATCH_NAME`]: the changes as a patch in git's form.
    Write {
        /// The changes.
        changes: Pair,
    },
    /// The patch is applied to `base`.
    Patch {
        /// The directory to change.
        base: TreePath,
        /// The file that holds the patch.
        patch: TreePath,
    },
}

/// The name of the file that [`ChangesOp::Write`] gives.
pub const PATCH_NAME: &str = "diff.patch";

/// What happens where two changes do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnConflict {
    /// Two changes of one file are an error, even where their lines could be merged.
    FailEarly,
    /// What cannot be merged is an error.
    Fail,
    /// Text is marked for people to decide; what was changed wins over what was removed.
    Mark,
    /// The changes that are there win.
    Ours,
    /// The changes to add win.
    Theirs,
}

impl ChangesOp {
    /// The places it works on, in a fixed order.
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

    /// The trees it works on.
    pub(crate) fn into_inputs(self, into: &mut Vec<Fs>) {
        match self {
            Self::Apply { base, changes } => into.extend([base.fs, changes.before.fs, changes.after.fs]),
            Self::Merge { base, ours, theirs, .. } => {
                into.extend([base.fs, ours.before.fs, ours.after.fs, theirs.before.fs, theirs.after.fs]);
            }
            Self::Write { changes } => into.extend([changes.before.fs, changes.after.fs]),
            Self::Patch { base, patch } => into.extend([base.fs, patch.fs]),
        }
    }
}
