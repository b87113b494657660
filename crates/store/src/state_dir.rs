//! The state directory: its lock, its format, and cleaning up when it is opened.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::crash_recovery::{self, SuspectSet};
use crate::remove_tree;
use crate::sys;
use crate::trash::BackgroundRemover;

/// The state directory, locked for this process as long as this value lives.
pub(crate) struct StateDir {
    root: PathBuf,
    next: AtomicU64,
    /// Declared before the lock, so that it ends first.
    remover: BackgroundRemover,
    /// Whether overlay attributes are in the `user.` namespace, as for an ordinary user.
    pub(crate) user_xattrs: bool,
    /// Layers and blobs that must be verified before use.
    pub(crate) suspects: SuspectSet,
    _lock: File,
}

impl StateDir {
    /// Locks and prepares `root`, and empties what a killed engine left in `scratch`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(root);
        made.attempt(|| format!("make the state directory `{}`", root.display()))?;
        let root = root.canonicalize().attempt(|| format!("find the state directory `{}`", root.display()))?;
        restrict_access(&root)?;
        let lock = lock(&root)?;
        let user = sys::in_user_namespace();
        check_format(&root, user)?;
        for folder in ["layers", "blobs/sha256", "volumes", "trash"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).attempt(|| format!("make `{}`", folder.display()))?;
        }
        let suspects = SuspectSet::open(&root, &crash_recovery::this_run());
        let state = Self {
            root,
            next: AtomicU64::new(0),
            remover: BackgroundRemover::start()?,
            user_xattrs: user,
            suspects,
            _lock: lock,
        };
        state.clean_up()?;
        Ok(state)
    }

    /// The path of an entry of the state directory.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The path of the state directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Creates an empty directory in `scratch`.
    pub(crate) fn scratch_dir(&self) -> Result<PathBuf> {
        let path = self.root.join(format!("scratch/{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).attempt(|| format!("make `{}`", path.display()))?;
        Ok(path)
    }

    /// The empty directory that serves as the empty snapshot.
    pub(crate) fn empty_dir(&self) -> PathBuf {
        self.root.join("scratch/empty")
    }

    /// Moves `path` to the trash. Its content is removed in the background.
    pub(crate) fn trash(&self, path: &Path) -> Result<()> {
        let trash = self.root.join("trash");
        let target = loop {
            let target = trash.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
            // A leftover of an earlier engine may be under removal.
            if !target.exists() {
                break target;
            }
        };
        fs::rename(path, &target).attempt(|| format!("remove `{}`", path.display()))?;
        self.remover.remove(target, None);
        Ok(())
    }

    /// Moves `path` to the quarantine. It stays there until the state directory is opened again.
    pub(crate) fn quarantine(&self, path: &Path) -> Result<()> {
        let folder = self.root.join(QUARANTINE);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let moved =
            fs::create_dir_all(&folder).and_then(|()| fs::rename(path, folder.join(format!("{number}-{name}"))));
        // On a full disk there may be no folder.
        moved
            .or_else(|_| self.trash(path).map_err(std::io::Error::other))
            .attempt(|| format!("set `{}` aside", path.display()))
    }

    /// Empties the quarantine.
    pub(crate) fn empty_quarantine(&self) {
        let folder = self.root.join(QUARANTINE);
        if folder.exists() {
            // What cannot be removed now is removed the next time.
            let _ = self.trash(&folder);
        }
    }

    /// Unmounts `mount` and removes its `scratch` directory, both in the background.
    pub(crate) fn remove_scratch_later(&self, path: PathBuf, mount: Option<OwnedFd>) {
        self.remover.remove(path, mount);
    }

    /// Waits until the trash is empty.
    pub(crate) fn flush_trash(&self) {
        self.remover.flush();
    }

    /// The sorted names in the directory `folder` of the state directory.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder);
        let failed = || format!("list `{}`", path.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).attempt(failed)? {
            names.extend(entry.attempt(failed)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn clean_up(&self) -> Result<()> {
        let trash = self.root.join("trash");
        let scratch = self.root.join("scratch");
        if scratch.exists() {
            let used = fs::read_dir(&trash).attempt(|| format!("list `{}`", trash.display()))?.count();
            let stamp = std::process::id();
            let target = (used..).map(|n| trash.join(format!("old-{stamp}-{n}"))).find(|path| !path.exists());
            let target = target.unwrap_or_else(|| trash.join("old"));
            fs::rename(&scratch, &target).attempt(|| format!("empty `{}`", scratch.display()))?;
        }
        if fs::create_dir_all(self.empty_dir()).is_err() {
            // The disk is full: empty the trash first.
            sys::remove_tree(&trash).and_then(|()| fs::create_dir_all(&trash)).attempt(|| "empty the trash".into())?;
            fs::create_dir_all(self.empty_dir()).attempt(|| format!("make `{}`", self.empty_dir().display()))?;
        }
        let old = fs::read_dir(&trash).attempt(|| format!("list `{}`", trash.display()))?;
        old.filter_map(|entry| entry.ok().map(|entry| entry.path())).for_each(|path| self.remover.remove(path, None));
        self.empty_quarantine();
        self.drop_unfinished_layers()
    }

    fn drop_unfinished_layers(&self) -> Result<()> {
        let layers = self.root.join("layers");
        for entry in fs::read_dir(&layers).attempt(|| format!("list `{}`", layers.display()))? {
            let path = entry.attempt(|| format!("list `{}`", layers.display()))?.path();
            if !path.join("meta.json").exists() {
                self.trash(&path)?;
            }
        }
        Ok(())
    }
}

/// The directory of damaged layers and blobs.
const QUARANTINE: &str = "quarantine";

/// The entries of a state directory. `format` is last, so that a partly removed directory can be
/// removed again.
const CONTENT: [&str; 25] = [
    "git",
    "mac.key",
    "mac.new",
    crash_recovery::RUN,
    "run.new",
    crash_recovery::SUSPECTS,
    "explained.jsonl",
    "explained.jsonl.old",
    "layers",
    "blobs",
    "volumes",
    "scratch",
    "trash",
    QUARANTINE,
    "index.sqlite",
    "index.sqlite-wal",
    "index.sqlite-shm",
    "index.sqlite.suspect",
    "index.sqlite.damaged",
    "index.sqlite.damaged-wal",
    "index.sqlite.damaged-shm",
    "traces",
    "updates",
    "lock",
    "format",
];

/// Entries that may be in a directory before it becomes a state directory: the engine's log and
/// socket, and what `mkfs` leaves.
const MAY_BE_BESIDE: [&str; 7] =
    ["engine.log", "engine.log.1", "engine.log.2", "engine.log.3", "engine.sock", "format.new", "lost+found"];

/// Removes the content of a state directory that no engine uses.
pub(crate) fn remove(root: &Path) -> Result<()> {
    let format = fs::read_to_string(root.join("format")).unwrap_or_default();
    if !format.starts_with(FORMAT) {
        return Err(Fault::user(format!("`{}` is no state directory", root.display())));
    }
    let _lock = lock(root)?;
    // What this leaves is removed below, or reported.
    remove_tree::remove_trees(CONTENT.iter().map(|name| root.join(name)));
    for name in CONTENT {
        let path = root.join(name);
        sys::remove_tree(&path).attempt(|| format!("remove `{}`", path.display()))?;
    }
    match fs::remove_dir(root) {
        Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
            Err(e).attempt(|| format!("remove `{}`", root.display()))
        }
        _ => Ok(()),
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .attempt(|| format!("open `{}`", path.display()))?;
    // Clients probe for an engine by taking the lock for a moment.
    let mut taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    for _ in 0..LOCK_TRIES {
        if taken != Err(Errno::WOULDBLOCK) {
            break;
        }
        std::thread::sleep(BETWEEN_TRIES);
        taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    }
    match taken {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = if owner.trim().is_empty() { "unknown".to_owned() } else { owner.trim().to_owned() };
            return Err(Fault::environment(format!(
                "the state directory `{}` is in use by the process {owner}",
                root.display()
            ))
            .with_hint("stop that engine, or choose another state directory"));
        }
        Err(e) => return Err(e).attempt(|| format!("lock `{}`", path.display())),
    }
    // The process id is informational. A full disk must not prevent the start.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

/// The content of `format`, written when the state directory is created.
const FORMAT: &str = "rondel-state 1";
/// How often, and at which interval, the lock is tried again.
const LOCK_TRIES: usize = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

/// The permissions of the state directory. Files of containers keep theirs, set-id bits included,
/// and results may be confidential.
const PRIVATE: u32 = 0o700;

/// Restricts the state directory to this user. Refuses a directory that holds unrelated files.
fn restrict_access(root: &Path) -> Result<()> {
    let attempted = || format!("look at the state directory `{}`", root.display());
    let mode = fs::metadata(root).attempt(attempted)?.permissions().mode() & 0o7777;
    if mode == PRIVATE {
        return Ok(());
    }
    if !root.join("format").exists() {
        for entry in fs::read_dir(root).attempt(attempted)? {
            let name = entry.attempt(attempted)?.file_name();
            if !CONTENT.iter().chain(&MAY_BE_BESIDE).any(|known| name == *known) {
                return Err(Fault::user(format!(
                    "`{}` holds other things, such as `{}`, and cannot become a state directory",
                    root.display(),
                    name.display()
                ))
                .with_hint("choose an empty folder with `--state-dir`, or one that is not there yet"));
            }
        }
    }
    let closed = fs::set_permissions(root, Permissions::from_mode(PRIVATE));
    closed.attempt(|| format!("close the state directory `{}` to other users", root.display()))
}

fn check_format(root: &Path, user: bool) -> Result<()> {
    let path = root.join("format");
    let form = if user { "user" } else { "root" };
    let want = format!("{FORMAT} {form}");
    let found = match fs::read_to_string(&path) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let temp = root.join("format.new");
            fs::write(&temp, &want)
                .and_then(|()| fs::rename(&temp, &path))
                .attempt(|| format!("write `{}`", path.display()))?;
            return Ok(());
        }
        Err(e) => return Err(e).attempt(|| format!("read `{}`", path.display())),
    };
    let found = found.trim();
    if found == want {
        return Ok(());
    }
    let fault = if found.starts_with(&format!("{FORMAT} ")) {
        Fault::environment(format!(
            "the state directory `{}` was made {} and cannot be used {}",
            root.display(),
            if user { "by root" } else { "by an ordinary user" },
            if user { "by an ordinary user" } else { "by root" },
        ))
    } else {
        Fault::environment(format!("the state directory `{}` has the unknown format `{found}`", root.display()))
    };
    Err(fault.with_hint("choose another state directory with `--state-dir`, or remove this one"))
}
