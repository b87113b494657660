//! Layers on disk: looking one up, checking it, adding one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::LayerId;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::last_used::{self, LastUsed};
use crate::layer_digest::layer_id;
use crate::layer_info::{LayerInfo, LayerOnDisk, RootDir};
use crate::store::Store;
use crate::{scan, sys};

/// For so long nobody looks at the root directory of a layer again, in milliseconds: stacks are high, and looked at often.
const ROOT_CHECK_INTERVAL_MS: i64 = 250;

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

/// Writes the record at `path` anew; its time, which is the last use, stays.
fn rewrite(path: &Path, info: &LayerInfo) {
    let new = path.with_extension("new");
    let written = serde_json::to_vec(info).map_err(std::io::Error::other).and_then(|text| fs::write(&new, text));
    last_used::write_mtime(&new, info.last_used.millis());
    // What cannot be written now is found out again the next time.
    let _ = written.and_then(|()| fs::rename(&new, path));
}

/// What is wrong with `layer`, of which `info` is known.
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

/// Whether the disk says by `error` that it has lost what it held; anything else may be well another time.
fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADMSG | libc::EUCLEAN))
}

/// Lists the layers on disk.
pub(crate) fn list(store: &Store) -> Result<Vec<LayerId>> {
    let names = store.state.names("layers")?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).map(LayerId).collect())
}
