//! Digest of the content at one path of a tree. Work on a part of a tree is keyed by it, so a
//! change elsewhere in the tree does not matter, and equal parts of different trees are equal.
//!
//! The digest is computed once by reading the content. It is then cached by tree and path, and by
//! the layers that determine the content at the path. A layer that changes something else costs one
//! lookup in that layer.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::Result;
use rondel_model::op::{Filter, TreePath};
use rondel_model::{AbsPath, Snapshot};
use rondel_ports::index::Table;
use rustix::fs::FileType;

use crate::root::{ResolvedPath, Root, failed, inner, kind, open_parent};
use crate::tree_hash::TreeHasher;
use crate::{Ops, dedup_layers, filter};

impl Ops {
    /// The digest of the content at `place` that passes `filter`; `tree` is the evaluated tree of
    /// `place`. The unfiltered root of a tree is identified by its layers and not read.
    ///
    /// # Errors
    /// When the content cannot be read, or the filter is malformed. A missing path is no error; it
    /// has a digest of its own.
    pub(crate) async fn content(
        self: &Arc<Self>,
        tree: &Snapshot,
        place: &TreePath,
        filter: &Filter,
    ) -> Result<Digest> {
        if place.path.is_root() && filter.is_empty() {
            return Ok(tree.digest());
        }
        let times = place.fs.sets_times();
        let at = rondel_digest::of("content/at/v1", &(tree.digest(), &place.path, filter, times));
        if let Some(known) = self.known(&at) {
            return Ok(known);
        }
        let (tree, path, filter) = (tree.clone(), place.path.clone(), filter.clone());
        self.blocking(move |ops| {
            let digest = find(ops, &tree, &path, &filter, times)?;
            ops.store(&at, &digest)?;
            Ok(digest)
        })
        .await
    }

    fn known(&self, key: &Digest) -> Option<Digest> {
        serde_json::from_slice(&self.ports.index.get(Table::Ops, key)?).ok()
    }
}

fn find(ops: &Ops, snapshot: &Snapshot, path: &AbsPath, filter: &Filter, times: bool) -> Result<Digest> {
    let store = &*ops.ports.snapshots;
    let tree = dedup_layers::view(store, snapshot)?;
    let root = Root(tree.root.as_fd());
    let Some(found) = root.find(inner(path), true).ok().filter(|found| found.stat.is_some()) else {
        // The op that works on the path reports the error.
        return Ok(rondel_digest::of("content/absent/v1", &(snapshot.digest(), path)));
    };
    let layers = store.layers_at(snapshot, &found.path)?;
    let key = rondel_digest::of("content/in/v1", &(&layers, found.path.as_os_str().as_encoded_bytes(), filter, times));
    if let Some(known) = ops.known(&key) {
        return Ok(known);
    }
    let digest = read(root, &found, filter, times)?;
    ops.store(&key, &digest)?;
    Ok(digest)
}

// IDENTITY: relative paths, file types, permissions, owners, extended attributes, contents, symlink
// targets and hard links. The name of the path itself does not count, and times count only if the
// user set them.
fn read(root: Root<'_>, found: &ResolvedPath, filter: &Filter, times: bool) -> Result<Digest> {
    let fail = |e| failed(e, "read", Path::new("/").join(&found.path));
    let Some(stat) = &found.stat else { return Err(fail(rustix::io::Errno::NOENT)) };
    let (holder, name) = open_parent(root, &found.path).map_err(fail)?;
    if kind(stat) != FileType::Directory {
        let mut hash = TreeHasher::of_chosen(None, times);
        hash.entry(holder.as_fd(), name, stat).map_err(fail)?;
        return Ok(rondel_digest::of("content/v1", &hash.finish()));
    }
    let dir = root.open_dir(&found.path).map_err(fail)?;
    let chosen = filter::choose(dir.as_fd(), filter)?;
    let mut hash = TreeHasher::of_chosen(chosen.as_ref(), times);
    hash.entry(holder.as_fd(), name, stat).map_err(fail)?;
    hash.directory(dir.as_fd(), &mut PathBuf::new()).map_err(fail)?;
    Ok(rondel_digest::of("content/v1", &hash.finish()))
}
