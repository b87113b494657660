//! What a machine that stopped without warning may have damaged.
//!
//! Nothing waits for the disk when a layer is kept. After the end of a process, however it came, the kernel still writes
//! everything; only when the machine itself stops, what was made last may be cut short or empty. So the state folder says in
//! which run of the machine it was used last, and when. Opened in another run, what was made shortly before that is doubted:
//! it is compared with its name before it is used for the first time, and removed when it is something else. What is doubted
//! is written down, so that it stays so until it was looked at, whoever opens the folder.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rondel_digest::Sha256Digest;
use rondel_model::LayerId;
use serde::Deserialize;

use crate::last_used::{self, LastUsed};

/// Tells the run of the machine; its time is the last sign of life.
pub(crate) const RUN: &str = "run";
/// Has one empty file for everything that is doubted.
pub(crate) const SUSPECTS: &str = "doubted";
/// The kernel keeps what was written back for half a minute, or some minutes where it saves power.
const MARGIN: i64 = 15 * 60 * 1000;

/// What is doubted.
#[derive(Debug)]
pub(crate) struct SuspectSet {
    root: PathBuf,
    names: Mutex<HashSet<String>>,
}

impl SuspectSet {
    /// Looks in which run of the machine, now `run`, the state folder `root` was used last, and what is to be doubted. What
    /// cannot be written down, on a full disk, is doubted anew by whoever opens the folder next.
    pub(crate) fn open(root: &Path, run: &str) -> Self {
        let (told, folder) = (root.join(RUN), root.join(SUSPECTS));
        let _ = fs::create_dir_all(&folder);
        let mut names: HashSet<String> = entries(&folder).filter_map(|path| Some(name(&path)?.to_owned())).collect();
        if fs::read_to_string(&told).ok().as_deref() != Some(run) {
            // Without a sign of life everything is doubted.
            let since = LastUsed::from_mtime(&told).millis() - MARGIN;
            let found: Vec<String> = layers(root, since).into_iter().chain(blobs(root, since)).collect();
            // ORDER: the run last: who is interrupted before does all of it again.
            let new = root.join("run.new");
            let written = found.iter().all(|name| File::create(folder.join(name)).is_ok());
            let _ = written && fs::write(&new, run).and_then(|()| fs::rename(&new, &told)).is_ok();
            names.extend(found);
        }
        Self { root: root.to_owned(), names: Mutex::new(names) }
    }

    /// Notes that the machine still runs.
    pub(crate) fn heartbeat(&self) {
        last_used::write_mtime(&self.root.join(RUN), last_used::now());
    }

    /// Whether `layer` is to be compared with its name.
    pub(crate) fn is_layer_suspect(&self, layer: &LayerId) -> bool {
        self.contains(&layer_name(layer))
    }

    /// Notes that `layer` is what its name says.
    pub(crate) fn mark_layer_verified(&self, layer: &LayerId) {
        self.mark_verified(&layer_name(layer));
    }

    /// Whether `blob` is to be compared with its name.
    pub(crate) fn is_blob_suspect(&self, blob: &Sha256Digest) -> bool {
        self.contains(&blob_name(blob))
    }

    /// Notes that `blob` is what its name says.
    pub(crate) fn mark_blob_verified(&self, blob: &Sha256Digest) {
        self.mark_verified(&blob_name(blob));
    }

    fn contains(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn mark_verified(&self, name: &str) {
        if self.contains(name) && fs::remove_file(self.root.join(SUSPECTS).join(name)).is_ok() {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }
}

fn layer_name(layer: &LayerId) -> String {
    format!("layer-{}", layer.0.hex())
}

fn blob_name(blob: &Sha256Digest) -> String {
    format!("blob-{}", blob.hex())
}

/// The layers that were made since then. One whose record says nothing is none, which is found out when it is looked for.
fn layers(root: &Path, since: i64) -> Vec<String> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(default)]
        made: i64,
    }
    let mut found = Vec::new();
    for layer in entries(&root.join("layers")) {
        let record = layer.join("meta.json");
        // Its time is the last use, which is never before it was made.
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

/// The blobs that were used since then, and so those that were made.
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

/// What tells this run of the machine from every other one.
pub(crate) fn this_run() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    told.trim().to_owned()
}
