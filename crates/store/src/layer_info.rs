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

/// What `meta.json` of a layer says. The file's own modification time is when the layer was used last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    /// The version of this record.
    pub(crate) version: u32,
    /// How many entries the layer has, its root included.
    pub(crate) entries: u64,
    /// The sum of the sizes of its files.
    pub(crate) bytes: u64,
    /// It hides nothing of a lower layer, so that it can be shown without an overlay.
    #[serde(rename = "plain")]
    pub(crate) has_no_whiteouts: bool,
    /// Which modification times are no content.
    pub(crate) times: Times,
    /// About what it takes on disk; zero: unknown.
    #[serde(default)]
    pub(crate) disk: u64,
    /// When it was made, in milliseconds since the Unix epoch; zero: unknown.
    #[serde(default, rename = "made")]
    pub(crate) created_at: i64,
    /// What made it.
    #[serde(default)]
    pub(crate) label: Label,
    /// The layers with which it may have files in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shares: Vec<LayerId>,
    /// Some of its files have several names in it; unknown counts as such.
    #[serde(default = "unknown", rename = "linked")]
    pub(crate) has_hardlinks: bool,
    /// Its root directory, as it was left. `None`: it was made before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<RootDir>,
    /// When it was used last.
    #[serde(skip)]
    pub(crate) last_used: LastUsed,
    /// When its root directory was looked at last, in milliseconds.
    #[serde(skip)]
    pub(crate) root_checked_at: AtomicI64,
}

/// What tells the root directory of a layer from another one, and from itself with other entries. A rename leaves both.
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

/// What an entry takes on disk beside its content, and the size of a block.
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

/// What was found where a layer should be.
pub(crate) enum LayerOnDisk {
    Intact(Box<LayerInfo>),
    /// Why it is no layer.
    Damaged(String),
    Missing,
}

impl LayerOnDisk {
    pub(crate) fn damaged_record() -> Self {
        Self::Damaged("has no readable record".into())
    }
}
