//! The record of a layer, `meta.json`, and what was found in place of a layer.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::AtomicI64;

use rondel_model::LayerId;
use rondel_ports::snapshots::Label;
use serde::{Deserialize, Serialize};

use crate::last_used::{self, LastUsed};
use crate::layer_digest::{Times, link_targets};
use crate::scan::{Node, NodeKind};
use crate::sys::Time;

/// The record of a layer, `meta.json`. The modification time of that file is the last use of the
/// layer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    /// The version of this record.
    pub(crate) version: u32,
    /// The number of entries of the layer, its root included.
    pub(crate) entries: u64,
    /// The sum of the sizes of its files.
    pub(crate) bytes: u64,
    /// Whether the layer has no whiteouts and no opaque directories. Such a layer can be shown
    /// without an overlay.
    #[serde(rename = "plain")]
    pub(crate) has_no_whiteouts: bool,
    /// The modification times that do not count as content.
    pub(crate) times: Times,
    /// Approximate size on disk. Zero means unknown.
    #[serde(default)]
    pub(crate) disk: u64,
    /// Creation time in milliseconds since the Unix epoch. Zero means unknown.
    #[serde(default, rename = "made")]
    pub(crate) created_at: i64,
    /// The work that made the layer.
    #[serde(default)]
    pub(crate) label: Label,
    /// The layers with which it may share inodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shares: Vec<LayerId>,
    /// Whether the layer contains hard links. Unknown counts as true.
    #[serde(default = "unknown", rename = "linked")]
    pub(crate) has_hardlinks: bool,
    /// Its root directory at commit. `None` for layers of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<RootDir>,
    /// Time of the last use.
    #[serde(skip)]
    pub(crate) last_used: LastUsed,
    /// When its root directory was last checked, in milliseconds.
    #[serde(skip)]
    pub(crate) root_checked_at: AtomicI64,
}

/// Inode and modification time of a layer's root directory. They change if the directory is
/// replaced or its entries change. A rename changes neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootDir {
    inode: u64,
    modified: Time,
}

impl RootDir {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        let nanoseconds = u32::try_from(meta.mtime_nsec()).unwrap_or_default();
        Ok(Self { inode: meta.ino(), modified: (meta.mtime(), nanoseconds) })
    }
}

fn unknown() -> bool {
    true
}

/// The size of a block. Also the assumed size of a directory, and of the record.
const BLOCK: u64 = 4096;

impl LayerInfo {
    pub(crate) fn new(nodes: &[Node], times: Times, label: Label) -> Self {
        let size = |node: &Node| match node.kind {
            NodeKind::File => node.size.div_ceil(BLOCK) * BLOCK,
            NodeKind::Dir => BLOCK,
            _ => 0,
        };
        Self {
            version: 1,
            entries: nodes.len() as u64,
            bytes: nodes.iter().map(|node| node.size).sum(),
            has_no_whiteouts: !nodes.iter().any(|node| node.opaque || node.kind == NodeKind::Whiteout),
            times,
            disk: nodes.iter().map(size).sum::<u64>() + BLOCK,
            created_at: last_used::now(),
            label,
            shares: Vec::new(),
            has_hardlinks: !link_targets(nodes).is_empty(),
            root: None,
            last_used: LastUsed::now(),
            root_checked_at: AtomicI64::default(),
        }
    }
}

/// What was found on disk in place of a layer.
pub(crate) enum LayerOnDisk {
    Intact(Box<LayerInfo>),
    /// The reason why it is damaged.
    Damaged(String),
    Missing,
}

impl LayerOnDisk {
    pub(crate) fn damaged_record() -> Self {
        Self::Damaged("has no readable record".into())
    }
}
