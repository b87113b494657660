//! The listing of a directory in overlay form: one [`Node`] per entry, sorted, without file
//! contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rayon::prelude::*;
use rondel_digest::Digest;
use rondel_ports::snapshots::MAX_LEVELS;
use rustix::fs::{FileType, OFlags, Stat};

use crate::sys::{self, Time};

/// Down to which level the directories in a directory are listed by several threads.
const MAX_LEVELS_APART: usize = 16;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    Char,
    Block,
    /// Hides what a lower layer has under the same name.
    Whiteout,
}

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Relative to the layer's root, without leading slash; empty for the root.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: NodeKind,
    /// Permission bits, with set-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Of a regular file.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// Device and inode, when several names share it.
    pub(crate) shared: Option<(u64, u64)>,
    /// Of a symbolic link.
    pub(crate) target: Vec<u8>,
    /// What belongs to the content; the store's and the overlay's own attributes are not here.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A directory that hides the lower ones of its name.
    pub(crate) opaque: bool,
}

/// The owner, `uid:gid`, of an entry whose owner cannot exist in this user namespace. Processes in
/// containers can give it to files of their own, so it counts only for what belongs to root, as
/// what stands for another owner does. Unlike the attributes of the overlay it stays with what a
/// process changes.
pub(crate) const OWNER_XATTR: &[u8] = b"user.rondel.owner";
/// The device, `c|b major minor`, that an empty file stands for where devices cannot be made. An
/// overlay of a user namespace keeps attributes with this beginning from processes.
pub(crate) const DEVICE_XATTR: &[u8] = b"user.overlay.rondel.device";

/// The attribute that marks an opaque directory.
pub(crate) fn opaque_xattr(user: bool) -> &'static [u8] {
    if user { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" }
}

/// Whether an extended attribute belongs to the content of a layer.
pub(crate) fn is_content_xattr(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.starts_with(b"user.rondel."))
}

/// The error for directories that are too deep for a layer. It is an error of their maker.
#[derive(Debug)]
struct TooDeep;

impl std::fmt::Display for TooDeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {MAX_LEVELS} directories are inside one another")
    }
}

impl std::error::Error for TooDeep {}

/// Whether a scan failed because directories are too deep.
pub(crate) fn is_too_deep(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooDeep>())
}

/// Lists everything at and below `root`, the root first, every directory before its sorted content.
pub(crate) fn scan(root: &OwnedFd, user: bool) -> io::Result<Vec<Node>> {
    let mut nodes = vec![node(root.as_fd(), b"", b"", user)?];
    nodes.extend(scan_dir(root.as_fd(), b"", 0, user)?);
    Ok(nodes)
}

/// Lists what is in `dir`, which lies `level` directories below the root.
fn scan_dir(dir: BorrowedFd<'_>, path: &[u8], level: usize, user: bool) -> io::Result<Vec<Node>> {
    if level > MAX_LEVELS {
        return Err(io::Error::other(TooDeep));
    }
    let names = sys::names(dir)?;
    let entries: Vec<Node> = names
        .iter()
        .map(|name| node(dir, &join(path, name.to_bytes()), name.to_bytes(), user))
        .collect::<io::Result<_>>()?;
    let below = |entry: &Node| -> io::Result<Vec<Node>> {
        if entry.kind != NodeKind::Dir {
            return Ok(Vec::new());
        }
        let child = sys::open_dir_at(dir, base_name(&entry.path))?;
        scan_dir(child.as_fd(), &entry.path, level + 1, user)
    };
    let dirs = entries.iter().filter(|entry| entry.kind == NodeKind::Dir).count();
    // Waking threads costs more than the few directories that a process usually touches. A thread
    // that waits for others takes their work onto its own stack, so deep down there is nothing to
    // wait for.
    let subtrees: Vec<Vec<Node>> = if dirs > 8 && level < MAX_LEVELS_APART {
        entries.par_iter().map(below).collect::<io::Result<_>>()?
    } else {
        entries.iter().map(below).collect::<io::Result<_>>()?
    };
    let mut all = Vec::with_capacity(entries.len() + subtrees.iter().map(Vec::len).sum::<usize>());
    for (entry, subtree) in entries.into_iter().zip(subtrees) {
        all.push(entry);
        all.extend(subtree);
    }
    Ok(all)
}

