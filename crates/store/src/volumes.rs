//! Cache volumes: folders whose names and uses are kept beside them.

use std::fs;
use std::path::PathBuf;

use rondel_digest::Digest;
use rondel_fault::{Attempt, Result, lock};

use crate::disk_space::disk_usage;
use crate::last_used::{self, CLOCK_GRANULARITY_MS, VolumeUse};
use crate::sqlite::IndexTable;
use crate::store::Store;

/// The folder of the volume `name`, made when missing.
// ORDER: it is used under the lock under which volumes are removed.
pub(crate) fn open(store: &Store, name: &str) -> Result<PathBuf> {
    let key = Digest::of_bytes(name.as_bytes());
    let path = path_of(store, &key);
    let mut known = lock(&store.volumes_used);
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
    let mut known = lock(&store.volumes_used);
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
    if let Some(volume) = lock(&store.volumes_used).get_mut(key) {
        volume.size = Some((bytes, now));
    }
    bytes
}

/// Removes the volume `key` unless it was used since `in_use_since`.
pub(crate) fn remove(store: &Store, key: &Digest, in_use_since: i64) -> Result<bool> {
    let mut known = lock(&store.volumes_used);
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
        let mut known = lock(&store.volumes_used);
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
