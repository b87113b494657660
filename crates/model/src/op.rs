//! Deferred work on files: one closed family, one derived codec.

use std::sync::Arc;

use rondel_digest::Digest;
use serde::Serialize;

use crate::changes::ChangesOp;
use crate::egress::EgressScope;
use crate::exec::ExecOp;
use crate::git::{GitSource, GitTree};
use crate::image::ImageRef;
use crate::mode::ModeChange;
use crate::path::AbsPath;
use crate::platform::Platform;
use crate::service::Service;
use crate::snapshot::Snapshot;

/// A file tree that work will give: shared, with the digest of its recipe.
#[derive(Clone, Debug)]
pub struct Fs(Arc<Node>);

#[derive(Debug)]
struct Node {
    op: FsOp,
    digest: Digest,
    sets_times: bool,
}

impl Fs {
    /// The tree that `op` gives.
    pub fn new(op: FsOp) -> Self {
        let digest = rondel_digest::of("fs/v1", &op);
        let sets_times = match &op {
            FsOp::Edit { edit: Edit::Timestamps { .. }, .. } => true,
            // A process writes files at the time at which it runs.
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

    /// The recipe digest: what was asked, down to the leaves.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Whether the user set the times of files in it ([`Edit::Timestamps`]), so that they count as content.
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

/// A tree is hashed as its digest, so that a chain costs one step per link.
impl Serialize for Fs {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0.digest.as_bytes())
    }
}

/// Drops a chain link by link, so that a deep chain needs no deep stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut pending = Vec::new();
        take_inputs(std::mem::replace(&mut self.op, FsOp::Known(Snapshot::empty())), &mut pending);
        while let Some(fs) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(fs.0) {
                take_inputs(std::mem::replace(&mut node.op, FsOp::Known(Snapshot::empty())), &mut pending);
            }
        }
    }
}

fn take_inputs(op: FsOp, into: &mut Vec<Fs>) {
    match op {
        FsOp::Known(_) | FsOp::Image(_) => {}
        FsOp::Import(op) => into.push(op.source.fs),
        FsOp::Exec { exec, .. } => {
            if let Some(exec) = Arc::into_inner(exec) {
                exec.into_inputs(into);
            }
        }
        FsOp::Copy(op) => into.extend([op.base, op.source.fs]),
        FsOp::CopyPattern(op) => into.extend([op.base, op.source.fs]),
        FsOp::Edit { base, .. } => into.push(base),
        FsOp::Diff { lower, upper } => into.extend([lower.fs, upper.fs]),
        FsOp::Select(place) | FsOp::Isolate(place) => into.push(place.fs),
        FsOp::Filter { source, .. } => into.push(source.fs),
        FsOp::Changes(op) => op.into_inputs(into),
        FsOp::Git(tree) => {
            if let GitSource::Local(place) = tree.source {
                into.push(place.fs);
            }
        }
    }
}

/// A place in a tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TreePath {
    /// The tree.
    pub fs: Fs,
    /// Where in it.
    pub path: AbsPath,
}

impl TreePath {
    /// The directory as a tree of its own. The tree is known by the content of the directory, and stays the same when
    /// something else changes beside it.
    pub fn into_tree(self) -> Fs {
        if self.path.is_root() { self.fs } else { Fs::new(FsOp::Select(self)) }
    }

    /// What is at the place, alone in a tree, as the place of it there. Like [`TreePath::into_tree`], for what may be a file.
    #[must_use]
    pub fn isolated(self) -> Self {
        if self.path.is_root() {
            return self;
        }
        Self { fs: Fs::new(FsOp::Isolate(self)), path: AbsPath::new(ISOLATED) }
    }
}

/// Work that gives a file tree. What is large is boxed: a tree that is remembered takes as much as the largest.
#[derive(Clone, Debug, Serialize)]
pub enum FsOp {
    /// A tree that exists already. The empty snapshot is scratch.
    Known(Snapshot),
    /// The layers of an image in a registry, layout or mirror.
    Image(Box<ImageOp>),
    /// The layers of an image in an archive.
    Import(Box<ImportOp>),
    /// A tree that a process leaves behind.
    Exec {
        /// The process.
        exec: Arc<ExecOp>,
        /// Which of its trees.
        output: ExecOutput,
    },
    /// Files copied into a tree.
    Copy(Box<CopyOp>),
    /// Files that patterns pick, copied into a tree.
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
    /// What `upper` has that `lower` has not, or has differently. The result's root is the place of `upper`.
    Diff {
        /// The tree before.
        lower: TreePath,
        /// The tree after.
        upper: TreePath,
    },
    /// A sub-tree as a tree of its own: the directory at the place becomes the root.
    Select(TreePath),
    /// What is at the place, a directory or a file, alone in a tree, as [`ISOLATED`].
    Isolate(TreePath),
    /// A tree with only the files that pass the filter. The directory at the place becomes the root.
    Filter {
        /// The directory.
        source: TreePath,
        /// What passes.
        filter: Box<Filter>,
    },
    /// Work with what differs between directories.
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

