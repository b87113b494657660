//! Layers and snapshots on disk. Everything here blocks.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rondel_digest::Sha256Digest;
use rondel_fault::Result;
pub use rondel_model::Compression;
use rondel_model::{LayerId, Snapshot};

/// The maximum depth of directories in a tree. Functions that walk trees are recursive, so a deeper
/// tree could overflow the stack of the engine.
pub const MAX_LEVELS: usize = 256;

/// A read-only view of a snapshot: a detached mount that is unmounted when the descriptor is
/// closed.
#[derive(Debug)]
pub struct Tree {
    /// The root directory, open for reading: it can be listed and cloned with `open_tree`.
    pub root: OwnedFd,
}

/// A writable tree on top of a snapshot. Its changes become one layer.
#[derive(Debug)]
pub struct WorkTree {
    /// The merged root, writable: a detached mount that can be moved into a container.
    pub root: OwnedFd,
    /// The snapshot below.
    pub base: Snapshot,
    /// The upper directory of the overlay, which collects the changes.
    pub upper: PathBuf,
    /// The directory that holds `upper` and the overlay's work directory. Removed by commit and
    /// abort.
    pub scratch: PathBuf,
    /// When the tree was prepared. Modification times at or after it mean "now" and do not enter
    /// the layer digest.
    pub opened: SystemTime,
    /// Label shown by `rondel cache ls`. Not part of the layer digest.
    pub label: Label,
    /// Layers whose files were hard-linked into the tree. See [`Layers::linkable_layers`].
    pub shares: Vec<LayerId>,
}

/// A layer whose files may be hard-linked into another layer.
#[derive(Debug)]
pub struct LinkableLayer {
    /// The layer.
    pub layer: LayerId,
    /// Its root directory.
    pub root: OwnedFd,
    /// Whether the layer contains hard links. Files with several links are copied, so that their
    /// link count stays as it is.
    pub has_hardlinks: bool,
}

/// What made a layer, as shown to users.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Label {
    /// The kind of work, in the terms of the API: `regular`, `source.local`, …. Empty if unknown.
    #[serde(default)]
    pub kind: String,
    /// The call, such as `Container.withExec`; may be empty.
    #[serde(default)]
    pub call: String,
    /// What the call did. Contains no secret.
    #[serde(default)]
    pub text: String,
}

impl Label {
    /// The maximum length of `text`, in bytes.
    const LONGEST: usize = 160;

    /// Creates the label of work of the kind `kind`, done by `call`. A long `text` is cut.
    pub fn new(kind: &str, call: &str, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if text.len() > Self::LONGEST {
            text.truncate(text.floor_char_boundary(Self::LONGEST - 3));
            text.push('…');
        }
        Self { kind: kind.to_owned(), call: call.to_owned(), text }
    }
}

/// The descriptor of a layer as an OCI blob.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerBlob {
    /// The digest of the compressed bytes.
    pub digest: Sha256Digest,
    /// The size of the compressed bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: Sha256Digest,
    /// The media type under which it was found or made (OCI form).
    pub media_type: String,
}

/// The result of verifying the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verification {
    /// Layers whose content has the digest of their id.
    pub layers: u64,
    /// Blobs whose content has the digest of their name.
    pub blobs: u64,
    /// Results in the index that refer to layers in the store.
    pub results: u64,
    /// The problems, one line each.
    pub problems: Vec<String>,
}

/// Snapshots: views for reading, working trees for writing. Everything here blocks.
pub trait Snapshots: Layers {
    /// Mounts a read-only view of `snapshot`.
    ///
    /// # Errors
    /// When a layer is missing or the kernel refuses the mount.
    fn view(&self, snapshot: &Snapshot) -> Result<Tree>;

