//! Layers on disk: looking one up, checking it, adding one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rondel_fault::{Attempt, Fault, Result, write_lock};
use rondel_model::LayerId;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::last_used::{self, LastUsed};
use crate::layer_digest::layer_id;
use crate::layer_info::{LayerInfo, LayerOnDisk, RootDir};
use crate::store::Store;
use crate::{scan, sys};

/// The root directory of a layer is checked at most once in this interval, in milliseconds.
/// Snapshots have many layers and are looked up often.
const ROOT_CHECK_INTERVAL_MS: i64 = 250;

impl Store {
    /// Returns the layer's record and marks it as used, or `None` if it is not in the store.
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

    /// Returns the layer's record without marking it as used, or `None` if it is not in the store.
    pub(crate) fn inspect(&self, layer: &LayerId) -> Option<Arc<LayerInfo>> {
        if let Some(info) = self.layer_cache.read().ok()?.get(layer).filter(|info| self.is_root_unchanged(layer, info))
        {
            return Some(info.clone());
        }
        self.read_layer(layer)
    }

    /// Returns whether the root directory of `layer` is the one that was committed.
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

    // ORDER: the record enters the cache under the same lock under which layers are removed.
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
            // A layer that cannot be read now is a miss now.
            Ok(LayerOnDisk::Missing) | Err(_) => None,
        }
    }

    /// Reads `layer` from disk. The layer is re-hashed if it is suspect after an unclean shutdown,
    /// or if its root directory is not the committed one: a state directory may have been moved to
    /// another disk.
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
            if let Some(why) = problem(self, layer, &info)? {
                return Ok(LayerOnDisk::Damaged(why));
            }
            self.state.suspects.mark_layer_verified(layer);
        }
        if moved {
            rewrite(&path, &info);
        }
        Ok(LayerOnDisk::Intact(Box::new(info)))
    }

    /// The directory of `layer`.
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

    /// Moves the directory `fs_dir` into the store as `layer`. `scratch` is on the same file
    /// system. If the layer exists, `fs_dir` is left where it is, unless `replaces` says that the
    /// existing one cannot be used.
    // ORDER: the rename of the folder that holds content and record is the commit; before it
    // nothing can be seen.
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
                    // Another thread may have committed it meanwhile. A damaged layer is replaced.
                    if replace || self.inspect(layer).is_none() {
                        renameat_with(CWD, &staged, CWD, self.layer_dir(layer), RenameFlags::EXCHANGE)?;
                        // Processes may run on the replaced layer: it stays whole until the engine
                        // ends.
                        fs::rename(&staged, self.state.scratch_dir().map_err(std::io::Error::other)?.join("replaced"))?;
                    }
                    Ok(())
                }
                other => other,
            }
        };
        commit().attempt(|| format!("keep the layer `{}`", layer.0.short()))?;
        self.state.suspects.mark_layer_verified(layer);
        let mut known = write_lock(&self.layer_cache);
        known.insert(*layer, Arc::new(info));
        Ok(())
    }
}

/// Rewrites the record at `path`. Its modification time, the last use, is kept.
fn rewrite(path: &Path, info: &LayerInfo) {
    let new = path.with_extension("new");
    let written = serde_json::to_vec(info).map_err(std::io::Error::other).and_then(|text| fs::write(&new, text));
    last_used::write_mtime(&new, info.last_used.millis());
    // A failed write is repeated the next time.
    let _ = written.and_then(|()| fs::rename(&new, path));
}

/// Re-hashes `layer` and returns what is wrong with it, or `None` if its content matches its id.
pub(crate) fn problem(store: &Store, layer: &LayerId, info: &LayerInfo) -> Result<Option<String>> {
    let root = store.layer_root(layer)?;
    let read = || -> io::Result<Option<String>> {
        let nodes = scan::scan(&root, store.state.user_xattrs)?;
        if nodes.len() as u64 != info.entries {
            return Ok(Some(format!("has {} entries instead of {}", nodes.len(), info.entries)));
        }
        let contents = scan::hash_files(root.as_fd(), &nodes)?;
        let actual = layer_id(&nodes, &contents, &info.times);
        Ok((actual != *layer).then(|| format!("has content with the digest `{actual}`")))
    };
    match read() {
        Err(error) if is_lost(&error) => Ok(Some(format!("cannot be read: {error}"))),
        other => other.attempt(|| format!("read the layer `{layer}`")),
    }
}

/// Returns whether `error` means that the disk lost the data. Other errors may be transient.
fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADMSG | libc::EUCLEAN))
}

/// Lists the layers on disk.
pub(crate) fn list(store: &Store) -> Result<Vec<LayerId>> {
    let names = store.state.names("layers")?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).map(LayerId).collect())
}
