//! Deferred work on files: one closed family, one derived codec.

use std::sync::Arc;

use rondel_digest::Digest;
use serde::Serialize;

use crate::changes::ChangesOp;
use crate::egress::EgressScope;
use crate::exec::ExecOp;
use crate::git::GitTree;
use crate::image::ImageRef;
use crate::mode::ModeChange;
use crate::path::AbsPath;
use crate::platform::Platform;
use crate::service::Service;
use crate::snapshot::Snapshot;

/// A file tree as the op that produces it: shared, with the digest of its recipe.
#[derive(Clone, Debug)]
pub struct Fs(Arc<Node>);

#[derive(Debug)]
struct Node {
    op: FsOp,
    digest: Digest,
    sets_times: bool,
}

impl Fs {
    /// The tree that `op` produces.
    pub fn new(op: FsOp) -> Self {
        let digest = rondel_digest::of("fs/v1", &op);
        let sets_times = match &op {
            FsOp::Edit { edit: Edit::Timestamps { .. }, .. } => true,
            // A process writes files with the time of its run.
            FsOp::Exec { .. } => false,
            op => op.inputs().into_iter().any(Fs::sets_times),
        };
        Self(Arc::new(Node { op, digest, sets_times }))
    }

    /// The empty tree.
    pub fn scratch() -> Self {
        Self::new(FsOp::Known(Snapshot::empty()))
    }

    /// A tree that exists already.
    pub fn known(snapshot: Snapshot) -> Self {
        Self::new(FsOp::Known(snapshot))
    }

    /// The work.
    pub fn op(&self) -> &FsOp {
        &self.0.op
    }

    /// The recipe digest: the op with all its inputs.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Whether the user set file times in it ([`Edit::Timestamps`]), so that they count as content.
    pub fn sets_times(&self) -> bool {
        self.0.sets_times
    }
}

macro_rules! fs_from {
    ($($op:ident $variant:ident),*) => {$(
        impl From<$op> for Fs {
            fn from(op: $op) -> Self {
                Self::new(FsOp::$variant(Box::new(op)))
            }
        }
    )*};
}
fs_from!(ImageOp Image, ImportOp Import, CopyOp Copy, CopyPattern CopyPattern);

impl PartialEq for Fs {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// A tree is hashed as its digest, so that a chain of ops costs one step per op.
impl Serialize for Fs {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0.digest.as_bytes())
    }
}

/// Drops a chain link by link, so that a deep chain needs no deep stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut pending = self.release();
        while let Some(fs) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(fs.0) {
                pending.extend(node.release());
            }
        }
    }
}

impl Node {
    /// Lets the op go and returns its inputs, which are kept alive by that.
    fn release(&mut self) -> Vec<Fs> {
        let inputs = self.op.inputs().into_iter().cloned().collect();
        self.op = FsOp::Known(Snapshot::empty());
        inputs
    }
}

/// A path in a tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreePath {
    /// The tree.
    pub fs: Fs,
    /// The path in it.
    pub path: AbsPath,
}

impl TreePath {
    /// The directory as its own tree. The tree is identified by the content of the directory, and
    /// stays the same when something beside it changes.
    pub fn into_tree(self) -> Fs {
        if self.path.is_root() { self.fs } else { Fs::new(FsOp::Select(self)) }
    }

    /// The file or directory alone in its own tree, and its path there. Like
    /// [`TreePath::into_tree`]but also for files.
    #[must_use]
    pub fn isolated(self) -> Self {
        if self.path.is_root() {
            return self;
        }
        Self { fs: Fs::new(FsOp::Isolate(self)), path: AbsPath::new(ISOLATED) }
    }
}

