//! Cache volumes: their identity, their locks, and the initial content of new ones.
//!
//! A volume is identified by its name, its source and its owner. A mount with another source or
//! owner is another volume. The sharing mode is not part of the identity; it says how concurrent
//! users of one volume share it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt, Fault, Result, lock};
use rondel_model::exec::{MountSource, Sharing};
use rondel_model::service::{Service, ServiceKind};
use rondel_model::{AbsPath, ExecOp, Mount, Owner, Snapshot};
use rondel_ports::snapshots::Snapshots;
use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;
use tokio::sync::OwnedMutexGuard;

use crate::copy::{Copier, Target};
use crate::owner::{self, Ids};

use crate::root::{Root, failed, names, open_dir, remove};
use crate::{dedup_layers, edit};

/// The extended attribute of the root of a volume that has got its initial content.
const MARK: &str = "user.rondel.made";

/// Separates the name of a volume, its owner, its source, and the number of a private copy.
const SEPARATOR: char = '\u{1e}';

/// Separates namespaces from the name that was given.
const NAMESPACE_SEPARATOR: char = '\u{1f}';

/// The users of each directory of each volume. Number 0 is the shared directory; each other one
/// belongs to one private user.
type InUse = Arc<Mutex<HashMap<String, BTreeMap<usize, usize>>>>;

/// The locks and users of all volumes.
#[derive(Default)]
pub(crate) struct Volumes {
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    in_use: InUse,
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

/// The volume of one cache mount.
#[derive(Clone)]
pub(crate) struct Volume {
    /// Its name, source and owner as one text.
    identity: String,
    /// The owner of everything in it when it is made. `None` keeps that of the source.
    pub(crate) owner: Option<Ids>,
}

/// The volumes that one process uses, held until it ends.
#[derive(Default)]
pub(crate) struct Claims {
    /// The volumes of the cache mounts, in the order of the mounts.
    volumes: Vec<Volume>,
    /// The directory name by identity and sharing mode.
    folders: BTreeMap<(String, u8), String>,
    _locks: Vec<OwnedMutexGuard<()>>,
    _uses: Vec<Use>,
}

/// The volumes of the cache mounts of `exec`, in the order of the mounts. `inputs` are the
/// snapshots of [`ExecOp::inputs`]. Owners are looked up in the root of the container.
///
/// # Errors
/// When the root has no such user or group.
pub(crate) fn identify(store: &dyn Snapshots, exec: &ExecOp, inputs: &[Snapshot]) -> Result<Vec<Volume>> {
    let empty = Snapshot::empty();
    let (rootfs, mut inputs) = (inputs.first().unwrap_or(&empty), inputs.iter().skip(1));
    let mut root = None;
    let mut volumes = Vec::new();
    for mount in &exec.mounts {
        let input = mount.source.fs().and_then(|_| inputs.next());
        let MountSource::Cache { volume, source, owner, .. } = &mount.source else { continue };
        let owner = match owner {
            None => None,
            Some(owner) => {
                if root.is_none() {
                    root = Some(dedup_layers::view(store, rootfs)?);
                }
                root.as_ref().map(|tree| owner::resolve(Root(tree.root.as_fd()), owner)).transpose()?
            }
        };
        let source = source.as_ref().zip(input).map(|(place, snapshot)| (snapshot.digest(), &place.path));
        volumes.push(Volume { identity: identity(volume, source, owner), owner });
    }
    Ok(volumes)
}

/// An empty volume owned by root is the same as one without source and owner. People read the text,
/// too.
// IDENTITY: two mounts with equal identities see each other's files.
fn identity(name: &str, source: Option<(Digest, &AbsPath)>, owner: Option<Ids>) -> String {
    let mut identity = name.to_owned();
    if let Some(Ids { uid, gid }) = owner.filter(|owner| source.is_some() || *owner != Ids::ROOT) {
        identity += &format!("{SEPARATOR}owner {uid}:{gid}");
    }
    if let Some((content, path)) = source {
        identity += &format!("{SEPARATOR}source {}{path}", content.hex());
    }
    identity
}

/// The name that the author of a mount gave the volume, without its namespace.
fn given_name(identity: &str) -> &str {
    let name = identity.split(SEPARATOR).next().unwrap_or(identity);
    name.rsplit(NAMESPACE_SEPARATOR).next().unwrap_or(name)
}

/// Detects deadlocks: a process and its services, including services of services, must not need the
/// same locked volume, because each holds its locked volumes as long as it runs.
///
/// # Errors
/// When two of them need the same locked volume.
pub(crate) fn check(exec: &ExecOp) -> Result<()> {
    let mut holders: Vec<(&MountSource, &str)> =
        locked(exec).map(|mount| (&mount.source, "the process itself")).collect();
    let mut seen = HashSet::new();
    let mut pending: Vec<&Service> = exec.services.iter().map(|binding| &binding.service).collect();
    while let Some(service) = pending.pop() {
        let ServiceKind::Container(container) = service.kind() else { continue };
        if !seen.insert(service.digest()) {
            continue;
        }
        let before = holders.len();
        for mount in locked(&container.exec) {
            let held = holders[..before].iter().find(|(held, _)| may_be_one(held, &mount.source));
            if let Some((_, other)) = held {
                let (service, target) = (service.hostname(), &mount.target);
                return Err(Fault::user(format!(
                    "the service `{service}` has the locked cache volume at `{target}` as long as it runs, and {other} wants it beside it"
                ))
                .with_hint("use the volume as `SHARED`, or give them volumes of their own"));
            }
            holders.push((&mount.source, service.hostname()));
        }
        pending.extend(container.exec.services.iter().map(|binding| &binding.service));
    }
    Ok(())
}

/// The mounts of volumes that `exec` locks.
fn locked(exec: &ExecOp) -> impl Iterator<Item = &Mount> {
    exec.mounts.iter().filter(|mount| matches!(mount.source, MountSource::Cache { sharing: Sharing::Locked, .. }))
}

/// Whether two cache mounts may be the same volume, as far as known before trees are evaluated and
/// owners are resolved.
fn may_be_one(one: &MountSource, other: &MountSource) -> bool {
    let (
        MountSource::Cache { volume: one, source: one_source, owner: one_owner, .. },
        MountSource::Cache { volume: other, source: other_source, owner: other_owner, .. },
    ) = (one, other)
    else {
        return false;
    };
    let numbers = |owner: &Option<Owner>| match owner {
        None => Some(Ids::ROOT),
        Some(owner) => owner::numbers(owner),
    };
    let other_owners = numbers(one_owner).zip(numbers(other_owner)).is_some_and(|(one, other)| one != other);
    one == other && one_source.is_some() == other_source.is_some() && !other_owners
}

/// The use of one directory of a volume.
struct Use {
    in_use: InUse,
    volume: String,
    number: usize,
}

impl Use {
    fn folder(&self) -> String {
        match self.number {
            0 => self.volume.clone(),
            number => format!("{}{SEPARATOR}{number}", self.volume),
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut in_use = lock(&self.in_use);
        let Some(users) = in_use.get_mut(&self.volume) else { return };
        if let Some(count) = users.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.number);
            }
        }
        if users.is_empty() {
            in_use.remove(&self.volume);
        }
    }
}

