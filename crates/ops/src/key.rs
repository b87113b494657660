//! Keys of work: what it does and the content of what it works on, nothing else.
//!
//! IDENTITY: everything that is hashed here is listed in the types of this file. Sessions, tokens, ports, engine records,
//! the values of volatile variables and what cache volumes hold are not among it. The names of volatile variables and the
//! identity of cache volumes are: a call without them never gets a result that they had a part in. What is read below the
//! root of a tree counts by the content at its path ([`crate::content_digest`]), and not by the tree around it.

use rondel_digest::Digest;
use rondel_model::exec::{MountSource, Scope, Sharing, Stdin};
use rondel_model::git::GitRemote;
use rondel_model::op::{CopyOp, CopyPattern, Edit, ImportOp};
use rondel_model::search::Search;
use rondel_model::{AbsPath, ExecOp, ModeChange, Owner, Platform, Snapshot};
use serde::Serialize;


/// The version of what ops do: a change of their behaviour changes it, so that older results are not used.
const DOMAIN: &str = "op/v3";
/// What a checkout of a commit has in its `.git`. 2: of tags only those that the commit reaches.
pub(crate) const CHECKOUT: u32 = 2;

/// An op over evaluated inputs.
#[derive(Serialize)]
pub(crate) enum Key<'a> {
    Edit {
        base: Digest,
        edit: &'a Edit,
    },
    Copy {
        base: Digest,
        content: Digest,
        op: Copy<'a>,
    },
    Diff {
        lower: Digest,
        upper: Digest,
    },
    /// The content that passes a filter, as a tree.
    Pick {
        content: Digest,
    },
    Import {
        content: Digest,
        tag: &'a str,
        platform: &'a Platform,
    },
    /// What it does, the tree that it changes at which place, if it changes one, and the content of the other inputs.
    Changes {
        what: &'a str,
        base: Option<(Digest, &'a AbsPath)>,
        inputs: &'a [Digest],
    },
    Search {
        content: Digest,
        name: Option<&'a str>,
        search: &'a Search,
    },
    Gather {
        base: Digest,
        source: Source<'a>,
        op: Gather<'a>,
    },
    Isolate {
        content: Digest,
    },
    Exec(Box<Exec<'a>>),
    Git(Git<'a>),
    Archive {
        images: &'a [(Digest, Digest)],
        compression: &'a str,
        docker: bool,
    },
}

/// The files of a commit.
#[derive(Serialize)]
pub(crate) struct Git<'a> {
    /// [`CHECKOUT`].
    pub(crate) version: u32,
    pub(crate) remote: Option<&'a GitRemote>,
    pub(crate) local: Option<(Digest, &'a AbsPath)>,
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
    pub(crate) depth: u32,
    pub(crate) tags: bool,
    pub(crate) discard_git_dir: bool,
}

/// The parameters of a copy.
#[derive(Serialize)]
pub(crate) struct Copy<'a> {
    is_file: bool,
    /// The name that a file has where the target is a directory.
    name: Option<&'a str>,
    target: &'a AbsPath,
    target_is_dir: bool,
    /// Directories that are there already keep what they are.
    filtered: bool,
    owner: Option<&'a Owner>,
    permissions: Option<u32>,
}

/// What is gathered: from a tree, or, whatever the tree has else, the content that was picked.
#[derive(Serialize)]
pub(crate) enum Source<'a> {
    Tree { content: Digest, path: &'a AbsPath, ignore: &'a [String], paths: &'a [String], exclude: &'a [String] },
    Picked(Digest),
}

/// The parameters of a gathering.
#[derive(Serialize)]
pub(crate) struct Gather<'a> {
    parents: bool,
    unpack: bool,
    target: &'a AbsPath,
    target_is_dir: bool,
    owner: Option<&'a Owner>,
    keep_owner: bool,
    mode: Option<&'a ModeChange>,
}