    /// The trees that it works on.
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
            FsOp::Git(tree) => match &tree.source {
                GitSource::Local(place) => vec![&place.fs],
                GitSource::Remote(_) => Vec::new(),
            },
        }
    }
}

/// An image, pinned: what its manifest said is known, the layers may not be here yet.
#[derive(Clone, Debug, Serialize)]
pub struct ImageOp {
    /// Where it came from, with its digest.
    pub reference: ImageRef,
    /// The platform that was picked.
    pub platform: Platform,
    /// The service that its registry is; none: the host that is found by its name.
    // IDENTITY: whoever cannot reach it does not fail for those who can. What is made of the image goes by its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// How far connections for its layers may lead.
    // IDENTITY: its layers are known by their content.
    #[serde(skip)]
    pub egress: EgressScope,
}

/// An image in an archive (OCI layout or the older Docker form).
#[derive(Clone, Debug, Serialize)]
pub struct ImportOp {
    /// The archive.
    pub source: TreePath,
    /// The tag to take, when the archive has several images; empty: the only one.
    pub tag: String,
    /// The platform to take.
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
    /// The name that the source file has, when it goes inside an existing directory.
    pub source_name: Option<String>,
    /// Where to. For a directory: the directory that receives the content. For a file: its path, or an existing
    /// directory that receives it under its name.
    pub target: AbsPath,
    /// The target text ended with a slash: it names a directory.
    pub target_is_dir: bool,
    /// What is copied.
    pub filter: Filter,
    /// The owner of everything copied; none: root for containers, as in the source for directories.
    pub owner: Option<Owner>,
    /// The permission bits of everything copied; none keeps them.
    pub permissions: Option<u32>,
}

/// Where [`FsOp::Isolate`] puts what it isolates.
pub const ISOLATED: &str = "/item";

/// Files that patterns pick, copied into a tree, by the rules of `COPY` and `ADD` in Dockerfiles. The result depends on
/// what is picked and on nothing else of the source.
#[derive(Clone, Debug, Serialize)]
pub struct CopyPattern {
    /// The tree to copy into.
    pub base: Fs,
    /// The directory that paths and patterns are relative to.
    pub source: TreePath,
    /// What of the source does not count as there: patterns relative to it; `!` takes back.
    pub ignore: Vec<String>,
    /// What to copy: paths, with links followed, or patterns. A directory stands for its content.
    pub paths: Vec<String>,
    /// What not to copy of the directories and files that are picked, relative to each.
    pub exclude: Vec<String>,
    /// Directories that lead to what is picked are copied, too: all, or those after `/./`.
    pub parents: bool,
    /// Files that are archives are unpacked into the target.
    pub unpack: bool,
    /// Where to: a directory, or the path of the one file.
    pub target: AbsPath,
    /// The target text named a directory.
    pub target_is_dir: bool,
    /// The owner of everything copied and unpacked.
    pub owner: Option<Owner>,
    /// Without an owner, what is copied keeps the one that it has in the source; otherwise it is root's.
    pub keep_owner: bool,
    /// The permission bits of everything copied; none keeps them.
    pub mode: Option<ModeChange>,
}

/// Patterns that pick files: first `include` (empty: all), then `exclude`, then `.gitignore` files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Filter {
    /// Only what one of these matches, and the directories that lead there.
    pub include: Vec<String>,
    /// Not what one of these matches; `!` takes back.
    pub exclude: Vec<String>,
    /// Also not what `.gitignore` files of the tree exclude.
    pub gitignore: bool,
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An owner as the user wrote it: `user`, `user:group`, `uid`, `uid:gid`; names are those of the target tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Owner(pub Box<str>);

/// A small change to a tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Edit {
    /// Write a file, with its parents.
    WriteFile {
        /// Where.
        path: AbsPath,
        /// What.
        contents: Arc<[u8]>,
        /// The permission bits.
        permissions: u32,
        /// The owner; none is root.
        owner: Option<Owner>,
    },
    /// Make a directory, with its parents. An existing one stays as it is.
    MakeDir {
        /// Where.
        path: AbsPath,
        /// The permission bits.
        permissions: u32,
        /// The owner; none is root.
        owner: Option<Owner>,
    },
    /// Make a symbolic link, with its parents.
    Symlink {
        /// What it points to, as written.
        target: String,
        /// Where it is.
        path: AbsPath,
    },
    /// Remove files or directories; what is not there is no error.
    Remove {
        /// Paths or patterns below `base`.
        paths: Vec<String>,
        /// The directory that the patterns are relative to.
        base: AbsPath,
        /// What may be removed.
        what: Removal,
    },
    /// Set access and modification time of everything at and below a path.
    Timestamps {
        /// Where.
        path: AbsPath,
        /// Seconds since the Unix epoch.
        seconds: i64,
    },
    /// Set the owner of everything at and below a path.
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
