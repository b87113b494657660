//! Prepares the root and mounts of a process as detached mounts, and commits or discards them after
//! it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::exec::{MountSource, Sharing};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, ExecOp, Owner, Snapshot, SocketRef};
use rondel_ports::dirs::TempDirs;
use rondel_ports::process::{ProcessMount, ProcessMountSource};
use rondel_ports::secrets::Plaintext;
use rondel_ports::snapshots::{Label, Snapshots, WorkTree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::copy::plain_file;
use crate::mountpoint_layer::Mountpoints;
use crate::options::{BUNDLE_TARGET, BUNDLES, EXTRA_TARGET};
use crate::owner::{self, Ids};
use crate::root::{Root, failed, inner, kind, names};
use crate::sockets::SocketFiles;
use crate::volumes::{Claims, Volumes};
use crate::{Ops, dedup_layers, edit};

/// The work trees of one process, until they are committed or discarded.
pub(crate) struct Trees {
    root: WorkTree,
    mounts: Vec<MountedTree>,
}

struct MountedTree {
    target: AbsPath,
    /// The path inside the backing that is mounted at the target.
    path: AbsPath,
    backing: MountBacking,
}

/// What is mounted.
enum MountBacking {
    Writable(WorkTree),
    ReadOnly(Snapshot),
    Volume(PathBuf),
    Ephemeral,
}

/// The trees, and the mounts for the process.
pub(crate) struct Prepared {
    pub(crate) trees: Trees,
    pub(crate) root: OwnedFd,
    pub(crate) mounts: Vec<ProcessMount>,
    /// Socket files that lead to sockets of clients, still to be served.
    pub(crate) sockets: Option<SocketFiles>,
    /// Whether the host's CA bundle is one of the mounts.
    pub(crate) bundle: bool,
}

/// Opens the root and every mount of `exec`. `inputs` are the snapshots of [`ExecOp::inputs`];
/// `secrets` those of the mounts; `resolver`: `/etc/resolv.conf` will be mounted.
pub(crate) fn prepare(
    ops: &Ops,
    exec: &ExecOp,
    inputs: &[Snapshot],
    claims: &Claims,
    secrets: Vec<Arc<Plaintext>>,
    resolver: bool,
) -> Result<Prepared> {
    let store = &*ops.ports().snapshots;
    let empty = Snapshot::empty();
    let trust = &ops.options.trust;
    let extra = trust.extra_dir.as_deref().filter(|dir| has_content(dir));
    let points = Mountpoints { resolver, extra: extra.is_some() };
    let root = ops.mountpoint_layers.prepare(store, inputs.first().unwrap_or(&empty), points)?;
    let mut trees = Trees { root, mounts: Vec::new() };
    let mut preparing = MountPreparation {
        store,
        volume_dirs: &*ops.ports().volumes,
        temp_dirs: &*ops.ports().temp_dirs,
        volumes: &ops.volumes,
        claims,
        caches: 0,
        inputs: inputs.get(1..).unwrap_or_default().iter(),
        secrets: secrets.into_iter(),
        mounts: Vec::new(),
        sockets: None,
    };
    let prepared = clone(Root(trees.root.root.as_fd()), &AbsPath::root(), None).and_then(|root| {
        preparing.all(exec, &mut trees)?;
        let bundle = trust.bundle.as_deref().filter(|_| trust.added || !has_bundle(Root(trees.root.root.as_fd())));
        preparing.trust(bundle, extra, exec, &trees)?;
        Ok((root, bundle.is_some(), preparing.mounts, preparing.sockets))
    });
    match prepared {
        Ok((root, bundle, mounts, sockets)) => Ok(Prepared { trees, root, mounts, sockets, bundle }),
        Err(fault) => {
            trees.discard(store);
            Err(fault)
        }
    }
}

struct MountPreparation<'a> {
    store: &'a dyn Snapshots,
    volume_dirs: &'a dyn rondel_ports::dirs::Volumes,
    temp_dirs: &'a dyn TempDirs,
    volumes: &'a Volumes,
    claims: &'a Claims,
    /// The number of the next cache mount.
    caches: usize,
    inputs: std::slice::Iter<'a, Snapshot>,
    secrets: std::vec::IntoIter<Arc<Plaintext>>,
    mounts: Vec<ProcessMount>,
    sockets: Option<SocketFiles>,
}

