//! Flattening: merges the layers of a snapshot into one layer by hard links. No content is copied.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use rondel_fault::{Attempt, Result, lock};
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::Label;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io;

use crate::layer_digest::{Times, layer_id};
use crate::layer_info::LayerInfo;
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::{blobs, scan, sys};

/// The stack to mount for `snapshot`: the same content in no more layers than allowed.
pub(crate) fn mountable(store: &Store, snapshot: &Snapshot) -> Result<Vec<LayerId>> {
    let most = store.options.flatten_above.max(2);
    let mut stack = distinct(snapshot);
    while stack.len() > most {
        let merged = flatten(store, &Snapshot::new(&stack[..most]))?;
        stack.splice(..most, merged.layers().iter().copied());
    }
    Ok(stack)
}

/// The stack with only the uppermost occurrence of each layer, which decides everything that the
/// layer decides: an overlay cannot hold one twice.
pub(crate) fn distinct(snapshot: &Snapshot) -> Vec<LayerId> {
    let mut seen = HashSet::with_capacity(snapshot.layers().len());
    let mut stack: Vec<LayerId> = snapshot.layers().iter().rev().copied().filter(|layer| seen.insert(*layer)).collect();
    stack.reverse();
    stack
}

impl Store {
    /// Returns the stack of the one layer that has the content of all layers of `snapshot`.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn flatten(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        flatten(self, snapshot)
    }
}

/// The stack of the one layer that has the content of all of `snapshot`.
fn flatten(store: &Store, snapshot: &Snapshot) -> Result<Snapshot> {
    if snapshot.layers().len() < 2 {
        return Ok(snapshot.clone());
    }
    let known =
        |key| store.get_fact::<LayerId>(IndexTable::Flattened, key).filter(|layer| store.touch_layer(layer).is_some());
    let key = snapshot.digest();
    if let Some(layer) = known(&key) {
        return Ok(vec![layer].into());
    }
    let _one_at_a_time = lock(&store.flatten_lock);
    if let Some(layer) = known(&key) {
        return Ok(vec![layer].into());
    }
    let layer = merge(store, snapshot)?;
    store.put_fact(IndexTable::Flattened, &key, &layer)?;
    Ok(vec![layer].into())
}

fn merge(store: &Store, snapshot: &Snapshot) -> Result<LayerId> {
    let failed = || format!("merge {} layers into one", snapshot.layers().len());
    let highest_first: Vec<OwnedFd> =
        snapshot.layers().iter().rev().map(|layer| store.layer_root(layer)).collect::<Result<_>>()?;
    blobs::with_scratch(store, |scratch| {
        let path = scratch.join("upper");
        std::fs::create_dir(&path).attempt(failed)?;
        let root = sys::open_dir(&path).attempt(failed)?;
        merge_dirs(&highest_first, &root, store.state.user_xattrs).attempt(failed)?;
        let nodes = scan::scan(&root, store.state.user_xattrs).attempt(failed)?;
        let contents = scan::hash_files(root.as_fd(), &nodes).attempt(failed)?;
        let times = Times::default();
        let layer = layer_id(&nodes, &contents, &times);
        let label = Label::new("internal", "", format!("{} layers merged", snapshot.layers().len()));
        let mut info = LayerInfo::new(&nodes, times, label);
        // Its files are hard links to those of its parts.
        info.disk = nodes.iter().filter(|node| node.kind == scan::NodeKind::Dir).count() as u64 * 4096;
        store.commit_layer(&layer, &path, scratch, info, &|_| false)?;
        Ok(layer)
    })
}

/// What a name means in a stack of directories.
enum NameInStack {
    /// In the directory with this index.
    Entry(usize),
    /// Directories that are shown as one, highest first; closed: no lower one counts any more.
    Dirs(Vec<usize>, bool),
    Hidden,
}

/// Fills `target` with what the overlay of `dirs`, highest first, shows, and gives it the
/// attributes of the highest.
fn merge_dirs(dirs: &[OwnedFd], target: &OwnedFd, user: bool) -> io::Result<()> {
    let mut found: BTreeMap<CString, NameInStack> = BTreeMap::new();
    for (index, dir) in dirs.iter().enumerate() {
        for name in sys::names(dir.as_fd())? {
            note(&mut found, name, index, dir, user)?;
        }
    }
    for (name, found) in found {
        match found {
            NameInStack::Hidden => {}
            NameInStack::Entry(index) => link(&dirs[index], target, &name)?,
            NameInStack::Dirs(indices, _) => {
                let below = indices.iter().map(|index| sys::open_dir_at(dirs[*index].as_fd(), name.to_bytes()));
                let below = below.collect::<io::Result<Vec<_>>>()?;
                rustix::fs::mkdirat(target, &name, Mode::from_raw_mode(0o700))?;
                merge_dirs(&below, &sys::open_dir_at(target.as_fd(), name.to_bytes())?, user)?;
            }
        }
    }
    dirs.first().map_or(Ok(()), |highest| copy_attributes(highest, target))
}

fn note(
    found: &mut BTreeMap<CString, NameInStack>,
    name: CString,
    index: usize,
    dir: &OwnedFd,
    user: bool,
) -> io::Result<()> {
    let open = match found.get_mut(&name) {
        Some(NameInStack::Entry(_) | NameInStack::Hidden | NameInStack::Dirs(_, true)) => return Ok(()),
        Some(NameInStack::Dirs(indices, closed)) => Some((indices, closed)),
        None => None,
    };
    let stat = sys::stat_at(dir.as_fd(), &name)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        let path = sys::fd_path(dir.as_fd(), name.to_bytes());
        let opaque = sys::xattr(&path, scan::opaque_xattr(user))?.is_some_and(|value| value == b"y");
        match open {
            Some((indices, closed)) => {
                indices.push(index);
                *closed = opaque;
            }
            None => drop(found.insert(name, NameInStack::Dirs(vec![index], opaque))),
        }
        return Ok(());
    }
    match open {
        Some((_, closed)) => *closed = true,
        None if kind == FileType::CharacterDevice && stat.st_rdev == 0 => drop(found.insert(name, NameInStack::Hidden)),
        None => drop(found.insert(name, NameInStack::Entry(index))),
    }
    Ok(())
}

fn link(from: &OwnedFd, target: &OwnedFd, name: &CString) -> io::Result<()> {
    match rustix::fs::linkat(from, name, target, name, AtFlags::empty()) {
        Err(Errno::MLINK) => {}
        other => return Ok(other?),
    }
    let stat = sys::stat_at(from.as_fd(), name)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::MLINK.into());
    }
    let path = sys::fd_path(target.as_fd(), name.to_bytes());
    let source = File::open(sys::fd_path(from.as_fd(), name.to_bytes()))?;
    sys::copy_bytes(&source, &File::create_new(&path)?)?;
    rustix::fs::chownat(
        target,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::empty(),
    )?;
    for (key, value) in sys::xattrs(&sys::fd_path(from.as_fd(), name.to_bytes()))? {
        sys::set_xattr(&path, &key, &value)?;
    }
    rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    sys::set_mtime(target.as_fd(), name.to_bytes(), sys::mtime(&stat))
}

fn copy_attributes(from: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (key, value) in sys::xattrs(&sys::fd_path(from.as_fd(), b""))? {
        if scan::is_content_xattr(&key) || key == scan::OWNER_XATTR {
            sys::set_xattr(&sys::fd_path(target.as_fd(), b""), &key, &value)?;
        }
    }
    Ok(rustix::fs::futimens(target, &sys::timestamps(sys::mtime(&stat)))?)
}
