//! Commit: turns the changes of an overlay into a layer.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{Label, WorkTree};
use rustix::fs::OFlags;

use crate::layer_digest::{Times, byte_text, layer_id};
use crate::layer_info::LayerInfo;
use crate::mounts;
use crate::scan::{self, Node, NodeKind};
use crate::shared_inodes;
use crate::store::Store;
use crate::sys::{self, Time};

/// Commits the changes of `tree`. Its scratch directory is removed in any case.
pub(crate) fn commit(store: &Store, tree: WorkTree) -> Result<Snapshot> {
    let WorkTree { root, base, upper, scratch, opened, label, shares } = tree;
    let mut mount = Some(root);
    let changes = Changes { base: &base, upper: &upper, scratch: &scratch, opened: time(opened), label, shares };
    let result = commit_upper(store, changes, &mut mount);
    // Empty directories are removed in the background. Anything else takes space that the caller
    // may need next, so it is removed now.
    let is_spent = result.as_ref().is_ok_and(|snapshot| *snapshot == base || !upper.exists());
    if is_spent {
        store.state.remove_scratch_later(scratch, mount);
        return result;
    }
    drop(mount);
    let removed = sys::remove_tree(&scratch).attempt(|| format!("remove `{}`", scratch.display()));
    let snapshot = result?;
    removed.map(|()| snapshot)
}

/// What was collected over a base.
struct Changes<'a> {
    base: &'a Snapshot,
    upper: &'a Path,
    scratch: &'a Path,
    opened: Time,
    label: Label,
    shares: Vec<LayerId>,
}

/// The mount is taken down before anything below it changes; it is left where nothing does.
fn commit_upper(store: &Store, changes: Changes<'_>, mount: &mut Option<OwnedFd>) -> Result<Snapshot> {
    let Changes { base, upper, scratch, opened, label, shares } = changes;
    let failed = || format!("read the changes in `{}`", upper.display());
    let root = sys::open_dir(upper).attempt(failed)?;
    let mut nodes = match scan::scan(&root, store.state.user_xattrs) {
        Err(e) if scan::is_too_deep(&e) => return Err(Fault::user(e.to_string())),
        scanned => scanned.attempt(failed)?,
    };
    let below = Below::open(store, base, &nodes, opened)?;
    if nodes.len() > 1 {
        drop(mount.take());
    }
    let inherited = normalise(&root, &below, &mut nodes, opened, store.state.user_xattrs).attempt(failed)?;
    if nodes.is_empty() {
        return Ok(base.clone());
    }
    drop(mount.take());
    let contents = scan::hash_files(root.as_fd(), &nodes).attempt(failed)?;
    let times = Times { opened: Some(opened), inherited };
    let layer = layer_id(&nodes, &contents, &times);
    let mut info = LayerInfo::new(&nodes, times, label);
    info.shares = shared_inodes::sharing_closure(store, &shares);
    store.commit_layer(&layer, upper, scratch, info, &|there| {
        shared_inodes::conflicts_with(store, base, &there.shares)
    })?;
    Ok(base.with(layer))
}

/// Takes out of `nodes`, and out of the directory `root`, what is no change over `below`:
/// directories that were only copied up, and marks that hide nothing. Gives the paths whose
/// modification time is that of the entry below. Without any change, `nodes` is empty afterwards.
fn normalise(
    root: &OwnedFd,
    below: &Below,
    nodes: &mut Vec<Node>,
    opened: Time,
    user: bool,
) -> std::io::Result<Vec<String>> {
    let lower = nodes.iter().map(|node| below.find(node, opened, user)).collect::<std::io::Result<Vec<_>>>()?;
    for (node, lower) in nodes.iter_mut().zip(&lower) {
        if node.opaque && !lower.as_ref().is_some_and(|lower| lower.kind == NodeKind::Dir) {
            let dir = sys::open_below(root.as_fd(), &node.path, sys::DIR)?;
            sys::remove_xattr(&sys::fd_path(dir.as_fd(), b""), scan::opaque_xattr(user))?;
            node.opaque = false;
        }
    }
    let parents = parents(nodes);
    let mut changed_below = vec![false; nodes.len()];
    let mut idle = vec![false; nodes.len()];
    for index in (0..nodes.len()).rev() {
        idle[index] = !changed_below[index] && is_idle(&nodes[index], lower[index].as_ref(), opened);
        if !idle[index] && index > 0 {
            changed_below[parents[index]] = true;
        }
    }
    if idle[0] {
        nodes.clear();
        return Ok(Vec::new());
    }
    remove_idle(root, nodes, &parents, &idle)?;
    let inherited = |index: usize| lower[index].as_ref().is_some_and(|lower| lower.mtime == nodes[index].mtime);
    let inherited = (0..nodes.len()).filter(|index| !idle[*index] && inherited(*index));
    let inherited = inherited.map(|index| byte_text(&nodes[index].path)).collect();
    let mut keep = idle.iter().map(|idle| !idle);
    nodes.retain(|_| keep.next().unwrap_or(true));
    Ok(inherited)
}