/// The parameters of a process.
#[derive(Serialize)]
pub(crate) struct Exec<'a> {
    rootfs: Digest,
    mounts: Vec<(&'a AbsPath, Mount<'a>)>,
    args: &'a [String],
    env: &'a [(String, String)],
    volatile_env: Vec<&'a str>,
    secret_env: Vec<(&'a str, Digest)>,
    workdir: &'a AbsPath,
    user: &'a str,
    stdin: &'a Stdin,
    redirects: [Option<&'a AbsPath>; 2],
    scope: Option<&'a Scope>,
    insecure: bool,
    no_init: bool,
    offline: bool,
    host_network: bool,
    scrub: Vec<Digest>,
    platform: &'a Platform,
    services: Vec<(&'a str, Digest)>,
    salt: Option<&'a str>,
}

#[derive(Serialize)]
enum Mount<'a> {
    Tree { content: Digest, path: &'a AbsPath, file: bool, read_only: bool, owner: Option<&'a Owner> },
    Bind { content: Digest, path: &'a AbsPath, read_only: bool },
    Cache { volume: Volume<'a>, sharing: Sharing, read_only: bool },
    Temp { size: Option<u64> },
    Secret { key: Digest, owner: Option<&'a Owner>, mode: u32 },
    Socket { key: Digest, owner: Option<&'a Owner> },
}

/// What tells a cache volume from others. What it holds now is none of that.
#[derive(Serialize)]
struct Volume<'a> {
    name: &'a str,
    source: Option<(Digest, &'a AbsPath)>,
    owner: Option<&'a Owner>,
}

impl Key<'_> {
    /// The key under which results are stored.
    pub(crate) fn digest(&self) -> Digest {
        rondel_digest::of(DOMAIN, self)
    }
}

/// The key of a copy; `content` is what is copied.
pub(crate) fn copy(op: &CopyOp, base: &Snapshot, content: Digest) -> Digest {
    let parameters = Copy {
        is_file: op.source_is_file,
        name: op.source_is_file.then(|| op.source_name.as_deref().or(op.source.path.file_name())).flatten(),
        target: &op.target,
        target_is_dir: op.target_is_dir,
        filtered: !op.filter.is_empty(),
        owner: op.owner.as_ref(),
        permissions: op.permissions,
    };
    Key::Copy { base: base.digest(), content, op: parameters }.digest()
}

/// The key of a gathering from a whole tree, and, once what it picks is known, that of the gathering alone.
pub(crate) fn gather(op: &CopyPattern, base: &Snapshot, from: Result<&Snapshot, Digest>) -> Digest {
    let source = match from {
        Ok(tree) => Source::Tree {
            content: tree.digest(),
            path: &op.source.path,
            ignore: &op.ignore,
            paths: &op.paths,
            exclude: &op.exclude,
        },
        Err(picked) => Source::Picked(picked),
    };
    let parameters = Gather {
        parents: op.parents,
        unpack: op.unpack,
        target: &op.target,
        target_is_dir: op.target_is_dir,
        owner: op.owner.as_ref(),
        keep_owner: op.keep_owner,
        mode: op.mode.as_ref(),
    };
    Key::Gather { base: base.digest(), source, op: parameters }.digest()
}

/// The key of an archive's content.
pub(crate) fn import(op: &ImportOp, content: Digest) -> Digest {
    Key::Import { content, tag: &op.tag, platform: &op.platform }.digest()
}

/// The key of a process. `inputs` are the snapshots of [`ExecOp::inputs`], in that order.
pub(crate) fn exec(op: &ExecOp, inputs: &[Snapshot]) -> Digest {
    let mut inputs = inputs.iter().map(Snapshot::digest);
    let mut next = || inputs.next().unwrap_or_else(|| Snapshot::empty().digest());
    let rootfs = next();
    let mut mounts = Vec::with_capacity(op.mounts.len());
    for mount in &op.mounts {
        let source = match &mount.source {
            MountSource::Directory { path, read_only, owner, .. } => {
                Mount::Tree { content: next(), path, file: false, read_only: *read_only, owner: owner.as_ref() }
            }
            MountSource::File { path, owner, .. } => {
                Mount::Tree { content: next(), path, file: true, read_only: false, owner: owner.as_ref() }
            }
            MountSource::Bind { path, read_only, .. } => Mount::Bind { content: next(), path, read_only: *read_only },
            MountSource::Cache { volume, sharing, source, owner, read_only } => {
                let source = source.as_ref().map(|place| (next(), &place.path));
                let volume = Volume { name: volume, source, owner: owner.as_ref() };
                Mount::Cache { volume, sharing: *sharing, read_only: *read_only }
            }
            MountSource::Temp { size } => Mount::Temp { size: *size },
            MountSource::Secret { secret, owner, mode } => {
                Mount::Secret { key: secret.key, owner: owner.as_ref(), mode: *mode }
            }
            MountSource::Socket { socket, owner } => Mount::Socket { key: socket.key, owner: owner.as_ref() },
        };
        mounts.push((&mount.target, source));
    }
    let parameters = Exec {
        rootfs,
        mounts,
        args: &op.args,
        env: &op.env,
        volatile_env: op.volatile_env.iter().map(|(name, _)| &**name).collect(),
        secret_env: op.secret_env.iter().map(|(name, secret)| (&**name, secret.key)).collect(),
        workdir: &op.workdir,
        user: &op.user,
        stdin: &op.stdin,
        redirects: [op.redirect_stdout.as_ref(), op.redirect_stderr.as_ref()],
        scope: op.scope.as_ref(),
        insecure: op.insecure,
        no_init: op.no_init,
        offline: op.offline,
        host_network: op.host_network,
        scrub: op.scrub.iter().map(|secret| secret.key).collect(),
        platform: &op.platform,
        services: op.services.iter().map(|bound| (&*bound.alias, bound.service.digest())).collect(),
        salt: op.salt.as_deref(),
    };
    Key::Exec(Box::new(parameters)).digest()
}
