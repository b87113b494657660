//! Snapshots as mounts: read-only views, and writable trees.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rondel_fault::{Attempt, Result};
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{Label, Tree, WorkTree};
use rustix::fs::{Gid, Mode, Uid};

use crate::store::Store;
use crate::sys::{self, Time};
use crate::{flatten, overlay, scan};

/// Mounts a read-only view of `snapshot`.
pub(crate) fn view(store: &Store, snapshot: &Snapshot) -> Result<Tree> {
    let stack = flatten::mountable(store, snapshot)?;
    let root = match stack[..] {
        [] => overlay::clone_read_only(open_empty(store)?.as_fd())?,
        [single] if store.touch_layer(&single).is_some_and(|info| info.has_no_whiteouts) => {
            overlay::clone_read_only(store.layer_root(&single)?.as_fd())?
        }
        _ => overlay_view(store, &stack)?,
    };
    Ok(Tree { root })
}

/// Mounts a read-only view of `snapshot` for a process. A clone shows the path of its source in the
/// list of mounts, an overlay only the descriptors that it was made with.
pub(crate) fn view_for_process(store: &Store, snapshot: &Snapshot) -> Result<Tree> {
    let stack = flatten::mountable(store, snapshot)?;
    if stack.is_empty() {
        return view(store, snapshot);
    }
    Ok(Tree { root: overlay_view(store, &stack)? })
}

/// Mounts a read-only overlay of at least one layer.
fn overlay_view(store: &Store, stack: &[LayerId]) -> Result<OwnedFd> {
    let mut roots = roots(store, stack)?;
    if roots.len() == 1 {
        roots.insert(0, open_empty(store)?);
    }
    overlay::overlay(&roots, None, store.state.user_xattrs, store.state.root())
}

/// Mounts a writable tree on top of `snapshot`.
pub(crate) fn prepare(store: &Store, snapshot: &Snapshot) -> Result<WorkTree> {
    let stack = flatten::mountable(store, snapshot)?;
    let mut roots = roots(store, &stack)?;
    let bare = roots.is_empty();
    if bare {
        roots.push(open_empty(store)?);
    }
    let scratch = store.state.scratch_dir()?;
    let prepared = prepare_in(store, &scratch, &roots, bare);
    let (root, opened) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            let _ = sys::remove_tree(&scratch);
            return Err(fault);
        }
    };
    let opened = SystemTime::UNIX_EPOCH + Duration::new(opened.0.max(0).cast_unsigned(), opened.1);
    let label = Label::default();
    Ok(WorkTree {
        root,
        base: snapshot.clone(),
        upper: scratch.join("upper"),
        scratch,
        opened,
        label,
        shares: Vec::new(),
    })
}

fn prepare_in(store: &Store, scratch: &Path, roots: &[OwnedFd], bare: bool) -> Result<(OwnedFd, Time)> {
    let (upper_path, work_path) = (scratch.join("upper"), scratch.join("work"));
    let make = || -> std::io::Result<(OwnedFd, OwnedFd, Time)> {
        fs::create_dir(&upper_path)?;
        fs::create_dir(&work_path)?;
        let (upper, work) = (sys::open_dir(&upper_path)?, sys::open_dir(&work_path)?);
        let opened = sys::mtime(&rustix::fs::fstat(&work)?);
        match roots.last() {
            Some(below) if !bare => copy_root_attributes(&upper, below, store.state.user_xattrs)?,
            _ => {
                rustix::fs::fchmod(&upper, Mode::from_raw_mode(0o755))?;
                rustix::fs::futimens(&upper, &sys::timestamps((0, 0)))?;
            }
        }
        Ok((upper, work, opened))
    };
    let (upper, work, opened) = make().attempt(|| format!("prepare `{}`", scratch.display()))?;
    let writable = overlay::Writable { upper: upper.as_fd(), work: work.as_fd() };
    let root = overlay::overlay(roots, Some(&writable), store.state.user_xattrs, scratch)?;
    Ok((root, opened))
}

/// Copies the attributes of the root below to a new upper directory: an overlay shows those of the
/// upper one.
fn copy_root_attributes(upper: &OwnedFd, below: &OwnedFd, user: bool) -> std::io::Result<()> {
    let node = scan::node(below.as_fd(), b"", b"", user)?;
    let stat = rustix::fs::fstat(below)?;
    rustix::fs::fchown(upper, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(upper, Mode::from_raw_mode(node.mode))?;
    let path = sys::fd_path(upper.as_fd(), b"");
    for (key, value) in sys::xattrs(&sys::fd_path(below.as_fd(), b"."))? {
        if scan::is_content_xattr(&key) || key == scan::OWNER_XATTR {
            sys::set_xattr(&path, &key, &value)?;
        }
    }
    Ok(rustix::fs::futimens(upper, &sys::timestamps(node.mtime))?)
}

fn roots(store: &Store, stack: &[LayerId]) -> Result<Vec<OwnedFd>> {
    stack.iter().map(|layer| store.layer_root(layer)).collect()
}

fn open_empty(store: &Store) -> Result<OwnedFd> {
    let path = store.state.empty_dir();
    sys::open_dir(&path).attempt(|| format!("open `{}`", path.display()))
}
