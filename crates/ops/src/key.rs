//! Cache keys of ops: the parameters of an op and the content of its inputs, and nothing else.
//!
//! IDENTITY: the types of this file list everything that is hashed. Sessions, tokens, ports, engine
//! records, values of volatile variables and the content of cache volumes are not hashed. Names of
//! volatile variables and identities of cache volumes are hashed, so that a call without them never
//! gets a result that they influenced. An input below the root of a tree counts by the content at
//! its path ([`crate::content_digest`])and not by the tree around it.

use rondel_digest::Digest;
use rondel_model::exec::{MountSource, Scope, Sharing, Stdin};
use rondel_model::git::GitRemote;
use rondel_model::op::{CopyOp, CopyPattern, Edit, ImportOp};
use rondel_model::search::Search;
use rondel_model::{AbsPath, ExecOp, ModeChange, Owner, Platform, Snapshot};
use serde::Serialize;

/// The version of the behaviour of ops. Changing it invalidates all stored results.
const DOMAIN: &str = "op/v3";
/// The version of the content of `.git` in checkouts. 2: only tags that the commit reaches.
pub(crate) const CHECKOUT: u32 = 2;

/// The key of an op with evaluated inputs.
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
    /// `what` names the operation, `base` is the tree and the path that it changes, and `inputs`
    /// are the content digests of the other inputs.
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
    // IDENTITY: hashed under its old name, so that stored results stay valid.
    #[serde(rename = "Gather")]
    CopyPattern {
        base: Digest,
        source: Source<'a>,
        op: CopyPatternParameters<'a>,
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
    /// The name of a file whose target is a directory.
    name: Option<&'a str>,
    target: &'a AbsPath,
    target_is_dir: bool,
    /// Existing directories keep their metadata.
    filtered: bool,
    owner: Option<&'a Owner>,
    permissions: Option<u32>,
}

/// The source of a copy by pattern: a tree with patterns, or only the content that they picked.
#[derive(Serialize)]
pub(crate) enum Source<'a> {
    Tree { content: Digest, path: &'a AbsPath, ignore: &'a [String], paths: &'a [String], exclude: &'a [String] },
    Picked(Digest),
}

/// The parameters of a copy by pattern.
#[derive(Serialize)]
pub(crate) struct CopyPatternParameters<'a> {
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
    // IDENTITY: hashed under its old name, so that stored results stay valid.
    #[serde(rename = "scrub")]
    redact: Vec<Digest>,
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

/// The identity of a cache volume. Its current content is not part of it.
#[derive(Serialize)]
struct Volume<'a> {
    name: &'a str,
    source: Option<(Digest, &'a AbsPath)>,
    owner: Option<&'a Owner>,
}

impl Key<'_> {
    /// The digest under which results are stored.
    pub(crate) fn digest(&self) -> Digest {
        rondel_digest::of(DOMAIN, self)
    }
}

/// The key of a copy. `content` is the digest of the copied content.
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

/// The key of a copy by pattern: of the whole source tree (`Ok`), or of only what it picks (`Err`).
pub(crate) fn copy_pattern(op: &CopyPattern, base: &Snapshot, from: Result<&Snapshot, Digest>) -> Digest {
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
    let parameters = CopyPatternParameters {
        parents: op.parents,
        unpack: op.unpack,
        target: &op.target,
        target_is_dir: op.target_is_dir,
        owner: op.owner.as_ref(),
        keep_owner: op.keep_owner,
        mode: op.mode.as_ref(),
    };
    Key::CopyPattern { base: base.digest(), source, op: parameters }.digest()
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
        redact: op.redact.iter().map(|secret| secret.key).collect(),
        platform: &op.platform,
        services: op.services.iter().map(|bound| (&*bound.alias, bound.service.digest())).collect(),
        salt: op.salt.as_deref(),
    };
    Key::Exec(Box::new(parameters)).digest()
}

#[cfg(test)]
mod tests {
    use rondel_model::op::TreePath;
    use rondel_model::{Fs, Snapshot};

    use super::*;

    #[test]
    fn keys_of_stored_results_stay_the_same() {
        // IDENTITY: results on disk are found by these. They change only with [`DOMAIN`].
        let empty = Snapshot::empty();
        let process = ExecOp::new(Fs::scratch(), vec!["true".into()], Platform::new("linux", "amd64", ""));
        let pattern = CopyPattern {
            base: Fs::scratch(),
            source: TreePath { fs: Fs::scratch(), path: AbsPath::root() },
            ignore: Vec::new(),
            paths: vec!["*".into()],
            exclude: Vec::new(),
            parents: false,
            unpack: false,
            target: AbsPath::root(),
            target_is_dir: true,
            owner: None,
            keep_owner: false,
            mode: None,
        };
        let keys = [
            exec(&process, std::slice::from_ref(&empty)),
            copy_pattern(&pattern, &empty, Ok(&empty)),
            copy_pattern(&pattern, &empty, Err(Digest::of_bytes(b"picked"))),
        ];
        assert_eq!(
            rondel_digest::of("test", &keys).hex().to_string(),
            "bf29a01156a2705e1f5991e9cf29ea5bee29807f9e445e8eb05c717d165eb21d"
        );
    }
}
