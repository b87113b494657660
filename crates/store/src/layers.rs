//! Layers on disk: what is known of one, and stacks of them as mounts.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{Label, Tree, WorkTree};
use rustix::fs::{CWD, Gid, Mode, RenameFlags, Uid, renameat_with};
use serde::{Deserialize, Serialize};

use crate::last_used::{self, LastUsed};
use crate::layer_digest::{Times, link_targets};
use crate::scan::{self, Node, NodeKind};
use crate::sys::{self, Time};
use crate::{Store, flatten, overlay, verify};

/// What `meta.json` of a layer says. The file's own modification time is when the layer was used last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    /// The version of this record.
    pub(crate) version: u32,
    /// How many entries the layer has, its root included.
    pub(crate) entries: u64,
    /// The sum of the sizes of its files.
    pub(crate) bytes: u64,
    /// It hides nothing of a lower layer, so that it can be shown without an overlay.
    #[serde(rename = "plain")]
    pub(crate) has_no_whiteouts: bool,
    /// Which modification times are no content.
    pub(crate) times: Times,
    /// About what it takes on disk; zero: unknown.
    #[serde(default)]
    pub(crate) disk: u64,
    /// When it was made, in milliseconds since the Unix epoch; zero: unknown.
    #[serde(default, rename = "made")]
    pub(crate) created_at: i64,
    /// What made it.
    #[serde(default)]
    pub(crate) label: Label,
    /// The layers with which it may have files in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shares: Vec<LayerId>,
    /// Some of its files have several names in it; unknown counts as such.
    #[serde(default = "unknown", rename = "linked")]
    pub(crate) has_hardlinks: bool,
    /// Its root directory, as it was left. `None`: it was made before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<RootDir>,
    /// When it was used last.
    #[serde(skip)]
    pub(crate) last_used: LastUsed,
    /// When its root directory was looked at last, in milliseconds.
    #[serde(skip)]
    root_checked_at: AtomicI64,
}

/// What tells the root directory of a layer from another one, and from itself with other entries. A rename leaves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct RootDir {
    inode: u64,
    modified: Time,
}

impl RootDir {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        let nanoseconds = u32::try_from(meta.mtime_nsec()).unwrap_or_default();
        Ok(Self { inode: meta.ino(), modified: (meta.mtime(), nanoseconds) })
    }
}

/// For so long nobody looks at the root directory of a layer again, in milliseconds: stacks are high, and looked at often.
const ROOT_CHECK_INTERVAL_MS: i64 = 250;

fn unknown() -> bool {
    true
}

/// What an entry takes on disk beside its content, and the size of a block.
const BLOCK: u64 = 4096;

impl LayerInfo {
    pub(crate) fn new(nodes: &[Node], times: Times, label: Label) -> Self {
        let size = |node: &Node| match node.kind {
            NodeKind::File => node.size.div_ceil(BLOCK) * BLOCK,
            NodeKind::Dir => BLOCK,
            _ => 0,
        };
        Self {
            version: 1,
            entries: nodes.len() as u64,
            bytes: nodes.iter().map(|node| node.size).sum(),
            has_no_whiteouts: !nodes.iter().any(|node| node.opaque || node.kind == NodeKind::Whiteout),
            times,
            disk: nodes.iter().map(size).sum::<u64>() + BLOCK,
            created_at: last_used::now(),
            label,
            shares: Vec::new(),
            has_hardlinks: !link_targets(nodes).is_empty(),
            root: None,
            last_used: LastUsed::now(),
            root_checked_at: AtomicI64::default(),
        }
    }
}

impl Store {
    /// What is known of `layer`, which is used by that; none when it is not here.
    pub(crate) fn touch_layer(&self, layer: &LayerId) -> Option<Arc<LayerInfo>> {
        if let Some(info) = self.layer_cache.read().ok()?.get(layer).filter(|info| self.is_root_unchanged(layer, info))
        {
            info.last_used.touch();
            return Some(info.clone());
        }
        let info = self.read_layer(layer)?;
        info.last_used.touch();
        Some(info)
    }