impl Volumes {
    /// Waits until every volume of `exec` may be used. `volumes` is the result of [`identify`].
    pub(crate) async fn claim(&self, exec: &ExecOp, volumes: Vec<Volume>, events: &Emitter) -> Claims {
        let mut wanted = BTreeMap::new();
        let sharing = exec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Cache { sharing, .. } => Some(*sharing),
            _ => None,
        });
        for (volume, sharing) in volumes.iter().zip(sharing) {
            wanted.insert((volume.identity.clone(), sharing as u8), sharing);
        }
        // ORDER: locked in the order of names, so that two processes never wait for each other.
        let mut claims = Claims { volumes, ..Claims::default() };
        for ((volume, mode), sharing) in wanted {
            if sharing == Sharing::Locked {
                let mutex = lock(&self.locks).entry(volume.clone()).or_default().clone();
                let on = || format!("cache volume {}", given_name(&volume));
                claims._locks.push(events.waiting(on, mutex.lock_owned()).await);
            }
            let used = self.enter(&volume, sharing);
            claims.folders.insert((volume, mode), used.folder());
            claims._uses.push(used);
        }
        claims
    }

    /// Enters a directory of `volume`: the shared one, or for `Private` the first unused one.
    fn enter(&self, volume: &str, sharing: Sharing) -> Use {
        let mut in_use = lock(&self.in_use);
        let users = in_use.entry(volume.to_owned()).or_default();
        let number = match sharing {
            Sharing::Private => (0..).find(|number| !users.contains_key(number)).unwrap_or(0),
            Sharing::Shared | Sharing::Locked => 0,
        };
        *users.entry(number).or_default() += 1;
        Use { in_use: self.in_use.clone(), volume: volume.to_owned(), number }
    }

    /// The path of the volume directory `folder`. A new one gets the content `seed` and the owner
    /// `ids`.
    pub(crate) fn folder(
        &self,
        (store, dirs): (&dyn Snapshots, &dyn rondel_ports::dirs::Volumes),
        folder: &str,
        seed: Option<(&Snapshot, &AbsPath)>,
        ids: Option<Ids>,
    ) -> Result<PathBuf> {
        let making = lock(&self.making).entry(folder.to_owned()).or_default().clone();
        let _only = lock(&making);
        let path = dirs.volume(folder)?;
        let root = File::open(&path).attempt(|| format!("open the cache volume `{folder}`"))?;
        if is_made(&root, &path)? {
            return Ok(path);
        }
        let fail = |e| failed(e, "prepare the cache volume", folder);
        for name in names(root.as_fd()).map_err(fail)? {
            remove(root.as_fd(), &name).map_err(fail)?;
        }
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(fail)?;
        if let Some((snapshot, place)) = seed {
            let tree = dedup_layers::view(store, snapshot)?;
            let from = open_dir(Root(tree.root.as_fd()), place)?;
            let stat = rustix::fs::fstat(&from).map_err(fail)?;
            let to = Target::root(Root(root.as_fd()))?;
            let mut copier = Copier::new();
            copier.content(from.as_fd(), &to, None)?;
            let dot = OsStr::new(".");
            copier.attributes(from.as_fd(), to.as_fd(), dot, dot, &stat).map_err(fail)?;
        }
        if let Some(ids) = ids {
            edit::own(Root(root.as_fd()), &AbsPath::root(), ids)?;
        }
        match rustix::fs::fsetxattr(&root, MARK, b"1", XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(path),
            Err(e) => Err(fail(e)),
        }
    }
}