/// An op that produces a file tree. Large variants are boxed, because every cached tree takes the
/// size of the largest.
#[derive(Clone, Debug, Serialize)]
pub enum FsOp {
    /// An existing tree. The empty snapshot is scratch.
    Known(Snapshot),
    /// The layers of an image in a registry, layout or mirror.
    Image(Box<ImageOp>),
    /// The layers of an image in an archive.
    Import(Box<ImportOp>),
    /// A tree that a process produces.
    Exec {
        /// The process.
        exec: Arc<ExecOp>,
        /// Which of its trees.
        output: ExecOutput,
    },
    /// Files copied into a tree.
    Copy(Box<CopyOp>),
    /// Copies files that patterns pick into a tree.
    // IDENTITY: hashed under its old name, so that recipe digests stay what they were.
    #[serde(rename = "Gather")]
    CopyPattern(Box<CopyPattern>),
    /// A small change to a tree.
    Edit {
        /// The tree.
        base: Fs,
        /// The change.
        edit: Edit,
    },
    /// Everything in `upper` that `lower` lacks or has differently. The root of the result is the
    /// path of `upper`.
    Diff {
        /// The tree before.
        lower: TreePath,
        /// The tree after.
        upper: TreePath,
    },
    /// A subtree: the directory at the path becomes the root.
    Select(TreePath),
    /// The file or directory at the path, alone in a tree, as [`ISOLATED`].
    Isolate(TreePath),
    /// The files that pass the filter. The directory at the path becomes the root.
    Filter {
        /// The directory.
        source: TreePath,
        /// What passes.
        filter: Box<Filter>,
    },
    /// An op on changes between directories.
    Changes(Box<ChangesOp>),
    /// The files of a commit.
    Git(Box<GitTree>),
}

impl FsOp {
    /// The kind of work, as lists of running work name it.
    pub fn name(&self) -> &'static str {
        match self {
            FsOp::Known(_) => "known tree",
            FsOp::Image(_) => "layers of an image",
            FsOp::Import(_) => "import of an image archive",
            FsOp::Exec { .. } => "tree of a process",
            FsOp::Copy(_) => "copy",
            FsOp::CopyPattern(_) => "copy by patterns",
            FsOp::Edit { .. } => "edit",
            FsOp::Diff { .. } => "diff",
            FsOp::Select(_) | FsOp::Isolate(_) => "subtree",
            FsOp::Filter { .. } => "filter",
            FsOp::Changes(_) => "changes",
            FsOp::Git(_) => "git checkout",
        }
    }

    /// The trees that it works on. Dropping, pruning and explaining go by this list, so that a tree
    /// that is missing here is dropped recursively and pruned while it is needed.
    pub fn inputs(&self) -> Vec<&Fs> {
        match self {
            FsOp::Known(_) | FsOp::Image(_) => Vec::new(),
            FsOp::Import(op) => vec![&op.source.fs],
            FsOp::Exec { exec, .. } => exec.inputs(),
            FsOp::Copy(op) => vec![&op.base, &op.source.fs],
            FsOp::CopyPattern(op) => vec![&op.base, &op.source.fs],
            FsOp::Edit { base, .. } => vec![base],
            FsOp::Diff { lower, upper } => vec![&lower.fs, &upper.fs],
            FsOp::Select(place) | FsOp::Isolate(place) | FsOp::Filter { source: place, .. } => vec![&place.fs],
            FsOp::Changes(op) => op.places().into_iter().map(|place| &place.fs).collect(),
            FsOp::Git(tree) => tree.source.fs().into_iter().collect(),
        }
    }
}

/// A pinned image. Its manifest is known, its layers may not be pulled yet.
#[derive(Clone, Debug, Serialize)]
pub struct ImageOp {
    /// Where it came from, with its digest.
    pub reference: ImageRef,
    /// The selected platform.
    pub platform: Platform,
    /// The service that its registry is. `None`: the registry is found by its name.
    // IDENTITY: a client that cannot reach the registry must not make the pull of another client
    // fail. What is made of the image is keyed by its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Which addresses may be connected to for its layers.
    // IDENTITY: its layers are known by their content.
    #[serde(skip)]
    pub egress: EgressScope,
}

/// An image in an archive (OCI layout or the older Docker form).
#[derive(Clone, Debug, Serialize)]
pub struct ImportOp {
    /// The archive.
    pub source: TreePath,
    /// The tag, if the archive has several images. Empty: the only image.
    pub tag: String,
    /// The platform of the image.
    pub platform: Platform,
}

/// Which tree of a process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ExecOutput {
    /// Its root.
    Rootfs,
    /// What is mounted at this path.
    Mount(AbsPath),
}

