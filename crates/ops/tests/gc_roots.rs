//! Pruning looks below every op, and at every tree that a value refers to.

use std::collections::HashSet;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_model::changes::{ChangePair, ChangesOp, OnConflict};
use rondel_model::exec::{ExecOp, MountSource, Sharing};
use rondel_model::git::{GitSource, GitTree};
use rondel_model::op::{CopyOp, CopyPattern, Edit, ExecOutput, Filter, ImageOp, ImportOp, TreePath};
use rondel_model::service::{ContainerService, ServiceKind};
use rondel_model::{
    AbsPath, Changeset, Container, Directory, EgressScope, Fs, FsOp, GitRef, GitRepository, LayerId, Mount, Platform,
    Service, ServiceBinding, Snapshot, Value,
};
use rondel_ops::Ops;

/// A tree with one layer of its own.
fn tree(name: &str) -> Fs {
    Fs::known(Snapshot::new([LayerId(Digest::of_bytes(name.as_bytes()))]))
}

/// The same on every machine, so that digests are, too.
fn platform() -> Platform {
    Platform::new("linux", "amd64", "")
}

fn at(fs: &Fs) -> TreePath {
    TreePath { fs: fs.clone(), path: AbsPath::new("/sub") }
}

fn exec(rootfs: &Fs) -> ExecOp {
    ExecOp::new(rootfs.clone(), vec!["true".into()], platform())
}

/// The name of an op. A new op breaks the build here: add it to [`ops`], with all of its inputs.
fn name(op: &FsOp) -> &'static str {
    match op {
        FsOp::Known(_) => "known",
        FsOp::Image(_) => "image",
        FsOp::Import(_) => "import",
        FsOp::Exec { .. } => "exec",
        FsOp::Copy(_) => "copy",
        FsOp::CopyPattern(_) => "copy pattern",
        FsOp::Edit { .. } => "edit",
        FsOp::Diff { .. } => "diff",
        FsOp::Select(_) => "select",
        FsOp::Isolate(_) => "isolate",
        FsOp::Filter { .. } => "filter",
        FsOp::Changes(op) => match &**op {
            ChangesOp::Apply { .. } => "apply changes",
            ChangesOp::Merge { .. } => "merge changes",
            ChangesOp::Write { .. } => "write changes",
            ChangesOp::Patch { .. } => "apply patch",
        },
        FsOp::Git(tree) => match &tree.source {
            GitSource::Local(_) => "git local",
            GitSource::Remote(_) => "git remote",
        },
    }
}

/// Every op that has inputs, over the trees of `inputs`, and how many of them it takes.
fn ops(inputs: &[Fs; 5]) -> Vec<(FsOp, usize)> {
    let [a, b, c, d, e] = inputs;
    let pair = |before: &Fs, after: &Fs| ChangePair { before: at(before), after: at(after) };
    let filter = Filter::default();
    let mount = |source| Mount { target: AbsPath::new("/m"), source };
    let path = AbsPath::root();
    let mounts = vec![
        mount(MountSource::Directory { fs: b.clone(), path: path.clone(), read_only: false, owner: None }),
        mount(MountSource::File { fs: c.clone(), path: path.clone(), owner: None }),
        mount(MountSource::Bind { fs: d.clone(), path, read_only: true }),
        mount(MountSource::Cache {
            volume: "v".into(),
            source: Some(at(e)),
            sharing: Sharing::Shared,
            owner: None,
            read_only: false,
        }),
    ];
    let merge = ChangesOp::Merge { base: at(a), ours: pair(b, c), theirs: pair(d, e), on_conflict: OnConflict::Fail };
    let git = GitTree {
        source: GitSource::Local(at(a)),
        commit: "c".into(),
        name: "".into(),
        depth: 1,
        tags: false,
        discard_git_dir: true,
    };
    vec![
        (FsOp::Import(ImportOp { source: at(a), tag: String::new(), platform: platform() }.into()), 1),
        (FsOp::Exec { exec: Arc::new(ExecOp { mounts, ..exec(a) }), output: ExecOutput::Rootfs }, 5),
        (
            FsOp::Copy(Box::new(CopyOp {
                base: a.clone(),
                source: at(b),
                source_is_file: false,
                source_name: None,
                target: AbsPath::root(),
                target_is_dir: true,
                filter: filter.clone(),
                owner: None,
                permissions: None,
            })),
            2,
        ),
        (
            FsOp::CopyPattern(Box::new(CopyPattern {
                base: a.clone(),
                source: at(b),
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
            })),
            2,
        ),
        (FsOp::Edit { base: a.clone(), edit: Edit::Timestamps { path: AbsPath::root(), seconds: 0 } }, 1),
        (FsOp::Diff { lower: at(a), upper: at(b) }, 2),
        (FsOp::Select(at(a)), 1),
        (FsOp::Isolate(at(a)), 1),
        (FsOp::Filter { source: at(a), filter: filter.into() }, 1),
        (FsOp::Changes(ChangesOp::Apply { base: at(a), changes: pair(b, c) }.into()), 3),
        (FsOp::Changes(merge.into()), 5),
        (FsOp::Changes(ChangesOp::Write { changes: pair(a, b) }.into()), 2),
        (FsOp::Changes(ChangesOp::Patch { base: at(a), patch: at(b) }.into()), 2),
        (FsOp::Git(git.into()), 1),
    ]
}

