//! Space on the disk: how much is free, how much a tree takes, and making room on a full disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Result};

use crate::last_used::LastUsed;
use crate::state_dir::StateDir;
use crate::sys;

/// A disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub size: u64,
    /// What is free on it, for whom the engine runs as.
    pub free: u64,
}

/// What has to be free when the store is opened: the index writes a little.
const ROOM: u64 = 4 << 20;

/// The disk that holds the state directory.
pub(crate) fn disk(state: &StateDir) -> Result<Disk> {
    let found = rustix::fs::statvfs(state.root()).attempt(|| format!("look at `{}`", state.root().display()))?;
    Ok(Disk { size: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize })
}

/// Makes a little room on a full disk, before there is an index: with what was thrown away, then with the layers that
/// were not used for longest, which are made again when somebody needs them.
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

/// What the tree at `path` takes on disk, in bytes; what cannot be read counts nothing.
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