/// Files copied into a tree.
#[derive(Clone, Debug, Serialize)]
pub struct CopyOp {
    /// The tree to copy into.
    pub base: Fs,
    /// What to copy: a directory's content, or one file.
    pub source: TreePath,
    /// Whether the source is a file.
    pub source_is_file: bool,
    /// The name of the source file inside an existing directory.
    pub source_name: Option<String>,
    /// The target. For a directory: the directory that receives the content. For a file: its path,
    /// or an existing directory that receives it under its name.
    pub target: AbsPath,
    /// Whether the target text ended with a slash and so names a directory.
    pub target_is_dir: bool,
    /// What is copied.
    pub filter: Filter,
    /// The owner of everything copied. `None` keeps the owners of the source.
    pub owner: Option<Owner>,
    /// The permission bits of everything copied. `None` keeps them.
    pub permissions: Option<u32>,
}

/// The path of the content in the tree of [`FsOp::Isolate`].
pub const ISOLATED: &str = "/item";

/// Files that patterns pick, copied into a tree, by the rules of `COPY` and `ADD` in Dockerfiles.
/// The result depends only on the picked files of the source.
#[derive(Clone, Debug, Serialize)]
pub struct CopyPattern {
    /// The tree to copy into.
    pub base: Fs,
    /// The directory that paths and patterns are relative to.
    pub source: TreePath,
    /// Patterns of ignored paths, relative to the source. `!` negates.
    pub ignore: Vec<String>,
    /// The paths or patterns to copy, symlinks followed. Of a directory, the content is copied.
    pub paths: Vec<String>,
    /// Patterns to exclude from the picked directories and files, relative to each.
    pub exclude: Vec<String>,
    /// Whether parents of picked paths are created, too: all of them, or those after `/./`.
    pub parents: bool,
    /// Whether archives are unpacked into the target.
    pub unpack: bool,
    /// The target: a directory, or the path of the one file.
    pub target: AbsPath,
    /// Whether the target text named a directory.
    pub target_is_dir: bool,
    /// The owner of everything copied and unpacked.
    pub owner: Option<Owner>,
    /// Without `owner`: whether files keep their owner in the source. Otherwise they belong to
    /// root.
    pub keep_owner: bool,
    /// The permission bits of everything copied. `None` keeps them.
    pub mode: Option<ModeChange>,
}

/// A file filter: first `include` (empty is all), then `exclude`, then `.gitignore` files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Filter {
    /// Only paths that match one of these pass, with their parents.
    pub include: Vec<String>,
    /// Paths that match one of these do not pass. `!` negates.
    pub exclude: Vec<String>,
    /// Whether `.gitignore` files of the tree exclude paths, too.
    pub gitignore: bool,
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An owner as the user wrote it: `user`, `user:group`, `uid`, `uid:gid`; names are those of the
/// target tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Owner(pub Box<str>);

/// A small change to a tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Edit {
    /// Writes a file, and makes its parents.
    WriteFile {
        /// Where.
        path: AbsPath,
        /// What.
        contents: Arc<[u8]>,
        /// The permission bits.
        permissions: u32,
        /// The owner. `None` is root.
        owner: Option<Owner>,
    },
    /// Makes a directory and its parents. An existing one stays as it is.
    MakeDir {
        /// Where.
        path: AbsPath,
        /// The permission bits.
        permissions: u32,
        /// The owner. `None` is root.
        owner: Option<Owner>,
    },
    /// Makes a symlink, and its parents.
    Symlink {
        /// What it points to, as written.
        target: String,
        /// Where it is.
        path: AbsPath,
    },
    /// Removes files or directories. A missing path is no error.
    Remove {
        /// Paths or patterns below `base`.
        paths: Vec<String>,
        /// The directory that the patterns are relative to.
        base: AbsPath,
        /// What may be removed.
        what: Removal,
    },
    /// Sets access and modification time of everything at and below a path.
    Timestamps {
        /// Where.
        path: AbsPath,
        /// Seconds since the Unix epoch.
        seconds: i64,
    },
    /// Sets the owner of everything at and below a path.
    Chown {
        /// Where.
        path: AbsPath,
        /// The owner.
        owner: Owner,
    },
}

/// What [`Edit::Remove`] may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Removal {
    /// Files and links; patterns are expanded.
    Files,
    /// One directory and its content; the base itself is emptied, not removed.
    Directory,
}
