//! Which layers of a snapshot decide what is at a path.
//!
//! A new layer on top of a tree changes few of its directories. What is at a path is the same in
//! two stacks when the same layers decide it, whatever else the stacks have.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rondel_fault::{Attempt, Result};
use rondel_model::{LayerId, Snapshot};
use rustix::fs::FileType;

use crate::store::Store;
use crate::{flatten, scan, sys};

/// What one layer says about a path.
#[derive(Debug, PartialEq, Eq)]
enum PathInLayer {
    /// Nothing: the layers below decide.
    Absent,
    /// A directory that is merged with those below.
    Merged,
    /// Something that hides whatever is below.
    Opaque,
    /// The layer has nothing there, and hides what the layers below have.
    Whiteout,
}

/// See `Snapshots::layers_at`.
pub(crate) fn layers_at(store: &Store, snapshot: &Snapshot, path: &Path) -> Result<Vec<LayerId>> {
    let mut deciding = Vec::new();
    for layer in flatten::distinct(snapshot).into_iter().rev() {
        let root = store.layer_root(&layer)?;
        let path_in_layer = path_in_layer(root, path, store.state.user_xattrs);
        let path_in_layer =
            path_in_layer.attempt(|| format!("look at `{}` in the layer `{}`", path.display(), layer.0.short()))?;
        if matches!(path_in_layer, PathInLayer::Merged | PathInLayer::Opaque) {
            deciding.push(layer);
        }
        if matches!(path_in_layer, PathInLayer::Opaque | PathInLayer::Whiteout) {
            break;
        }
    }
    deciding.reverse();
    Ok(deciding)
}

fn path_in_layer(root: OwnedFd, path: &Path, user: bool) -> std::io::Result<PathInLayer> {
    let is_opaque = |dir: &OwnedFd| -> std::io::Result<bool> {
        let marked = sys::xattr(&sys::fd_path(dir.as_fd(), b""), scan::opaque_xattr(user))?;
        Ok(marked.is_some_and(|value| value == b"y"))
    };
    let mut dir = root;
    // A directory on the way may hide what the layers below have under its name.
    let mut opaque = is_opaque(&dir)?;
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        _ => None,
    });
    while let Some(part) = parts.next() {
        let stat = match sys::stat_at(dir.as_fd(), part) {
            Ok(stat) => stat,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(if opaque { PathInLayer::Whiteout } else { PathInLayer::Absent });
            }
            Err(e) => return Err(e),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(PathInLayer::Whiteout),
            _ => return Ok(if parts.next().is_none() { PathInLayer::Opaque } else { PathInLayer::Whiteout }),
        }
        dir = sys::open_dir_at(dir.as_fd(), part.as_bytes())?;
        opaque |= is_opaque(&dir)?;
    }
    Ok(if opaque { PathInLayer::Opaque } else { PathInLayer::Merged })
}
