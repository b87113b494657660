//! The id of a layer: a digest of its content.
//!
//! The walk follows the sorted listing of [`crate::scan`]. Hard links to one inode are identified
//! by the first path. A modification time is one of three things: a time, *now* if it is at or
//! after the moment the layer was prepared, or *inherited* if the entry below has the same one. The
//! last two do not count as content.

use std::collections::{HashMap, HashSet};

use rondel_digest::{Digest, Hasher};
use rondel_model::LayerId;
use serde::{Deserialize, Serialize};

use crate::scan::{Node, NodeKind};
use crate::sys::Time;

/// The modification times of a layer that do not count as content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Modification times at or after this one are *now*. `None` means that all times count.
    pub(crate) opened: Option<Time>,
    /// The paths whose time is that of the entry below; bytes as characters.
    pub(crate) inherited: Vec<String>,
}

/// A path as text that loses nothing: each byte is one character.
pub(crate) fn byte_text(path: &[u8]) -> String {
    path.iter().map(|b| char::from(*b)).collect()
}

#[derive(Serialize)]
enum When {
    At(Time),
    Now,
    Inherited,
}

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    device: (u32, u32),
    size: u64,
    content: Option<Digest>,
    opaque: bool,
    linked: bool,
    xattrs: usize,
    mtime: When,
}

/// The identity of the layer that consists of `nodes`, whose file contents have the digests
/// `contents`.
// IDENTITY: everything that makes two layers differ for a process that sees them is in here, and
// nothing else.
pub(crate) fn layer_id(nodes: &[Node], contents: &[Option<Digest>], times: &Times) -> LayerId {
    let inherited: HashSet<&str> = times.inherited.iter().map(String::as_str).collect();
    let links = link_targets(nodes);
    let mut hasher = Hasher::new("layer/v1");
    for (index, (node, content)) in nodes.iter().zip(contents).enumerate() {
        let when = match times.opened {
            Some(opened) if node.mtime >= opened => When::Now,
            _ if !inherited.is_empty() && inherited.contains(byte_text(&node.path).as_str()) => When::Inherited,
            _ => When::At(node.mtime),
        };
        let link = links.get(&index).map(|first| nodes[*first].path.as_slice());
        hasher.value(&Entry {
            kind: kind_name(node.kind),
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            device: node.device,
            size: node.size,
            content: *content,
            opaque: node.opaque,
            linked: link.is_some(),
            xattrs: node.xattrs.len(),
            mtime: when,
        });
        hasher.bytes(&node.path).bytes(&node.target).bytes(link.unwrap_or_default());
        for (key, value) in &node.xattrs {
            hasher.bytes(key).bytes(value);
        }
    }
    LayerId(hasher.finish())
}

/// For each entry that is a further name of a file: which entry is its first name.
pub(crate) fn link_targets(nodes: &[Node]) -> HashMap<usize, usize> {
    let mut first = HashMap::new();
    let mut links = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if let Some(shared) = node.shared {
            let first = *first.entry(shared).or_insert(index);
            if first != index {
                links.insert(index, first);
            }
        }
    }
    links
}

fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Dir => "dir",
        NodeKind::Symlink => "symlink",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::Char => "char",
        NodeKind::Block => "block",
        NodeKind::Whiteout => "whiteout",
    }
}
