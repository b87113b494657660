//! Who uses which cache volume now, and what a new one holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::exec::{MountSource, Sharing};
use rondel_model::service::{Service, ServiceKind};
use rondel_model::{AbsPath, ExecOp, Snapshot};
use rondel_ports::snapshots::Snapshots;
use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;
use tokio::sync::OwnedMutexGuard;

use crate::copy::Copier;
use crate::evaluate::open_dir;
use crate::owner::Ids;
use crate::root::{Root, failed, names, open_dir_at, remove};
use crate::{edit, lock, stack};

/// Marks the root of a volume that has been given what it holds at first.
const MARK: &str = "user.rondel.made";

/// Stands between the name of a volume and the number of one of its further folders.
const SEPARATOR: char = '\u{1e}';

/// By volume: how many use which of its folders. Number 0 is that of everybody, each other one a private user's.
type InUse = Arc<Mutex<HashMap<String, BTreeMap<usize, usize>>>>;

/// Who uses which volume.
#[derive(Default)]
pub(crate) struct Volumes {
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    in_use: InUse,
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

/// The right to use volumes for the time of one process.
#[derive(Default)]
pub(crate) struct Claims {
    /// By the name that the process uses: the name of the folder.
    folders: BTreeMap<(String, u8), String>,
    _locks: Vec<OwnedMutexGuard<()>>,
    _uses: Vec<Use>,
}

/// That a process and the services it runs beside, those of services included, do not wait for one another forever: each has its
/// locked volumes as long as it runs.
///
/// # Errors
/// When two of them want the same one.
pub(crate) fn check(exec: &ExecOp) -> Result<()> {
    let mut holders: HashMap<&str, &str> = locked(exec).map(|(volume, _)| (volume, "the process itself")).collect();
    let mut seen = HashSet::new();
    let mut pending: Vec<&Service> = exec.services.iter().map(|binding| &binding.service).collect();
    while let Some(service) = pending.pop() {
        let ServiceKind::Container(container) = service.kind() else { continue };
        if !seen.insert(service.digest()) {
            continue;
        }
        let own: BTreeMap<&str, &AbsPath> = locked(&container.exec).collect();
        for (volume, target) in own {
            if let Some(other) = holders.insert(volume, service.hostname()) {
                let service = service.hostname();
                return Err(Fault::user(format!(
                    "the service `{service}` has the locked cache volume at `{target}` as long as it runs, and {other} wants it beside it"
                ))
                .with_hint("use the volume as `SHARED`, or give them volumes of their own"));
            }
        }
        pending.extend(container.exec.services.iter().map(|binding| &binding.service));
    }
    Ok(())
}

/// The volumes that `exec` uses alone, and where.
fn locked(exec: &ExecOp) -> impl Iterator<Item = (&str, &AbsPath)> {
    exec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Cache { volume, sharing: Sharing::Locked, .. } => Some((&**volume, &mount.target)),
        _ => None,
    })
}

/// The use of one folder of a volume.
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
    /// Waits until every volume of `exec` may be used.
    pub(crate) async fn claim(&self, exec: &ExecOp) -> Claims {
        let mut wanted = BTreeMap::new();
        for mount in &exec.mounts {
            if let MountSource::Cache { volume, sharing, .. } = &mount.source {
                wanted.insert((volume.clone(), *sharing as u8), *sharing);
            }
        }
        // ORDER: by name, so that two processes never wait for each other.
        let mut claims = Claims::default();
        for ((volume, mode), sharing) in wanted {
            if sharing == Sharing::Locked {
                let mutex = lock(&self.locks).entry(volume.clone()).or_default().clone();
                claims._locks.push(mutex.lock_owned().await);
            }
            let used = self.enter(&volume, sharing);
            claims.folders.insert((volume, mode), used.folder());
            claims._uses.push(used);
        }
        claims
    }

    /// A folder of `volume`: that of everybody, or (private) the first that nobody uses.
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

    /// The folder `folder`, which holds `seed` and belongs to `ids` when it is new.
    pub(crate) fn folder(
        &self,
        store: &dyn Snapshots,
        folder: &str,
        seed: Option<(&Snapshot, &AbsPath)>,
        ids: Option<Ids>,
    ) -> Result<PathBuf> {
        let making = lock(&self.making).entry(folder.to_owned()).or_default().clone();
        let _only = lock(&making);
        let path = store.volume(folder)?;
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
            let tree = stack::open(store, snapshot)?;
            let from = open_dir(Root(tree.root.as_fd()), place)?;
            let stat = rustix::fs::fstat(&from).map_err(fail)?;
            let to = open_dir_at(root.as_fd(), OsStr::new(".")).map_err(fail)?;
            let mut copier = Copier::new();
            copier.content(from.as_fd(), to.as_fd(), None)?;
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

/// Whether a volume has been given what it holds at first. Where the file system keeps no marks: whether it has anything.
fn is_made(root: &File, path: &Path) -> Result<bool> {
    match rustix::fs::fgetxattr_query(root, MARK) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(Errno::OPNOTSUPP) => Ok(!names(root.as_fd()).map_err(|e| failed(e, "list", path))?.is_empty()),
        Err(e) => Err(failed(e, "read the mark of", path)),
    }
}

impl Claims {
    /// The folder that stands for `volume`.
    pub(crate) fn folder(&self, volume: &str, sharing: Sharing) -> String {
        let found = self.folders.get(&(volume.to_owned(), sharing as u8));
        found.cloned().unwrap_or_else(|| volume.to_owned())
    }
}