    /// What is known of `layer`, without using it.
    pub(crate) fn inspect(&self, layer: &LayerId) -> Option<Arc<LayerInfo>> {
        if let Some(info) = self.layer_cache.read().ok()?.get(layer).filter(|info| self.is_root_unchanged(layer, info))
        {
            return Some(info.clone());
        }
        self.read_layer(layer)
    }

    /// Whether the root directory of `layer` is the one that was left there.
    fn is_root_unchanged(&self, layer: &LayerId, info: &LayerInfo) -> bool {
        let now = last_used::now();
        if (now - info.root_checked_at.load(Ordering::Relaxed)).abs() < ROOT_CHECK_INTERVAL_MS {
            return true;
        }
        let root = RootDir::of(&self.layer_dir(layer).join("fs"));
        let same = root.is_ok_and(|root| info.root.is_none_or(|left| left == root));
        if same {
            info.root_checked_at.store(now, Ordering::Relaxed);
        }
        same
    }

    // ORDER: what is read becomes known under the same lock under which layers are removed.
    fn read_layer(&self, layer: &LayerId) -> Option<Arc<LayerInfo>> {
        let mut known = self.layer_cache.write().ok()?;
        if let Some(info) = known.get(layer).filter(|info| self.is_root_unchanged(layer, info)) {
            return Some(info.clone());
        }
        known.remove(layer);
        match self.check_layer(layer) {
            Ok(LayerOnDisk::Intact(info)) => {
                let info = Arc::new(*info);
                known.insert(*layer, info.clone());
                Some(info)
            }
            Ok(LayerOnDisk::Damaged(why)) => {
                self.quarantine(&self.layer_dir(layer), &format!("the layer `{}` {why}", layer.0.short()));
                None
            }
            // What cannot be looked at now is not here now.
            Ok(LayerOnDisk::Missing) | Err(_) => None,
        }
    }