/// Whether a volume has got its initial content. Without extended attributes: whether it has any
/// content.
fn is_made(root: &File, path: &Path) -> Result<bool> {
    match rustix::fs::fgetxattr_query(root, MARK) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(Errno::OPNOTSUPP) => Ok(!names(root.as_fd()).map_err(|e| failed(e, "list", path))?.is_empty()),
        Err(e) => Err(failed(e, "read the mark of", path)),
    }
}

impl Claims {
    /// The volume of the cache mount number `at`, and its directory name.
    pub(crate) fn volume(&self, at: usize, sharing: Sharing) -> Option<(&Volume, &str)> {
        let volume = self.volumes.get(at)?;
        let folder = self.folders.get(&(volume.identity.clone(), sharing as u8))?;
        Some((volume, folder))
    }
}

#[cfg(test)]
mod tests {
    use rondel_model::Fs;
    use rondel_model::op::TreePath;

    use super::*;

    #[test]
    fn identities() {
        let content = Digest::of_bytes(b"seed");
        let (root, sub) = (AbsPath::root(), AbsPath::new("/sub"));
        let owner = |uid, gid| Some(Ids { uid, gid });
        assert_eq!(identity("v", None, None), "v");
        assert_eq!(identity("v", None, owner(0, 0)), "v");
        let others = [
            identity("v", None, owner(1, 2)),
            identity("v", None, owner(12, 0)),
            identity("v", Some((content, &root)), None),
            identity("v", Some((content, &root)), owner(0, 0)),
            identity("v", Some((content, &sub)), None),
            identity("v", Some((Digest::of_bytes(b"other"), &root)), None),
            identity("w", None, None),
        ];
        assert!(others.iter().all(|identity| ["v", "w"].contains(&given_name(identity))), "{others:?}");
        assert_eq!(given_name("\u{1f}team\u{1f}go build\u{1e}owner 1:2"), "go build");
        let different: HashSet<_> = others.iter().chain([&"v".to_owned()]).cloned().collect();
        assert_eq!(different.len(), others.len() + 1, "{others:?}");
    }

    #[test]
    fn what_may_be_one_volume() {
        let mount = |owner: &str, source: bool| MountSource::Cache {
            volume: "v".into(),
            source: source.then(|| TreePath { fs: Fs::scratch(), path: AbsPath::root() }),
            sharing: Sharing::Locked,
            owner: Some(Owner(owner.into())).filter(|_| !owner.is_empty()),
            read_only: false,
        };
        let check = |one: MountSource, other: MountSource, want: bool| {
            assert_eq!((may_be_one(&one, &other), may_be_one(&other, &one)), (want, want), "{one:?} {other:?}");
        };
        check(mount("", false), mount("", false), true);
        check(mount("", false), mount("0:0", false), true);
        check(mount("", false), mount("1:2", false), false);
        check(mount("1:3", false), mount("1:2", false), false);
        check(mount("", false), mount("", true), false);
        // The id of `ann` depends on the container.
        check(mount("ann", false), mount("1:2", false), true);
        check(mount("1", false), mount("1:2", false), true);
    }
}
