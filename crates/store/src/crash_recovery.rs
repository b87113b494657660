//! Recovery after power loss. Layers and blobs written shortly before an unclean shutdown are
//! re-hashed before first use.
//!
//! Keeping a layer does not `fsync`. After the end of a process, however it came, the kernel still
//! writes everything back. Only if the machine itself stops, recent files may be truncated or
//! empty. So the state directory records the boot in which it was used last, and when. If it is
//! opened under another boot, everything written shortly before the last use is suspect: it is
//! compared with its digest before its first use, and quarantined on a mismatch. The suspects are
//! recorded on disk, so they stay suspect until they are verified, also if another engine opens the
//! directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rondel_digest::Sha256Digest;
use rondel_fault::lock;
use rondel_model::LayerId;
use serde::Deserialize;

use crate::last_used::{self, LastUsed};

/// The file with the boot id. Its modification time is the last sign of life.
pub(crate) const RUN: &str = "run";
/// The directory with one empty file for each suspect. The name on disk is older than the term.
pub(crate) const SUSPECTS: &str = "doubted";
/// The kernel writes dirty pages back within half a minute, or within some minutes where it saves
/// power. In milliseconds.
const MARGIN: i64 = 15 * 60 * 1000;

/// The layers and blobs that must be verified before use.
#[derive(Debug)]
pub(crate) struct SuspectSet {
    root: PathBuf,
    names: Mutex<HashSet<String>>,
}

impl SuspectSet {
    /// Determines the suspects: `run` is the current boot id, and the state directory `root` knows
    /// the boot of its last use. Suspects that cannot be recorded, on a full disk, are determined
    /// again when the directory is opened the next time.
    pub(crate) fn open(root: &Path, run: &str) -> Self {
        let (told, folder) = (root.join(RUN), root.join(SUSPECTS));
        let _ = fs::create_dir_all(&folder);
        let mut names: HashSet<String> = entries(&folder).filter_map(|path| Some(name(&path)?.to_owned())).collect();
        if fs::read_to_string(&told).ok().as_deref() != Some(run) {
            // Without a sign of life everything is suspect.
            let since = LastUsed::from_mtime(&told).millis() - MARGIN;
            let found: Vec<String> = layers(root, since).into_iter().chain(blobs(root, since)).collect();
            // ORDER: the boot id is written last. An interrupted start does all of it again.
            let new = root.join("run.new");
            let written = found.iter().all(|name| File::create(folder.join(name)).is_ok());
            let _ = written && fs::write(&new, run).and_then(|()| fs::rename(&new, &told)).is_ok();
            names.extend(found);
        }
        Self { root: root.to_owned(), names: Mutex::new(names) }
    }

    /// Records that the machine still runs.
    pub(crate) fn heartbeat(&self) {
        last_used::write_mtime(&self.root.join(RUN), last_used::now());
    }

    /// Returns whether `layer` must be verified before use.
    pub(crate) fn is_layer_suspect(&self, layer: &LayerId) -> bool {
        self.contains(&layer_name(layer))
    }

    /// Records that `layer` has the content that its id says.
    pub(crate) fn mark_layer_verified(&self, layer: &LayerId) {
        self.mark_verified(&layer_name(layer));
    }

    /// Returns whether `blob` must be verified before use.
    pub(crate) fn is_blob_suspect(&self, blob: &Sha256Digest) -> bool {
        self.contains(&blob_name(blob))
    }

    /// Records that `blob` has the content that its digest says.
    pub(crate) fn mark_blob_verified(&self, blob: &Sha256Digest) {
        self.mark_verified(&blob_name(blob));
    }

    fn contains(&self, name: &str) -> bool {
        lock(&self.names).contains(name)
    }

    fn mark_verified(&self, name: &str) {
        if self.contains(name) && fs::remove_file(self.root.join(SUSPECTS).join(name)).is_ok() {
            lock(&self.names).remove(name);
        }
    }
}

fn layer_name(layer: &LayerId) -> String {
    format!("layer-{}", layer.0.hex())
}

fn blob_name(blob: &Sha256Digest) -> String {
    format!("blob-{}", blob.hex())
}

/// The layers created at or after `since`. A layer without a readable record is left out: the
/// lookup finds it damaged.
fn layers(root: &Path, since: i64) -> Vec<String> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(default)]
        made: i64,
    }
    let mut found = Vec::new();
    for layer in entries(&root.join("layers")) {
        let record = layer.join("meta.json");
        // Its modification time is the last use, which is never before creation.
        if LastUsed::from_mtime(&record).millis() < since {
            continue;
        }
        match fs::read(&record).ok().and_then(|text| serde_json::from_slice::<Made>(&text).ok()) {
            Some(Made { made }) if made != 0 && made < since => {}
            Some(_) => found.extend(name(&layer).map(|name| format!("layer-{name}"))),
            None => {}
        }
    }
    found
}

/// The blobs used at or after `since`, which includes those created then.
fn blobs(root: &Path, since: i64) -> Vec<String> {
    let used = entries(&root.join("blobs/sha256")).filter(|blob| LastUsed::from_mtime(blob).millis() >= since);
    used.filter_map(|blob| Some(format!("blob-{}", name(&blob)?))).collect()
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path()))
}

/// The boot id of the machine.
pub(crate) fn this_run() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    told.trim().to_owned()
}
