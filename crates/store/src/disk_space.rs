//! Space on the disk: how much is free, how much a tree takes, and making room on a full disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Result};

use crate::last_used::LastUsed;
use crate::state_dir::StateDir;
use crate::sys;

/// Size and free space of a disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// The size of the disk.
    pub size: u64,
    /// The space that is free for the user that runs the engine.
    pub free: u64,
}

/// The space that must be free to open the store: the index writes a little.
const ROOM: u64 = 4 << 20;

/// The disk that holds the state directory.
pub(crate) fn disk(state: &StateDir) -> Result<Disk> {
    let found = rustix::fs::statvfs(state.root()).attempt(|| format!("look at `{}`", state.root().display()))?;
    Ok(Disk { size: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize })
}

/// Frees a little space on a full disk before the index is opened: empties the trash, then removes
/// the least recently used layers. Removed layers are built again when they are needed.
pub(crate) fn free_space(state: &StateDir) -> Result<()> {
    if disk(state)?.free >= ROOM {
        return Ok(());
    }
    state.flush_trash();
    if disk(state)?.free >= ROOM {
        return Ok(());
    }
    let folder = state.path("layers");
    let entries = fs::read_dir(&folder).attempt(|| format!("list `{}`", folder.display()))?;
    let mut layers: Vec<(i64, PathBuf)> = entries
        .flatten()
        .map(|entry| (LastUsed::from_mtime(&entry.path().join("meta.json")).millis(), entry.path()))
        .collect();
    layers.sort_unstable();
    let mut freed = 0;
    for (_, layer) in layers {
        if freed >= ROOM || disk(state)?.free >= ROOM {
            break;
        }
        freed += disk_usage(&layer);
        let _ = fs::remove_file(layer.join("meta.json"));
        sys::remove_tree(&layer).attempt(|| format!("remove `{}`", layer.display()))?;
    }
    Ok(())
}

/// The size of the tree at `path` on disk, in bytes. Unreadable entries count zero.
pub(crate) fn disk_usage(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let mut bytes = meta.blocks() * 512;
    let mut folders = if meta.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