/// What the changes lie on.
struct Below {
    /// The root of the uppermost layer, which is the root that an overlay shows. `None` if nothing
    /// is below.
    top: Option<OwnedFd>,
    /// The whole base, when more than its root is asked for.
    all: Option<OwnedFd>,
}

impl Below {
    /// Opens as much of `base` as the questions about `nodes` need: a process that changed nothing
    /// costs no overlay.
    fn open(store: &Store, base: &Snapshot, nodes: &[Node], opened: Time) -> Result<Self> {
        let top = base.layers().last().map(|layer| store.layer_root(layer)).transpose()?;
        let asks = top.is_some() && nodes.iter().any(|node| !node.path.is_empty() && may_cover(node, opened));
        let all = if asks { Some(mounts::view(store, base)?.root) } else { None };
        Ok(Self { top, all })
    }

    /// The entry that `node` covers. Entries that were certainly written anew are not looked up.
    fn find(&self, node: &Node, opened: Time, user: bool) -> std::io::Result<Option<Node>> {
        if node.path.is_empty() {
            return match &self.top {
                Some(top) => scan::node(top.as_fd(), b"", b"", user).map(Some),
                None => Ok(Some(bare_root())),
            };
        }
        let Some(all) = self.all.as_ref().filter(|_| may_cover(node, opened)) else { return Ok(None) };
        let Ok(parent) = sys::open_below(all.as_fd(), scan::parent(&node.path), OFlags::PATH | OFlags::DIRECTORY)
        else {
            return Ok(None);
        };
        Ok(scan::node(parent.as_fd(), &node.path, scan::base_name(&node.path), user).ok())
    }
}

/// Whether an entry may have come from below.
fn may_cover(node: &Node, opened: Time) -> bool {
    node.kind != NodeKind::Whiteout && (node.kind == NodeKind::Dir || node.mtime < opened)
}

fn bare_root() -> Node {
    Node {
        path: Vec::new(),
        kind: NodeKind::Dir,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        device: (0, 0),
        size: 0,
        mtime: (0, 0),
        shared: None,
        target: Vec::new(),
        xattrs: Default::default(),
        opaque: false,
    }
}

/// Whether a directory says nothing that the one below does not say. A new modification time alone
/// is no change: names that came and went leave it behind.
fn is_idle(node: &Node, lower: Option<&Node>, opened: Time) -> bool {
    let Some(lower) = lower else { return false };
    node.kind == NodeKind::Dir
        && lower.kind == NodeKind::Dir
        && !node.opaque
        && (node.mode, node.uid, node.gid) == (lower.mode, lower.uid, lower.gid)
        && node.xattrs == lower.xattrs
        && (node.mtime == lower.mtime || node.mtime >= opened)
}

/// For each entry, the index of the directory that holds it.
fn parents(nodes: &[Node]) -> Vec<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut parents = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let parent = scan::parent(&node.path);
        while open.len() > 1 && open.last().is_some_and(|last| nodes[*last].path != parent) {
            open.pop();
        }
        parents.push(open.last().copied().unwrap_or(0));
        if node.kind == NodeKind::Dir {
            open.push(index);
        }
    }
    parents
}

fn remove_idle(root: &OwnedFd, nodes: &[Node], parents: &[usize], idle: &[bool]) -> std::io::Result<()> {
    let mut touched = Vec::new();
    for index in (0..nodes.len()).rev().filter(|index| idle[*index]) {
        let dir = sys::open_below(root.as_fd(), scan::parent(&nodes[index].path), sys::DIR)?;
        let name = scan::base_name(&nodes[index].path);
        rustix::fs::unlinkat(&dir, name, rustix::fs::AtFlags::REMOVEDIR)?;
        if !idle[parents[index]] {
            touched.push(parents[index]);
        }
    }
    for index in touched {
        let dir = sys::open_below(root.as_fd(), &nodes[index].path, sys::DIR)?;
        rustix::fs::futimens(&dir, &sys::timestamps(nodes[index].mtime))?;
    }
    Ok(())
}

fn time(opened: SystemTime) -> Time {
    let since = opened.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}