impl MountPreparation<'_> {
    fn all(&mut self, exec: &ExecOp, trees: &mut Trees) -> Result<()> {
        for mount in &exec.mounts {
            let target = &mount.target;
            let context = |fault: Fault| fault.context(format!("cannot mount `{target}`"));
            match &mount.source {
                MountSource::Directory { path, read_only, owner, .. } => {
                    let what = TreeMount { path, owner: owner.as_ref(), read_only: *read_only, file: Some(false) };
                    self.tree(target, &what, trees).map_err(context)?;
                }
                MountSource::File { path, owner, .. } => {
                    let what = TreeMount { path, owner: owner.as_ref(), read_only: false, file: Some(true) };
                    self.tree(target, &what, trees).map_err(context)?;
                }
                MountSource::Bind { path, read_only, .. } => {
                    let what = TreeMount { path, owner: None, read_only: *read_only, file: None };
                    self.tree(target, &what, trees).map_err(context)?;
                }
                MountSource::Cache { source, sharing, read_only, .. } => {
                    let path = self.volume(source.as_ref(), *sharing).map_err(context)?;
                    let backing =
                        File::open(&path).attempt(|| format!("open `{}`", path.display())).map_err(context)?;
                    let mount = clone(Root(backing.as_fd()), &AbsPath::root(), Some(false))?;
                    self.push(target, ProcessMountSource::Detached { mount, read_only: *read_only });
                    trees.mount(target, &AbsPath::root(), MountBacking::Volume(path));
                }
                MountSource::Temp { size } => {
                    self.push(target, ProcessMountSource::Temp { size: *size });
                    trees.mount(target, &AbsPath::root(), MountBacking::Ephemeral);
                }
                MountSource::Secret { owner, mode, .. } => {
                    let bytes = self.secrets.next().map_or_else(Vec::new, |secret| secret.bytes().to_vec());
                    let owner = owner.as_ref().map_or_else(String::new, |owner| owner.0.to_string());
                    self.push(target, ProcessMountSource::Content { bytes, mode: *mode, owner });
                    trees.mount(target, &AbsPath::root(), MountBacking::Ephemeral);
                }
                MountSource::Socket { socket, owner } => {
                    let ids = resolve(trees, owner.as_ref())?;
                    let mount = self.socket(socket, ids).map_err(context)?;
                    self.push(target, ProcessMountSource::Detached { mount, read_only: false });
                    trees.mount(target, &AbsPath::root(), MountBacking::Ephemeral);
                }
            }
        }
        Ok(())
    }

    /// The directory of the next cache mount's volume, created if it is missing.
    fn volume(&mut self, source: Option<&TreePath>, sharing: Sharing) -> Result<PathBuf> {
        let seed = source.and_then(|place| Some((self.inputs.next()?, &place.path)));
        let claimed = self.claims.volume(self.caches, sharing);
        let (volume, folder) = claimed.ok_or_else(|| Fault::bug("a cache volume is used that was not claimed"))?;
        self.caches += 1;
        self.volumes.folder((self.store, self.volume_dirs), folder, seed, volume.owner)
    }

    fn socket(&mut self, socket: &SocketRef, owner: Option<Ids>) -> Result<OwnedFd> {
        let files = match &mut self.sockets {
            Some(files) => files,
            none => none.insert(SocketFiles::new(self.temp_dirs.temp_dir()?)),
        };
        let name = files.add(socket, owner)?;
        let folder = File::open(files.folder()).attempt(|| "open the folder of sockets".into())?;
        clone(Root(folder.as_fd()), &AbsPath::new(&name), Some(true))
    }

    fn tree(&mut self, target: &AbsPath, what: &TreeMount<'_>, trees: &mut Trees) -> Result<()> {
        let empty = Snapshot::empty();
        let snapshot = self.inputs.next().unwrap_or(&empty);
        if what.read_only && what.owner.is_none() {
            let tree = dedup_layers::view_for_process(self.store, snapshot)?;
            let mount = clone(Root(tree.root.as_fd()), what.path, what.file)?;
            self.push(target, ProcessMountSource::Detached { mount, read_only: true });
            trees.mount(target, what.path, MountBacking::ReadOnly(snapshot.clone()));
            return Ok(());
        }
        let ids = resolve(trees, what.owner)?;
        let tree = dedup_layers::prepare(self.store, snapshot)?;
        let mount = match ids {
            Some(ids) => edit::own(Root(tree.root.as_fd()), what.path, ids),
            None => Ok(()),
        };
        let mount = mount.and_then(|()| clone(Root(tree.root.as_fd()), what.path, what.file));
        trees.mount(target, what.path, MountBacking::Writable(tree));
        self.push(target, ProcessMountSource::Detached { mount: mount?, read_only: what.read_only });
        Ok(())
    }

    /// Mounts the certificate authorities that the host trusts.
    fn trust(&mut self, bundle: Option<&Path>, extra: Option<&Path>, exec: &ExecOp, trees: &Trees) -> Result<()> {
        if let Some(bundle) = bundle {
            let source = ProcessMountSource::Bind { path: bundle.to_owned(), read_only: true };
            self.push(&AbsPath::new(BUNDLE_TARGET), source);
        }
        let Some(extra) = extra else { return Ok(()) };
        let target = AbsPath::new(EXTRA_TARGET);
        let covered = exec
            .mounts
            .iter()
            .any(|mount| mount.target.strip_prefix(&target).is_some() || target.strip_prefix(&mount.target).is_some());
        let root = Root(trees.root.root.as_fd());
        let own = match root.open(inner(&target), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => names(dir.as_fd()).map_or(true, |names| !names.is_empty()),
            Err(error) => error != Errno::NOENT,
        };
        if !covered && !own {
            self.push(&target, ProcessMountSource::Bind { path: extra.to_owned(), read_only: true });
        }
        Ok(())
    }

    fn push(&mut self, target: &AbsPath, source: ProcessMountSource) {
        self.mounts.push(ProcessMount { target: target.as_str().to_owned(), source });
    }
}