    /// What is there of `layer`. It is compared with its name when a machine that stopped may have damaged it, and when its
    /// root directory is not the one that was left: a state folder may have been moved to another disk.
    pub(crate) fn check_layer(&self, layer: &LayerId) -> Result<LayerOnDisk> {
        let folder = self.layer_dir(layer);
        let path = folder.join("meta.json");
        let failed = || format!("read `{}`", path.display());
        let text = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !folder.exists() => return Ok(LayerOnDisk::Missing),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(LayerOnDisk::Damaged("has no record".into()));
            }
            Err(e) if e.kind() == std::io::ErrorKind::IsADirectory => return Ok(LayerOnDisk::damaged_record()),
            other => other.attempt(failed)?,
        };
        let Ok(mut info) = serde_json::from_slice::<LayerInfo>(&text) else { return Ok(LayerOnDisk::damaged_record()) };
        info.last_used = LastUsed::from_mtime(&path);
        let root = match RootDir::of(&folder.join("fs")) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(LayerOnDisk::Damaged("has no files".into()));
            }
            other => other.attempt(failed)?,
        };
        let moved = info.root.is_some_and(|left| left != root);
        info.root = Some(root);
        if moved || self.state.suspects.is_layer_suspect(layer) {
            if let Some(why) = verify::problem(self, layer, &info)? {
                return Ok(LayerOnDisk::Damaged(why));
            }
            self.state.suspects.mark_layer_verified(layer);
        }
        if moved {
            rewrite(&path, &info);
        }
        Ok(LayerOnDisk::Intact(Box::new(info)))
    }

    /// The folder of `layer`.
    pub(crate) fn layer_dir(&self, layer: &LayerId) -> PathBuf {
        self.state.path("layers").join(layer.0.hex())
    }

    /// The root directory of `layer`, open for listing.
    pub(crate) fn layer_root(&self, layer: &LayerId) -> Result<OwnedFd> {
        let path = self.layer_dir(layer).join("fs");
        sys::open_dir(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Fault::environment(format!("the layer `{}` is missing in the store", layer.0.short()))
            }
            _ => Fault::environment(format!("cannot open `{}`", path.display())).caused_by(e),
        })
    }

    /// Puts the directory `fs` into the store as `layer`; `scratch` is on the same file system. When the layer exists
    /// already, `fs` is left where it is, unless `replaces` says of what is there that it cannot be used.
    // ORDER: the rename of the folder that holds content and record is the commit; before it nothing can be seen.
    pub(crate) fn commit_layer(
        &self,
        layer: &LayerId,
        fs_dir: &Path,
        scratch: &Path,
        info: LayerInfo,
        replaces: &dyn Fn(&LayerInfo) -> bool,
    ) -> Result<()> {
        let there = self.touch_layer(layer);
        let replace = there.as_ref().is_some_and(|there| replaces(there));
        if there.is_some() && !replace {
            return Ok(());
        }
        let staged = scratch.join("layer");
        let mut info = info;
        let mut commit = || -> std::io::Result<()> {
            info.root = Some(RootDir::of(fs_dir)?);
            fs::create_dir(&staged)?;
            fs::write(staged.join("meta.json"), serde_json::to_vec(&info)?)?;
            fs::rename(fs_dir, staged.join("fs"))?;
            match fs::rename(&staged, self.layer_dir(layer)) {
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists
                    ) =>
                {
                    // Somebody else may have kept it meanwhile. What is no layer gives way.
                    if replace || self.inspect(layer).is_none() {
                        renameat_with(CWD, &staged, CWD, self.layer_dir(layer), RenameFlags::EXCHANGE)?;
                        // Processes may run on what was there: it stays whole until the engine ends.
                        fs::rename(&staged, self.state.scratch_dir().map_err(std::io::Error::other)?.join("replaced"))?;
                    }
                    Ok(())
                }
                other => other,
            }
        };
        commit().attempt(|| format!("keep the layer `{}`", layer.0.short()))?;
        self.state.suspects.mark_layer_verified(layer);
        let mut known = self.layer_cache.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(*layer, Arc::new(info));
        Ok(())
    }
}

/// What was found where a layer should be.
pub(crate) enum LayerOnDisk {
    Intact(Box<LayerInfo>),
    /// Why it is no layer.
    Damaged(String),
    Missing,
}

impl LayerOnDisk {
    fn damaged_record() -> Self {
        Self::Damaged("has no readable record".into())
    }
}

/// Writes the record at `path` anew; its time, which is the last use, stays.
fn rewrite(path: &Path, info: &LayerInfo) {
    let new = path.with_extension("new");
    let written = serde_json::to_vec(info).map_err(std::io::Error::other).and_then(|text| fs::write(&new, text));
    last_used::write_mtime(&new, info.last_used.millis());
    // What cannot be written now is found out again the next time.
    let _ = written.and_then(|()| fs::rename(&new, path));
}

/// A read-only view of `snapshot`.
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

/// A read-only view of `snapshot` for a process. The list of mounts shows the path of what a clone
/// was made of, and of an overlay only the descriptors that it was made with.
pub(crate) fn view_for_process(store: &Store, snapshot: &Snapshot) -> Result<Tree> {
    let stack = flatten::mountable(store, snapshot)?;
    if stack.is_empty() {
        return view(store, snapshot);
    }
    Ok(Tree { root: overlay_view(store, &stack)? })
}

/// A read-only overlay of at least one layer.
fn overlay_view(store: &Store, stack: &[LayerId]) -> Result<OwnedFd> {
    let mut roots = roots(store, stack)?;
    if roots.len() == 1 {
        roots.insert(0, open_empty(store)?);
    }
    overlay::overlay(&roots, None, store.state.user_xattrs, store.state.root())
}

/// A writable state on top of `snapshot`.
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

/// Gives the root of a new upper directory what the root below it has: an overlay shows the upper one.
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