    /// Mounts a read-only view of `snapshot` for a process in a container.
    ///
    /// As far as possible, the process's list of mounts does not show the path of the store.
    ///
    /// # Errors
    /// As for [`Snapshots::view`].
    fn view_for_process(&self, snapshot: &Snapshot) -> Result<Tree> {
        self.view(snapshot)
    }

    /// Mounts a new writable tree on top of `snapshot`.
    ///
    /// # Errors
    /// When a layer is missing, the disk is full or the kernel refuses the mount.
    fn prepare(&self, snapshot: &Snapshot) -> Result<WorkTree>;

    /// Turns the changes of `tree` into a layer and returns the base with that layer on top.
    ///
    /// Returns the base unchanged if nothing changed. Equal content gives an equal layer:
    /// modification times at or after `tree.opened` do not count.
    ///
    /// # Errors
    /// When the disk is full or a file cannot be read. Nothing is left behind.
    fn commit(&self, tree: WorkTree) -> Result<Snapshot>;

    /// Discards the changes of `tree`.
    fn abort(&self, tree: WorkTree);

    /// Returns whether every layer of `snapshot` is in the store, and marks the layers that are as
    /// used now. Layers in use are not pruned.
    fn touch_if_present(&self, snapshot: &Snapshot) -> bool;

    /// Returns whether every layer of `snapshot` is in the store. Does not count as a use.
    fn contains(&self, snapshot: &Snapshot) -> bool;
}

/// The single layers that a snapshot consists of.
pub trait Layers: Send + Sync {
    /// The layers of `snapshot` that decide what is at and below `path`, lowest first.
    ///
    /// `path` is relative to the root, contains no symlinks and exists. Layers without an entry
    /// there are left out, so equal answers mean equal content at that path.
    ///
    /// # Errors
    /// When a layer is missing or cannot be read.
    fn layers_at(&self, snapshot: &Snapshot, path: &Path) -> Result<Vec<LayerId>> {
        let _ = path;
        Ok(snapshot.layers().to_vec())
    }

    /// The layers of `source`, highest first, if files of them may be hard-linked into a layer on
    /// top of `base`, outside of its overlay, instead of being copied. `None` means copy.
    ///
    /// A process must not see two unrelated paths with one inode. So the answer is `None` if `base`
    /// may have the same files already.
    fn linkable_layers(&self, source: &Snapshot, base: &Snapshot) -> Option<Vec<LinkableLayer>> {
        let _ = (source, base);
        None
    }
}

/// Layers as OCI blobs, and other blobs of images. Everything here blocks.
pub trait LayerBlobs: Send + Sync {
    /// Unpacks a layer blob: a tar with OCI whiteouts, compressed with `compression`.
    ///
    /// Verifies digest and size of the compressed bytes, and the `diff_id`. The blob is kept, so
    /// that it can be pushed again unchanged.
    ///
    /// # Errors
    /// When the archive is hostile, damaged or not the expected one, or the disk is full. Nothing
    /// is left behind.
    fn unpack(&self, blob: &Path, compression: Compression, expected: &LayerBlob) -> Result<LayerId>;

    /// The layer that was unpacked from a blob with this `diff_id`, or `None` if it is not in the
    /// store.
    fn layer_of_diff(&self, diff_id: &Sha256Digest) -> Option<LayerId>;

    /// Packs a layer as a blob. A layer that was unpacked from a blob of this compression gives
    /// that blob again.
    ///
    /// # Errors
    /// When the layer is missing or the disk is full.
    fn pack(&self, layer: &LayerId, compression: Compression) -> Result<(LayerBlob, PathBuf)>;

    /// The path of the blob `digest`, or `None` if it is not in the store.
    fn blob(&self, digest: &Sha256Digest) -> Option<PathBuf>;

    /// Stores a blob whose digest is known, such as a manifest or an image configuration.
    ///
    /// # Errors
    /// When the content has another digest, or the disk is full.
    fn put_blob(&self, digest: &Sha256Digest, content: &mut dyn Read) -> Result<PathBuf>;
}