struct TreeMount<'a> {
    path: &'a AbsPath,
    owner: Option<&'a Owner>,
    read_only: bool,
    /// Whether it must be a file or a directory. `None` accepts both.
    file: Option<bool>,
}

/// Whether the image has a CA bundle.
fn has_bundle(root: Root<'_>) -> bool {
    let is_there = |path: &str| {
        let found = root.find(inner(&AbsPath::new(path)), true).ok();
        found.and_then(|found| found.stat).is_some_and(|stat| kind(&stat) == FileType::RegularFile && stat.st_size > 0)
    };
    BUNDLES.into_iter().any(is_there)
}

fn has_content(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Looks up an owner in the container's root, also for mounted trees.
fn resolve(trees: &Trees, owner: Option<&Owner>) -> Result<Option<Ids>> {
    owner.map(|owner| owner::resolve(Root(trees.root.root.as_fd()), owner)).transpose()
}

/// Clones `path` of the tree at `root`, symlinks followed, as a detached mount. `file` says whether
/// it must be a file.
fn clone(root: Root<'_>, path: &AbsPath, file: Option<bool>) -> Result<OwnedFd> {
    let fail = |e| failed(e, "mount", path.as_str());
    let found = root.find(inner(path), true).map_err(fail)?;
    let stat = found.stat.ok_or_else(|| fail(Errno::NOENT))?;
    match (file, kind(&stat) == FileType::Directory) {
        (Some(true), true) => return Err(fail(Errno::ISDIR)),
        (Some(false), false) => return Err(fail(Errno::NOTDIR)),
        _ => {}
    }
    let place = root.open(&found.path, OFlags::PATH | OFlags::NOFOLLOW).map_err(fail)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    match open_tree(&place, "", flags) {
        // Kernels before 6.15 cannot clone a detached mount, but its root can be moved as it is.
        Err(Errno::INVAL) if path.is_root() => {
            root.0.try_clone_to_owned().attempt(|| "hand a tree to a process".into())
        }
        other => other.map_err(fail),
    }
}

impl Trees {
    fn mount(&mut self, target: &AbsPath, path: &AbsPath, backing: MountBacking) {
        self.mounts.push(MountedTree { target: target.clone(), path: path.clone(), backing });
    }

    /// Discards everything.
    pub(crate) fn discard(self, store: &dyn Snapshots) {
        store.abort(self.root);
        for mount in self.mounts {
            if let MountBacking::Writable(tree) = mount.backing {
                store.abort(tree);
            }
        }
    }

    /// Commits the root, and the mounted trees by target.
    pub(crate) fn commit(
        self,
        store: &dyn Snapshots,
        label: &Label,
    ) -> Result<(Snapshot, BTreeMap<AbsPath, Snapshot>)> {
        let mut result = store.commit(WorkTree { label: label.clone(), ..self.root });
        let mut mounts = BTreeMap::new();
        for mount in self.mounts {
            match mount.backing {
                MountBacking::Writable(tree) if result.is_err() => store.abort(tree),
                MountBacking::Writable(tree) => match store.commit(WorkTree { label: label.clone(), ..tree }) {
                    Ok(snapshot) => drop(mounts.insert(mount.target, snapshot)),
                    Err(fault) => result = Err(fault),
                },
                MountBacking::ReadOnly(snapshot) => drop(mounts.insert(mount.target, snapshot)),
                MountBacking::Volume(_) | MountBacking::Ephemeral => {}
            }
        }
        result.map(|root| (root, mounts))
    }

    /// Writes `content` to `path` as seen by the process.
    pub(crate) fn write(&self, path: &AbsPath, mut content: File) -> Result<()> {
        let covering = self.mounts.iter().enumerate().filter_map(|(index, mount)| {
            let rest = path.strip_prefix(&mount.target)?;
            Some((mount.target.as_str().len(), index, mount, rest))
        });
        let Some((_, _, mount, rest)) = covering.max_by_key(|(length, index, ..)| (*length, *index)) else {
            return write_in(Root(self.root.root.as_fd()), path, &mut content);
        };
        let inside = mount.path.join_inside(rest);
        match &mount.backing {
            MountBacking::Writable(tree) => write_in(Root(tree.root.as_fd()), &inside, &mut content),
            MountBacking::Volume(folder) => {
                let folder = File::open(folder).attempt(|| format!("open the cache volume at `{}`", mount.target))?;
                write_in(Root(folder.as_fd()), &inside, &mut content)
            }
            MountBacking::ReadOnly(_) => {
                Err(Fault::user(format!("cannot redirect output to `{path}`: `{}` is mounted read-only", mount.target)))
            }
            MountBacking::Ephemeral => Ok(()),
        }
    }
}

fn write_in(root: Root<'_>, path: &AbsPath, content: &mut File) -> Result<()> {
    let fail = |e| failed(e, "redirect output to", path.as_str());
    let found = root.find(inner(path), true).map_err(fail)?;
    let parent = found.path.parent().ok_or_else(|| fail(Errno::ISDIR))?.to_owned();
    let name = found.path.file_name().unwrap_or(OsStr::new("output"));
    if found.stat.is_some_and(|stat| kind(&stat) == FileType::Directory) {
        return Err(fail(Errno::ISDIR));
    }
    let (dir, _) = root.ensure_dir(&parent, &mut |_| Ok(())).map_err(fail)?;
    plain_file(content, dir.as_fd(), name, 0o644)
}
