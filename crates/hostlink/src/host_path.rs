//! Paths of host files, and paths below the root of a running container.
//!
//! *Invariants.* A path of a container is resolved by the kernel in one step, relative to the
//! descriptor of the container's root. A symlink never leads out of it, even if it is swapped
//! meanwhile.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rondel_fault::{Attempt, Fault, Result, lock};
use rondel_ports::host::CONTAINERS;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often a path is resolved again because a directory above it was moved meanwhile.
const RESOLVE_TRIES: usize = 100;
/// The maximum number of symlinks that the last component of a path may go through.
const MAX_LINKS: usize = 40;

/// The roots of running containers, by name.
#[derive(Default)]
pub(crate) struct ContainerRoots {
    next: AtomicU64,
    open: Mutex<HashMap<PathBuf, Arc<OwnedFd>>>,
}

impl ContainerRoots {
    pub(crate) fn enter(self: &Arc<Self>, root: OwnedFd) -> ContainerRoot {
        let path = Path::new(CONTAINERS).join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        lock(&self.open).insert(path.clone(), Arc::new(root));
        ContainerRoot { path, roots: self.clone() }
    }

    /// Resolves the prefix of `path`: a container root, or the host.
    pub(crate) fn place(&self, path: &Path) -> Result<HostPath> {
        let Ok(inside) = path.strip_prefix(CONTAINERS) else {
            return Ok(HostPath { root: None, prefix: PathBuf::new(), path: path.to_owned() });
        };
        let mut parts = inside.components();
        let prefix = parts.next().map(|name| Path::new(CONTAINERS).join(name)).unwrap_or_default();
        let root = lock(&self.open).get(&prefix).cloned();
        let root = root.ok_or_else(|| {
            Fault::cancelled(format!("the container that names `/{}` has ended", parts.as_path().display()))
        })?;
        Ok(HostPath { root: Some(root), path: parts.as_path().to_owned(), prefix })
    }
}

/// A registered container root. Dropping it ends the registration.
pub struct ContainerRoot {
    path: PathBuf,
    roots: Arc<ContainerRoots>,
}

impl ContainerRoot {
    /// The prefix that names the root in paths of [`rondel_ports::host::HostFiles`].
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ContainerRoot {
    fn drop(&mut self) {
        lock(&self.roots.open).remove(&self.path);
    }
}

/// A path of the host, or a path below the root of a container.
pub(crate) struct HostPath {
    root: Option<Arc<OwnedFd>>,
    /// The prefix that names the root. Empty for the host.
    prefix: PathBuf,
    /// Relative when there is a root.
    path: PathBuf,
}

impl HostPath {
    /// The path as users see it. A path of a container is absolute inside the container.
    pub(crate) fn display_path(&self) -> PathBuf {
        if self.root.is_some() { Path::new("/").join(&self.path) } else { self.path.clone() }
    }

    /// Returns whether the path is below the root of a container.
    pub(crate) fn is_inside(&self) -> bool {
        self.root.is_some()
    }

    /// The path in the form in which the caller gave it, with the prefix of a container root.
    pub(crate) fn as_given(&self) -> PathBuf {
        self.prefix.join(&self.path)
    }

    fn at(&self, path: impl Into<PathBuf>) -> Self {
        Self { root: self.root.clone(), prefix: self.prefix.clone(), path: path.into() }
    }

    /// The entry `name` below this path.
    pub(crate) fn join(&self, name: &str) -> Self {
        self.at(self.path.join(name))
    }

    /// The directory that holds it.
    pub(crate) fn parent(&self) -> Self {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        let here = parent.as_os_str().is_empty() && self.root.is_none();
        self.at(if here { Path::new(".") } else { parent })
    }

    /// This path and the directories above it, up to the root.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.path.ancestors().map(|path| self.at(path))
    }

    /// Opens the path and follows symlinks.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let Some(root) = &self.root else { return rustix::fs::open(&self.path, flags, Mode::empty()) };
        let path = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < RESOLVE_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Returns whether the path exists. A symlink counts, wherever it leads.
    pub(crate) fn exists(&self) -> bool {
        match self.root {
            None => self.path.symlink_metadata().is_ok(),
            Some(_) => self.open(OFlags::PATH | OFlags::NOFOLLOW).is_ok(),
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.open(OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// Reads a regular file, up to a limit.
    pub(crate) fn read_small(&self) -> io::Result<Vec<u8>> {
        const LIMIT: u64 = 16 << 20;
        let file = File::from(self.open(OFlags::RDONLY | OFlags::NONBLOCK)?);
        let mut contents = Vec::new();
        if file.metadata()?.is_file() {
            file.take(LIMIT).read_to_end(&mut contents)?;
        }
        Ok(contents)
    }

    /// The path with symlinks resolved, for paths of the host. A path of a container is only
    /// checked.
    ///
    /// # Errors
    /// When nothing is there.
    pub(crate) fn canonical(self) -> io::Result<Self> {
        match &self.root {
            None => Ok(self.at(self.path.canonicalize()?)),
            Some(_) => {
                self.open(OFlags::PATH)?;
                Ok(self)
            }
        }
    }

    /// Opens the parent directory after all symlinks, and returns it with the file name there.
    /// `None` if the path cannot be a file.
    pub(crate) fn open_parent(&self) -> io::Result<Option<(OwnedFd, OsString)>> {
        let mut path = if self.root.is_some() { self.path.clone() } else { self.path.canonicalize()? };
        for _ in 0..MAX_LINKS {
            let Some(name) = path.file_name().map(ToOwned::to_owned) else { return Ok(None) };
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            let dir = self.at(&parent).open(OFlags::PATH | OFlags::DIRECTORY)?;
            match rustix::fs::readlinkat(&dir, &name, Vec::new()) {
                Ok(target) if self.root.is_some() => {
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    path = target.strip_prefix("/").map_or_else(|_| parent.join(&target), Path::to_owned);
                }
                Ok(_) | Err(Errno::INVAL) => return Ok(Some((dir, name))),
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Opens the directory, and creates it and its parents if they are missing.
    pub(crate) fn make_dirs(&self) -> Result<OwnedFd> {
        let shown = self.display_path();
        if self.root.is_none() {
            fs::create_dir_all(&self.path).attempt(|| format!("make `{}`", shown.display()))?;
            return self.open(OFlags::RDONLY | OFlags::DIRECTORY).attempt(|| format!("open `{}`", shown.display()));
        }
        self.make_dirs_inside().attempt(|| format!("make `{}`", shown.display()))
    }

    fn make_dirs_inside(&self) -> io::Result<OwnedFd> {
        const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
        let mut done = self.at("");
        let mut dir = done.open(DIR)?;
        for part in self.path.components() {
            done.path.push(part);
            dir = match (done.open(DIR), part) {
                (Err(Errno::NOENT), Component::Normal(name)) => {
                    match rustix::fs::mkdirat(dir.as_fd(), name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => done.open(DIR)?,
                        Err(e) => return Err(e.into()),
                    }
                }
                (found, _) => found?,
            };
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(dir, ".", flags, Mode::empty())?)
    }
}