/// Reads one entry: `name` in `dir`, or `dir` itself for an empty name.
pub(crate) fn node(dir: BorrowedFd<'_>, path: &[u8], name: &[u8], user: bool) -> io::Result<Node> {
    let stat = sys::stat_at(dir, if name.is_empty() { b".".as_slice() } else { name })?;
    let mut node = plain(path, &stat);
    if node.kind == NodeKind::Whiteout {
        return Ok(Node { mode: 0, uid: 0, gid: 0, mtime: (0, 0), shared: None, ..node });
    }
    if node.kind == NodeKind::Symlink {
        node.target = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
    }
    for (key, value) in sys::xattrs(&sys::fd_path(dir, name))? {
        if key == opaque_xattr(user) {
            node.opaque = value == b"y" && node.kind == NodeKind::Dir;
        } else if user && key == OWNER_XATTR && (stat.st_uid, stat.st_gid) == (0, 0) {
            restore_owner(&mut node, &value);
        } else if user && key == DEVICE_XATTR {
            restore_device(&mut node, &value);
        } else if is_content_xattr(&key) {
            node.xattrs.insert(key, value);
        }
    }
    Ok(node)
}

fn plain(path: &[u8], stat: &Stat) -> Node {
    let device = (rustix::fs::major(stat.st_rdev as _), rustix::fs::minor(stat.st_rdev as _));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice if device == (0, 0) => NodeKind::Whiteout,
        FileType::CharacterDevice => NodeKind::Char,
        FileType::BlockDevice => NodeKind::Block,
        _ => NodeKind::File,
    };
    Node {
        path: path.to_vec(),
        kind,
        mode: if kind == NodeKind::Symlink { 0o777 } else { stat.st_mode & 0o7777 },
        uid: stat.st_uid,
        gid: stat.st_gid,
        device: if matches!(kind, NodeKind::Char | NodeKind::Block) { device } else { (0, 0) },
        size: if kind == NodeKind::File { stat.st_size as u64 } else { 0 },
        mtime: sys::mtime(stat),
        shared: (kind != NodeKind::Dir && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino)),
        target: Vec::new(),
        xattrs: BTreeMap::new(),
        opaque: false,
    }
}

fn restore_owner(node: &mut Node, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    if let Some((uid, gid)) = text.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        (node.uid, node.gid) = (uid, gid);
    }
}

fn restore_device(node: &mut Node, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let parts: Vec<&str> = text.split(' ').collect();
    if let [kind, major, minor] = parts[..]
        && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
    {
        node.kind = if kind == "b" { NodeKind::Block } else { NodeKind::Char };
        node.device = (major, minor);
    }
}

/// The digest of the content of every regular file among `nodes`, in their order.
pub(crate) fn hash_files(root: BorrowedFd<'_>, nodes: &[Node]) -> io::Result<Vec<Option<Digest>>> {
    let hash = |node: &Node| -> io::Result<Option<Digest>> {
        if node.kind != NodeKind::File {
            return Ok(None);
        }
        // Access times are part of what was written, and not to be changed by looking.
        let quiet = sys::open_below(root, &node.path, OFlags::RDONLY | OFlags::NOATIME);
        let file = quiet.or_else(|_| sys::open_below(root, &node.path, OFlags::RDONLY))?;
        let file = File::from(file);
        hash_file(file, node.size).map(Some)
    };
    if nodes.len() > 32 || nodes.iter().map(|node| node.size).sum::<u64>() > 4 << 20 {
        return nodes.par_iter().map(hash).collect();
    }
    nodes.iter().map(hash).collect()
}

fn hash_file(mut file: File, size: u64) -> io::Result<Digest> {
    const STEP: usize = 4 << 20;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; usize::try_from(size).unwrap_or(STEP).clamp(1, STEP)];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled >= 1 << 20 {
            hasher.update_rayon(&buffer[..filled]);
        } else {
            hasher.update(&buffer[..filled]);
        }
        if filled < buffer.len() {
            return Ok(Digest::from_bytes(*hasher.finalize().as_bytes()));
        }
    }
}

/// `name` in the directory `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// The last part of `path`.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// All but the last part of `path`; empty for what lies in the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(b"", |at| &path[..at])
}
