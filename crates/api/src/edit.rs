//! Ops that change trees: copies, written files, removals.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::op::{CopyOp, Edit, Filter, Owner, Removal, TreePath};
use rondel_model::{AbsPath, Directory, File, Fs, FsOp};

/// The source and the options of a copy.
pub(crate) struct CopySource {
    source: TreePath,
    file_name: Option<String>,
    /// The entries that are copied.
    pub(crate) filter: Filter,
    /// The owner of all entries. `None` keeps each owner.
    pub(crate) owner: Option<Owner>,
    /// The permission bits of all entries. `None` keeps those of each entry.
    pub(crate) permissions: Option<u32>,
}

impl CopySource {
    /// A copy of the content of a directory.
    pub(crate) fn directory(source: &Directory) -> Self {
        Self {
            source: source.place.clone(),
            file_name: None,
            filter: Filter::default(),
            owner: None,
            permissions: None,
        }
    }

    /// A copy of one file.
    pub(crate) fn file(source: &File) -> Self {
        let name = Some(file_name(source).to_owned());
        Self {
            source: source.place.clone(),
            file_name: name,
            filter: Filter::default(),
            owner: None,
            permissions: None,
        }
    }

    /// The tree `base` with the copy at `target`.
    pub(crate) fn into_tree(self, base: Fs, target: AbsPath, target_is_dir: bool) -> Fs {
        Fs::from(CopyOp {
            base,
            source: self.source,
            source_is_file: self.file_name.is_some(),
            source_name: self.file_name,
            target,
            target_is_dir,
            filter: self.filter,
            owner: self.owner,
            permissions: self.permissions,
        })
    }
}

/// The name of a file: its own name if it has one, or that of its path.
pub(crate) fn file_name(file: &File) -> &str {
    file.name.as_deref().or_else(|| file.place.path.file_name()).unwrap_or_default()
}

/// The tree `base` changed by `edit`.
pub(crate) fn edited(base: Fs, edit: Edit) -> Fs {
    Fs::new(FsOp::Edit { base, edit })
}

/// The tree `base` with a file.
pub(crate) fn written(
    base: Fs,
    path: AbsPath,
    contents: impl Into<Arc<[u8]>>,
    permissions: u32,
    owner: Option<Owner>,
) -> Fs {
    edited(base, Edit::WriteFile { path, contents: contents.into(), permissions, owner })
}

/// The tree `base` without the entries that `paths`, relative to `below`, name.
pub(crate) fn removed(base: Fs, below: AbsPath, paths: Vec<String>, what: Removal) -> Fs {
    edited(base, Edit::Remove { paths, base: below, what })
}

/// The directory as the root of a tree of its own.
pub(crate) fn selected(directory: &Directory) -> Fs {
    directory.place.clone().into_tree()
}

/// Whether a path names a directory by its text.
pub(crate) fn names_directory(path: &str) -> bool {
    path.ends_with('/') || matches!(path.rsplit('/').next(), Some("." | ".."))
}

/// Whether a relative path leads out of its directory and into another one, by its text alone.
pub(crate) fn leads_out(path: &str) -> bool {
    let mut depth = 0;
    let mut out = false;
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if depth == 0 => out = true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    !path.starts_with('/') && out && depth > 0
}

/// Checks that each part of a path is a valid file name.
///
/// # Errors
/// When a part is longer than 255 bytes.
pub(crate) fn check_path(path: &str) -> Result<()> {
    match path.split('/').any(|part| part.len() > 255) {
        // Clients match on this text; see behaviour DIR-018.
        true => Err(Fault::user("File name length exceeds the maximum supported 255 characters")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_recognised_by_their_text() {
        let named = ["/", "a/", ".", "..", "a/.", "a/.."];
        let others = ["a", "a/b", "", ".a", "a..", "a/..b"];
        assert!(named.iter().all(|path| names_directory(path)));
        assert!(!others.iter().any(|path| names_directory(path)));
    }

    #[test]
    fn paths_that_lead_out_are_recognised() {
        assert!(["../c", "a/../../c", "./../c/d"].into_iter().all(leads_out));
        assert!(!["c", "a/../c", "..", "/../c", "..c/d", "a/.."].into_iter().any(leads_out));
    }

    #[test]
    fn long_names_are_refused() {
        assert!(check_path(&"a".repeat(255)).is_ok());
        assert!(check_path(&"a/".repeat(400)).is_ok());
        let error = check_path(&format!("x/{}", "a".repeat(256))).expect_err("is refused");
        assert_eq!(error.to_string(), "File name length exceeds the maximum supported 255 characters");
    }
}
