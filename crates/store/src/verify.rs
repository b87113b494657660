//! Verification, disk usage and pruning to a given set.

use std::collections::HashSet;
use std::fs;

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::{Attempt, Result, lock, write_lock};
use rondel_model::LayerId;
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Compression, LayerBlob, Verification};
use serde::Serialize;

use crate::blobs;
use crate::layer_info::LayerOnDisk;
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::{layers, sys};

/// Returns what is wrong with an index entry, or `None` if it is valid.
pub type Check<'a> = dyn Fn(Table, &Digest, &[u8]) -> Option<String> + 'a;

/// Number and size of what is in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Layers.
    pub layers: u64,
    /// The sum of the sizes of the files in them. Layers that were merged share files with their
    /// parts.
    pub layer_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// The sum of their sizes.
    pub blob_bytes: u64,
    /// Entries of the result index.
    pub results: u64,
}

/// The tables whose entries refer to snapshots and values.
const RESULTS: [(Table, IndexTable); 4] = [
    (Table::Ops, IndexTable::Ops),
    (Table::Calls, IndexTable::Calls),
    (Table::Types, IndexTable::Types),
    (Table::Images, IndexTable::Images),
];

impl Store {
    /// The space that the store takes on disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        usage(self)
    }

    /// Removes every layer that is not in `keep`, and every blob that is neither in `keep_blobs`
    /// nor the packed form of a kept layer. Only kept layers may be mounted meanwhile.
    ///
    /// # Errors
    /// When something cannot be removed. What was removed before stays removed.
    pub fn prune(&self, keep: &HashSet<LayerId>, keep_blobs: &HashSet<Sha256Digest>) -> Result<Usage> {
        prune(self, keep, keep_blobs)
    }

    /// Checks every layer and blob, and that every result can be read.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_with(&|_, _, _| None)
    }

    /// Checks every layer and blob, and every result with `check`.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify_with(&self, check: &Check<'_>) -> Result<Verification> {
        verify(self, check)
    }
}

fn usage(store: &Store) -> Result<Usage> {
    let mut usage =
        Usage { results: RESULTS.iter().map(|(_, space)| store.index.count(*space)).sum(), ..Usage::default() };
    for layer in layers::list(store)? {
        usage.layers += 1;
        usage.layer_bytes += store.inspect(&layer).map_or(0, |info| info.bytes);
    }
    for blob in blobs::list(store)? {
        usage.blobs += 1;
        usage.blob_bytes += fs::metadata(blobs::path_of(store, &blob)).map_or(0, |meta| meta.len());
    }
    Ok(usage)
}

/// Checks everything. What is damaged is set aside, so that it is no hit for anybody.
fn verify(store: &Store, check: &Check<'_>) -> Result<Verification> {
    let mut found = Verification { problems: store.index.check()?, ..Verification::default() };
    for layer in layers::list(store)? {
        match verify_layer(store, &layer) {
            Ok(None) => found.layers += 1,
            Ok(Some(problem)) => {
                let problem = format!("the layer `{layer}` {problem}");
                if quarantine_layer(store, &layer, &problem) {
                    found.problems.push(problem);
                }
            }
            Err(fault) => found.problems.extend(store.layer_dir(&layer).exists().then(|| fault.to_string())),
        }
    }
    for blob in blobs::list(store)? {
        match blobs::digest_on_disk(store, &blob) {
            Ok(actual) if actual == blob => found.blobs += 1,
            Ok(actual) => {
                let problem = format!("the blob `{blob}` has content with the digest `{actual}`");
                let mut used = lock(&store.blobs_used);
                used.remove(&blob);
                store.quarantine(&blobs::path_of(store, &blob), &problem);
                drop(used);
                found.problems.push(problem);
            }
            Err(fault) => found.problems.extend(blobs::path_of(store, &blob).exists().then(|| fault.to_string())),
        }
    }
    for (space, key) in store.index.drop_damaged() {
        found.problems.push(format!("the entry `{}` of the index, in its part {space}, is damaged", key.short()));
    }
    for (table, space) in RESULTS {
        store.index.each_in(space, &mut |key, value| match check(table, &key, value) {
            None => found.results += 1,
            Some(problem) => found.problems.push(format!("the entry `{}` of {table:?}: {problem}", key.short())),
        })?;
    }
    Ok(found)
}

fn verify_layer(store: &Store, layer: &LayerId) -> Result<Option<String>> {
    match store.check_layer(layer)? {
        LayerOnDisk::Intact(info) => layers::problem(store, layer, &info),
        LayerOnDisk::Damaged(why) => Ok(Some(why)),
        LayerOnDisk::Missing => Ok(None),
    }
}

/// Whether it was there, damaged: it may have been removed while it was looked at.
// ORDER: under the lock under which layers are removed and become known.
fn quarantine_layer(store: &Store, layer: &LayerId, problem: &str) -> bool {
    let mut known = write_lock(&store.layer_cache);
    let folder = store.layer_dir(layer);
    let is_there = folder.exists();
    if is_there {
        known.remove(layer);
        store.quarantine(&folder, problem);
    }
    is_there
}

fn prune(store: &Store, keep: &HashSet<LayerId>, keep_blobs: &HashSet<Sha256Digest>) -> Result<Usage> {
    let before = usage(store)?;
    for layer in layers::list(store)?.into_iter().filter(|layer| !keep.contains(layer)) {
        if let Ok(mut known) = store.layer_cache.write() {
            known.remove(&layer);
        }
        store.state.trash(&store.layer_dir(&layer))?;
    }
    forget(store, IndexTable::Diffs, keep)?;
    forget(store, IndexTable::Flattened, keep)?;
    let mut packed = keep_blobs.clone();
    for layer in keep {
        for compression in Compression::ALL {
            let blob: Option<LayerBlob> = store.get_fact(IndexTable::Packed, &blobs::key_of_packed(layer, compression));
            packed.extend(blob.map(|blob| blob.digest));
        }
    }
    for blob in blobs::list(store)?.into_iter().filter(|blob| !packed.contains(blob)) {
        let path = blobs::path_of(store, &blob);
        sys::remove_tree(&path).attempt(|| format!("remove `{}`", path.display()))?;
    }
    store.flush_trash();
    let after = usage(store)?;
    Ok(Usage {
        layers: before.layers.saturating_sub(after.layers),
        layer_bytes: before.layer_bytes.saturating_sub(after.layer_bytes),
        blobs: before.blobs.saturating_sub(after.blobs),
        blob_bytes: before.blob_bytes.saturating_sub(after.blob_bytes),
        results: 0,
    })
}

fn forget(store: &Store, space: IndexTable, keep: &HashSet<LayerId>) -> Result<()> {
    let mut gone = Vec::new();
    store.index.each_in(space, &mut |key, value| {
        let layer: Option<LayerId> = serde_json::from_slice(value).ok();
        if layer.is_none_or(|layer| !keep.contains(&layer)) {
            gone.push(key);
        }
    })?;
    gone.iter().try_for_each(|key| store.index.remove_in(space, key))
}
