//! Reads files of trees: status, listings, globs, content and digests.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::AbsPath;
use rondel_model::op::TreePath;
use rondel_ports::snapshots::Tree;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::context::OpContext;
use crate::copy::text;
use crate::root::{Root, failed, inner, kind, names, open_dir, permissions, stat_at};
use crate::{Ops, dedup_layers, filter, tree_hash};

/// The largest file that can be read into memory.
pub const MAX_BYTES: u64 = 128 << 20;

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            _ => EntryKind::Other,
        }
    }
}

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, or its path relative to the searched directory. Bytes that are not UTF-8 are
    /// replaced.
    pub name: String,
    /// Its type.
    pub kind: EntryKind,
}

/// The status of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits, set-id and sticky bits included.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was modified, in seconds since the Unix epoch.
    pub mtime: i64,
}

impl Ops {
    /// Lists the directory at `place`, sorted by name.
    ///
    /// # Errors
    /// When it does not exist or is no directory.
    pub async fn entries(self: &Arc<Self>, cx: &OpContext, place: &TreePath) -> Result<Vec<Entry>> {
        self.look(cx, place, |root, path| {
            let fail = |e| failed(e, "list", path.as_str());
            let dir = open_dir(root, path)?;
            let mut entries = Vec::new();
            for name in names(dir.as_fd()).map_err(fail)? {
                if let Some(stat) = stat_at(dir.as_fd(), &name).map_err(fail)? {
                    entries.push(Entry { name: text(Path::new(&name)), kind: kind(&stat).into() });
                }
            }
            Ok(entries)
        })
        .await
    }

    /// Lists the paths below the directory at `place` that match `pattern`, relative to it and
    /// sorted.
    ///
    /// # Errors
    /// When it does not exist or is no directory, or the pattern is malformed.
    pub async fn glob(self: &Arc<Self>, cx: &OpContext, place: &TreePath, pattern: &str) -> Result<Vec<Entry>> {
        let glob = filter::glob(pattern)?;
        self.look(cx, place, move |root, path| {
            let dir = open_dir(root, path)?;
            let mut entries = Vec::new();
            let mut found = |path: &Path, kind: FileType| entries.push(Entry { name: text(path), kind: kind.into() });
            filter::matching(dir.as_fd(), Path::new(""), &glob, &mut found)
                .map_err(|e| failed(e, "search", path.as_str()))?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
        .await
    }

    /// The status of the file at `place`. `None` if it is missing. With `follow`, a symlink is
    /// followed.
    ///
    /// # Errors
    /// When the tree cannot be evaluated or read.
    pub async fn stat(self: &Arc<Self>, cx: &OpContext, place: &TreePath, follow: bool) -> Result<Option<Stat>> {
        self.look(cx, place, move |root, path| match root.find(inner(path), follow) {
            Ok(found) => Ok(found.stat.map(|stat| Stat {
                kind: kind(&stat).into(),
                size: stat.st_size as u64,
                mode: permissions(&stat),
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: stat.st_mtime,
            })),
            Err(Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
            Err(e) => Err(failed(e, "read", path.as_str())),
        })
        .await
    }

    /// Reads the file at `place`, at most [`MAX_BYTES`].
    ///
    /// # Errors
    /// When it does not exist, is no regular file, or is larger.
    pub async fn read(self: &Arc<Self>, cx: &OpContext, place: &TreePath) -> Result<Vec<u8>> {
        self.look(cx, place, |root, path| {
            let file = open_regular(root, path)?;
            let mut content = Vec::new();
            let mut bounded = File::from(file).take(MAX_BYTES + 1);
            bounded.read_to_end(&mut content).attempt(|| format!("read `{path}`"))?;
            if content.len() as u64 > MAX_BYTES {
                return Err(Fault::user(format!("file `{path}` is larger than {MAX_BYTES} bytes"))
                    .with_hint("export the file, or use it in a container"));
            }
            Ok(content)
        })
        .await
    }

    /// The digest `sha256:<hex>` of the content and, unless excluded, the metadata at `place`. The
    /// module `tree_hash` defines the format.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn digest(self: &Arc<Self>, cx: &OpContext, place: &TreePath, exclude_metadata: bool) -> Result<String> {
        self.look(cx, place, move |root, path| tree_hash::of(root, path, exclude_metadata)).await
    }

    /// Evaluates the tree of `place`, opens it, and runs `work` with its root and the path.
    pub(crate) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        cx: &OpContext,
        place: &TreePath,
        work: impl FnOnce(Root<'_>, &AbsPath) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let snapshot = self.tree(cx, &place.fs).await?;
        let path = place.path.clone();
        self.blocking(move |ops| {
            let tree = dedup_layers::view(&*ops.ports.snapshots, &snapshot)?;
            work(Root(tree.root.as_fd()), &path)
        })
        .await
    }
}

/// Opens the regular file at `path` for reading, symlinks followed.
pub(crate) fn open_regular(root: Root<'_>, path: &AbsPath) -> Result<OwnedFd> {
    let fail = |e| failed(e, "read", path.as_str());
    let file = root.open_file(inner(path)).map_err(fail)?;
    let stat = rustix::fs::fstat(&file).map_err(fail)?;
    if kind(&stat) != FileType::RegularFile {
        return Err(Fault::user(format!("path {path} is not a regular file")));
    }
    Ok(file)
}

/// Opens the file at `path` of `tree`, and returns a path by which this process reaches it as long
/// as the descriptor is open.
pub(crate) fn file_path(tree: &Tree, path: &AbsPath) -> Result<(OwnedFd, PathBuf)> {
    let file = open_regular(Root(tree.root.as_fd()), path)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((file, path))
}
