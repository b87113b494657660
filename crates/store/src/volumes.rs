//! Cache volumes: folders whose names and uses are kept beside them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rondel_digest::Digest;
use rondel_fault::{Attempt, Result};
use serde::{Deserialize, Serialize};

use crate::sqlite::IndexTable;
use crate::{Store, last_used};

/// Uses closer to each other than this are not told apart on disk, in milliseconds.
const CLOCK_GRANULARITY_MS: i64 = 30_000;

/// What is known of one volume.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct VolumeUse {
    pub(crate) name: String,
    #[serde(rename = "made")]
    pub(crate) created_at: i64,
    #[serde(rename = "used")]
    pub(crate) last_used: i64,
    /// The use that is on disk.
    #[serde(skip)]
    persisted: i64,
    /// What it takes on disk, and when that was found out.
    #[serde(skip)]
    size: Option<(u64, i64)>,
}

/// The folder of the volume `name`, made when missing.
// ORDER: it is used under the lock under which volumes are removed.
pub(crate) fn open(store: &Store, name: &str) -> Result<PathBuf> {
    let key = Digest::of_bytes(name.as_bytes());
    let path = path_of(store, &key);
    let mut known = store.volumes_used.lock().unwrap_or_else(PoisonError::into_inner);
    fs::create_dir_all(&path).attempt(|| format!("make the cache volume `{name}`"))?;
    let now = last_used::now();
    let volume = known.entry(key).or_insert_with(|| stored_use(store, &key));
    if volume.name.is_empty() {
        *volume = VolumeUse { name: name.to_owned(), created_at: now, last_used: now, persisted: now, size: None };
        store.put_fact(IndexTable::Volumes, &key, volume)?;
    }
    volume.last_used = now;
    Ok(path)
}

/// What is known of the volume `key`, without using it.
pub(crate) fn inspect(store: &Store, key: &Digest) -> VolumeUse {
    let mut known = store.volumes_used.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(*key).or_insert_with(|| stored_use(store, key)).clone()
}

/// What the volume `key` takes on disk. It is looked at again when it was used since.
pub(crate) fn size(store: &Store, key: &Digest) -> u64 {
    let known = inspect(store, key);
    if let Some((bytes, then)) = known.size.filter(|(_, then)| known.last_used < *then) {
        let _ = then;
        return bytes;
    }
    let now = last_used::now();
    let bytes = disk_usage(&path_of(store, key));
    if let Some(volume) = store.volumes_used.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
        volume.size = Some((bytes, now));
    }
    bytes
}

/// Removes the volume `key` unless it was used since `in_use_since`.
pub(crate) fn remove(store: &Store, key: &Digest, in_use_since: i64) -> Result<bool> {
    let mut known = store.volumes_used.lock().unwrap_or_else(PoisonError::into_inner);
    if known.get(key).is_some_and(|volume| volume.last_used >= in_use_since) {
        return Ok(false);
    }
    known.remove(key);
    store.state.trash(&path_of(store, key))?;
    Ok(true)
}

/// Writes the uses that are not on disk yet.
pub(crate) fn write_uses(store: &Store) {
    let due: Vec<(Digest, VolumeUse)> = {
        let mut known = store.volumes_used.lock().unwrap_or_else(PoisonError::into_inner);
        let due = known.iter_mut().filter(|(_, volume)| volume.last_used - volume.persisted >= CLOCK_GRANULARITY_MS);
        due.map(|(key, volume)| {
            volume.persisted = volume.last_used;
            (*key, volume.clone())
        })
        .collect()
    };
    for (key, volume) in due {
        // What cannot be persisted is known until the engine ends.
        let _ = store.put_fact(IndexTable::Volumes, &key, &volume);
    }
}

fn stored_use(store: &Store, key: &Digest) -> VolumeUse {
    let mut volume: VolumeUse = store.get_fact(IndexTable::Volumes, key).unwrap_or_default();
    volume.persisted = volume.last_used;
    volume
}

fn path_of(store: &Store, key: &Digest) -> PathBuf {
    store.state.path("volumes").join(key.hex())
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