fn trees() -> [Fs; 5] {
    ["a", "b", "c", "d", "e"].map(tree)
}

/// Whether `value` passes when `missing` is the one tree that is not there.
fn is_complete(value: &Value, missing: &Fs) -> bool {
    Ops::all_inputs(value, &mut HashSet::new(), &|fs| fs != missing)
}

#[test]
fn a_missing_tree_below_any_op_is_found() {
    let trees = trees();
    let ops = ops(&trees);
    let names: HashSet<&str> = ops.iter().map(|(op, _)| name(op)).collect();
    assert_eq!(names.len(), ops.len());
    for (op, inputs) in ops {
        let name = name(&op);
        let value = Value::object("Directory", Directory::root(Fs::new(op), platform()));
        for (at, tree) in trees.iter().enumerate() {
            assert_eq!(is_complete(&value, tree), at >= inputs, "{name}: {at}");
        }
    }
}

#[test]
fn ops_without_inputs_are_complete() {
    let image = ImageOp {
        reference: "x.example/i".parse().unwrap(),
        platform: platform(),
        service: None,
        egress: EgressScope::Outside,
    };
    for op in [FsOp::Known(Snapshot::empty()), FsOp::Image(image.into())] {
        assert!(op.inputs().is_empty(), "{}", name(&op));
    }
}

#[test]
fn a_missing_tree_of_any_value_is_found() {
    let missing = tree("missing");
    let directory = |fs: &Fs| Directory::root(fs.clone(), platform());
    let service = |exec| {
        let container = ContainerService { exec, ports: Vec::new(), health: None, terminal: None };
        Service::new(ServiceKind::Container(Box::new(container)), None)
    };
    let bound = |service: &Service| ServiceBinding { alias: "s".into(), service: service.clone() };
    let inner = service(exec(&missing));
    let outer = service(ExecOp { services: vec![bound(&inner)], ..exec(&Fs::scratch()) });
    let scratch = Container::scratch(platform());
    let repository = || GitRepository { source: GitSource::Local(at(&missing)), discard_git_dir: false, head: None };
    let values = [
        Value::object("Container", Container { rootfs: missing.clone(), ..scratch.clone() }),
        Value::object("Container", Container { last_exec: Some(Arc::new(exec(&missing))), ..scratch.clone() }),
        Value::object("Container", Container { services: [("s", bound(&outer))].into_iter().collect(), ..scratch }),
        Value::object("Changeset", Changeset { before: directory(&missing), after: directory(&Fs::scratch()) }),
        Value::object("Changeset", Changeset { before: directory(&Fs::scratch()), after: directory(&missing) }),
        Value::object("Service", outer),
        Value::object("GitRepository", repository()),
        Value::object("GitRef", GitRef { repository: repository(), name: "r".into(), commit: "c".into() }),
    ];
    for value in values {
        assert!(!is_complete(&value, &missing), "{value:?}");
        assert!(is_complete(&value, &tree("other")), "{value:?}");
        assert!(!is_complete(&Value::List([Value::Null, value].into()), &missing));
    }
}

#[test]
fn recipes_keep_their_digests() {
    // IDENTITY: what is cached on disk and what services are called derives from these. They change only
    // on purpose.
    let all: Vec<Digest> = ops(&trees()).into_iter().map(|(op, _)| Fs::new(op).digest()).collect();
    let digest = rondel_digest::of("test", &all);
    assert_eq!(digest.hex().to_string(), "9bae3005e7f306e6d7becb3436c9bdd53efb262e067239392a2be45e45880de8");
}
