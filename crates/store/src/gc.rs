//! Garbage collection: lists the records of the store and prunes those that are not in use.
//!
//! A record is removed by one rename, under the lock under which it is looked up. A later lookup
//! misses. An earlier lookup counts as a use, which keeps the record. Results that refer to a
//! removed record are misses. They are deleted from the index last, so that pruning frees space
//! even on a full disk.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::{Attempt, Result, lock, read_lock, write_lock};
use rondel_model::LayerId;
use rondel_ports::cache::{Policy, PruneRequest, Pruned, Record, RecordKind};
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Compression, LayerBlob};

use crate::disk_space::Disk;
use crate::last_used::{self, LastUsed};
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::{blobs, disk_space, layers, sys, volumes};

/// Returns the layers that an index entry refers to. `None` means that it is not known to refer to
/// layers.
pub type Refers<'a> = dyn Fn(Table, &[u8]) -> Option<Vec<LayerId>> + 'a;

/// The directory of Git repositories in the state directory.
const REPOSITORIES: &str = "git/remotes";
impl Store {
    /// The disk that holds the state directory.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn disk(&self) -> Result<Disk> {
        disk_space::disk(&self.state)
    }

    /// The current time in milliseconds since the Unix epoch, from the clock that stamps uses.
    pub fn clock(&self) -> i64 {
        last_used::now()
    }

    /// Lists all records, unordered. Records used at or after `in_use_since` are active.
    ///
    /// # Errors
    /// When the state directory cannot be listed.
    pub fn records(&self, in_use_since: i64) -> Result<Vec<Record>> {
        let mut records = self.layer_records(in_use_since)?;
        for name in self.state.names("volumes")? {
            let Ok(key) = name.parse::<Digest>() else { continue };
            let known = volumes::inspect(self, &key);
            let readable = known.name.replace('\u{1f}', "/").replace('\u{1e}', " ");
            let description = if known.name.is_empty() { name.clone() } else { readable };
            records.push(Record {
                kind: RecordKind::Volume,
                id: name,
                record_type: "exec.cachemount".into(),
                description: description.trim_start_matches('/').to_owned(),
                call: "Query.cacheVolume".into(),
                bytes: volumes::size(self, &key),
                created_at: known.created_at,
                last_used: known.last_used,
                active: known.last_used >= in_use_since,
            });
        }
        records.extend(self.repositories(in_use_since));
        Ok(records)
    }

    fn layer_records(&self, in_use_since: i64) -> Result<Vec<Record>> {
        let mut sizes: HashMap<Sha256Digest, u64> = HashMap::new();
        let mut loose: HashMap<Sha256Digest, LastUsed> = HashMap::new();
        for blob in blobs::list(self)? {
            let path = blobs::path_of(self, &blob);
            let Ok(meta) = fs::metadata(&path) else { continue };
            sizes.insert(blob, meta.blocks() * 512);
            loose.insert(blob, LastUsed::from_mtime(&path));
        }
        let mut records = Vec::new();
        for layer in layers::list(self)? {
            let Some(info) = self.inspect(&layer) else { continue };
            let packed = self.packed(&layer);
            let used = info.last_used.millis();
            loose.retain(|blob, _| !packed.contains(blob));
            let own = if info.disk > 0 { info.disk } else { info.bytes + info.entries * 1024 };
            let label = &info.label;
            let described =
                if label.text.is_empty() { format!("layer {}", layer.0.short()) } else { label.text.clone() };
            records.push(Record {
                kind: RecordKind::Layer,
                id: layer.0.hex(),
                record_type: if label.kind.is_empty() { "regular".into() } else { label.kind.clone() },
                description: described,
                call: label.call.clone(),
                bytes: own + packed.iter().filter_map(|blob| sizes.get(blob)).sum::<u64>(),
                created_at: info.created_at,
                last_used: used,
                active: used >= in_use_since,
            });
        }
        let known = lock(&self.blobs_used);
        for (blob, stamp) in loose {
            let used = known.get(&blob).map_or(stamp.millis(), LastUsed::millis);
            records.push(Record {
                kind: RecordKind::Blob,
                id: blob.hex(),
                record_type: "internal".into(),
                description: format!("blob {blob}"),
                call: String::new(),
                bytes: sizes.get(&blob).copied().unwrap_or_default(),
                created_at: stamp.millis(),
                last_used: used,
                active: used >= in_use_since,
            });
        }
        Ok(records)
    }

    fn repositories(&self, in_use_since: i64) -> Vec<Record> {
        let folder = self.state.path(REPOSITORIES);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let record = |entry: fs::DirEntry| {
            let id = entry.file_name().into_string().ok()?;
            id.parse::<Digest>().ok()?;
            let path = entry.path();
            let used = LastUsed::from_mtime(&path).millis();
            let described = fs::read_to_string(path.join("description")).ok().filter(|text| !text.is_empty());
            Some(Record {
                kind: RecordKind::Repository,
                description: described.unwrap_or_else(|| format!("git repository {id}")),
                id,
                record_type: "source.git.checkout".into(),
                call: "Query.git".into(),
                bytes: disk_space::disk_usage(&path),
                created_at: LastUsed::from_mtime(&path.join("config")).millis(),
                last_used: used,
                active: used >= in_use_since,
            })
        };
        entries.filter_map(record).collect()
    }

    /// Prunes what `request` selects, least recently used first. Records used at or after
    /// `in_use_since` stay. Waits until the space is free.
    ///
    /// # Errors
    /// When something cannot be removed; what was removed until then stays removed.
    pub fn collect(
        &self,
        request: &PruneRequest,
        policy: &Policy,
        in_use_since: i64,
        refers: &Refers<'_>,
    ) -> Result<Pruned> {
        let _one_at_a_time = lock(&self.gc_lock);
        self.flush_trash();
        let mut records = self.records(in_use_since)?;
        let total: u64 = records.iter().map(|record| record.bytes).sum();
        let policy = request.policy.as_ref().unwrap_or(policy);
        let Some(keep) = policy.allows(total, self.disk()?.free) else {
            return Ok(Pruned { left: total, ..Pruned::default() });
        };
        if !request.dry_run {
            self.state.empty_quarantine();
        }
        let latest = last_used::now() - i64::try_from(request.unused_for.as_millis()).unwrap_or(i64::MAX);
        records.retain(|record| !record.active && record.last_used <= latest && wanted(request, record));
        // A newer layer may depend on an older one, so it goes first.
        records.sort_by_key(|record| (record.last_used, -record.created_at));
        let mut pruned = Pruned { left: total, ..Pruned::default() };
        for record in records {
            if pruned.left <= keep {
                break;
            }
            if request.dry_run || self.remove_record(&record, in_use_since)? {
                pruned.left = pruned.left.saturating_sub(record.bytes);
                pruned.bytes += record.bytes;
                pruned.records.push(record);
            }
        }
        if !request.dry_run && !pruned.records.is_empty() {
            self.flush_trash();
            self.forget_removed(refers);
        }
        Ok(pruned)
    }

    /// Writes the times of last use that are not on disk yet.
    pub fn write_uses(&self) {
        let layers: Vec<(LayerId, i64)> = {
            let known = read_lock(&self.layer_cache);
            known.iter().filter_map(|(layer, info)| Some((*layer, info.last_used.due()?))).collect()
        };
        for (layer, used) in layers {
            last_used::write_mtime(&self.layer_dir(&layer).join("meta.json"), used);
        }
        let blobs: Vec<(Sha256Digest, i64)> = {
            let known = lock(&self.blobs_used);
            known.iter().filter_map(|(blob, stamp)| Some((*blob, stamp.due()?))).collect()
        };
        for (blob, used) in blobs {
            last_used::write_mtime(&blobs::path_of(self, &blob), used);
        }
        volumes::write_uses(self);
        self.state.suspects.heartbeat();
    }

    fn remove_record(&self, record: &Record, in_use_since: i64) -> Result<bool> {
        match record.kind {
            RecordKind::Layer => {
                record.id.parse().map_or(Ok(false), |id| self.remove_layer(&LayerId(id), in_use_since))
            }
            RecordKind::Volume => record.id.parse().map_or(Ok(false), |key| volumes::remove(self, &key, in_use_since)),
            RecordKind::Blob => {
                let digest = format!("sha256:{}", record.id).parse();
                digest.map_or(Ok(false), |digest| self.remove_blob(&digest, in_use_since))
            }
            RecordKind::Repository => self.remove_repository(&record.id, in_use_since),
        }
    }

    /// A user of a repository holds its lock, and checks that the repository still exists after
    /// taking the lock.
    fn remove_repository(&self, id: &str, in_use_since: i64) -> Result<bool> {
        let path = self.state.path(REPOSITORIES).join(id);
        let Ok(folder) = fs::File::open(&path) else { return Ok(false) };
        if folder.try_lock().is_err() || LastUsed::from_mtime(&path).millis() >= in_use_since {
            return Ok(false);
        }
        self.state.trash(&path).map(|()| true)
    }

    fn remove_layer(&self, layer: &LayerId, in_use_since: i64) -> Result<bool> {
        let packed = self.packed(layer);
        let mut known = write_lock(&self.layer_cache);
        if known.get(layer).is_some_and(|info| info.last_used.millis() >= in_use_since) {
            return Ok(false);
        }
        let folder = self.layer_dir(layer);
        if self.state.trash(&folder).is_err() {
            // ORDER: without its record it is no layer any more, whatever is left of its directory.
            let path = folder.join("meta.json");
            fs::remove_file(&path).attempt(|| format!("remove `{}`", path.display()))?;
            known.remove(layer);
            sys::remove_tree(&folder).attempt(|| format!("remove `{}`", folder.display()))?;
        }
        known.remove(layer);
        drop(known);
        for blob in packed {
            self.remove_blob(&blob, in_use_since)?;
        }
        Ok(true)
    }

    fn remove_blob(&self, blob: &Sha256Digest, in_use_since: i64) -> Result<bool> {
        let mut used = lock(&self.blobs_used);
        let path = blobs::path_of(self, blob);
        if used.get(blob).is_some_and(|stamp| stamp.millis() >= in_use_since) {
            return Ok(false);
        }
        used.remove(blob);
        sys::remove_tree(&path).attempt(|| format!("remove `{}`", path.display()))?;
        Ok(true)
    }

    /// The blobs that `layer` was packed into, one per compression.
    fn packed(&self, layer: &LayerId) -> Vec<Sha256Digest> {
        let blob = |compression| {
            let blob: LayerBlob = self.get_fact(IndexTable::Packed, &blobs::key_of_packed(layer, compression))?;
            Some(blob.digest)
        };
        Compression::ALL.into_iter().filter_map(blob).collect()
    }

    /// Deletes index entries that refer to removed records. Deletes that fail, on a full disk, are
    /// repeated at the next prune. Until then such an entry is a miss.
    fn forget_removed(&self, refers: &Refers<'_>) {
        let Ok(names) = self.state.names("layers") else { return };
        let here: HashSet<Digest> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let of_layer = |_: Table, value: &[u8]| serde_json::from_slice(value).ok().map(|layer: LayerId| vec![layer]);
        let spaces: [(IndexTable, Table, &Refers<'_>); 4] = [
            (IndexTable::Ops, Table::Ops, refers),
            (IndexTable::Files, Table::Files, refers),
            (IndexTable::Diffs, Table::Facts, &of_layer),
            (IndexTable::Flattened, Table::Facts, &of_layer),
        ];
        let mut gone = Vec::new();
        for (space, table, refers) in spaces {
            let _ = self.index.each_in(space, &mut |key, value| {
                if refers(table, value).is_some_and(|layers| layers.iter().any(|layer| !here.contains(&layer.0))) {
                    gone.push((space, key));
                }
            });
        }
        let _ = self.index.each_in(IndexTable::Packed, &mut |key, value| {
            let blob: Option<LayerBlob> = serde_json::from_slice(value).ok();
            if blob.is_some_and(|blob| !blobs::path_of(self, &blob.digest).exists()) {
                gone.push((IndexTable::Packed, key));
            }
        });
        let blobs = blobs::list(self).unwrap_or_default();
        let blobs: HashSet<Digest> = blobs.iter().map(blobs::key_of_blob).collect();
        let _ = self.index.each_in(IndexTable::Blobs, &mut |key, _| {
            if !blobs.contains(&key) {
                gone.push((IndexTable::Blobs, key));
            }
        });
        let _ = self.index.each_in(IndexTable::Volumes, &mut |key, _| {
            if !self.state.path("volumes").join(key.hex()).exists() {
                gone.push((IndexTable::Volumes, key));
            }
        });
        if gone.into_iter().try_for_each(|(space, key)| self.index.remove_in(space, &key)).is_ok() {
            self.index.shrink();
        }
    }
}

fn wanted(request: &PruneRequest, record: &Record) -> bool {
    let kind = match record.kind {
        RecordKind::Layer => "layer",
        RecordKind::Blob => "blob",
        RecordKind::Volume => "volume",
        RecordKind::Repository => "repository",
    };
    request.kind.as_ref().is_none_or(|asked| asked == kind || *asked == record.record_type)
        && request.matching.as_ref().is_none_or(|text| record.description.contains(text.as_str()))
}
