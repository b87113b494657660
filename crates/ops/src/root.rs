//! Resolves paths inside a tree. Symlinks are followed as by a process with the tree as its root,
//! and never lead out of it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rondel_fault::{Code, Fault, Result};
use rondel_model::AbsPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// More symlinks count as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// The root of a tree.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a>(pub(crate) BorrowedFd<'a>);

/// A resolved path.
pub(crate) struct ResolvedPath {
    /// The path without symlinks, relative to the root. Empty for the root.
    pub(crate) path: PathBuf,
    /// Its status. `None` if it is missing.
    pub(crate) stat: Option<Stat>,
    /// The symlinks that were followed, in order, as paths without symlinks relative to the root.
    pub(crate) links: Vec<PathBuf>,
}

impl Root<'_> {
    /// Resolves `path`. Symlinks in its directories are followed, and with `follow` in its last
    /// part too. Missing parts are kept as they are.
    pub(crate) fn find(&self, path: &Path, follow: bool) -> Result<ResolvedPath, Errno> {
        let mut pending: VecDeque<OsString> = parts(path);
        let mut at = PathBuf::new();
        let mut stat = Some(self.stat(Path::new(""))?);
        let mut links = Vec::new();
        while let Some(part) = pending.pop_front() {
            if part == ".." {
                at.pop();
                stat = self.lstat(&at)?;
                continue;
            }
            if stat.as_ref().is_some_and(|s| kind(s) != FileType::Directory) {
                return Err(Errno::NOTDIR);
            }
            at.push(&part);
            stat = self.lstat(&at)?;
            let is_link = stat.as_ref().is_some_and(|s| kind(s) == FileType::Symlink);
            if is_link && (follow || !pending.is_empty()) {
                if links.len() == MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = PathBuf::from(OsString::from_vec(self.link(&at)?));
                links.push(at.clone());
                at.pop();
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                for part in parts(&target).into_iter().rev() {
                    pending.push_front(part);
                }
                stat = self.lstat(&at)?;
            }
        }
        Ok(ResolvedPath { path: at, stat, links })
    }

    /// Opens the directory at a path without symlinks for listing.
    pub(crate) fn open_dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
    }

    /// Opens a path without symlinks.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The status of a path without symlinks. `None` if it is missing.
    pub(crate) fn lstat(&self, path: &Path) -> Result<Option<Stat>, Errno> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn stat(&self, path: &Path) -> Result<Stat, Errno> {
        rustix::fs::fstat(self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?)
    }

    fn link(&self, path: &Path) -> Result<Vec<u8>, Errno> {
        let fd = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        Ok(rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes())
    }

    /// Opens the directory at `path`, and makes it and its parents when missing (mode 0755).
    /// Symlinks are followed. `made` is called for every new directory.
    pub(crate) fn ensure_dir(
        &self,
        path: &Path,
        made: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(OwnedFd, PathBuf), Errno> {
        let found = self.find(path, true)?;
        if let Some(stat) = &found.stat {
            return match kind(stat) {
                FileType::Directory => Ok((self.open_dir(&found.path)?, found.path)),
                _ => Err(Errno::NOTDIR),
            };
        }
        let mut at = PathBuf::new();
        let mut dir = self.open_dir(&at)?;
        for part in parts(&found.path) {
            at.push(&part);
            dir = match open_dir_at(dir.as_fd(), &part) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&dir, &*part, Mode::from_raw_mode(0o755))?;
                    let new = open_dir_at(dir.as_fd(), &part)?;
                    rustix::fs::fchmod(&new, Mode::from_raw_mode(0o755))?;
                    made(new.as_fd())?;
                    new
                }
                other => other?,
            };
        }
        Ok((dir, at))
    }

    /// Opens the file at `path` for reading, symlinks followed.
    pub(crate) fn open_file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let found = self.find(path, true)?;
        let stat = found.stat.ok_or(Errno::NOENT)?;
        match kind(&stat) {
            FileType::Directory => Err(Errno::ISDIR),
            _ => self.open(&found.path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK),
        }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let mut parts = VecDeque::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push_back(part.to_owned()),
            Component::ParentDir => parts.push_back("..".into()),
            _ => {}
        }
    }
    parts
}

/// The type of a file, from its status.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The permission bits, set-id and sticky bits included.
pub(crate) fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

/// Opens the directory `name` in `parent` for listing. A symlink is refused.
pub(crate) fn open_dir_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The status of `name` in `dir` without following a symlink. `None` if it is missing.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in a directory, sorted by bytes.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes `name` in `dir` with everything below it. A missing name is no error.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let inner = open_dir_at(dir, name)?;
    for child in names(inner.as_fd())? {
        remove(inner.as_fd(), &child)?;
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// The error of an attempt on `path`, with texts that users match on.
pub(crate) fn failed(error: Errno, attempted: &str, path: impl AsRef<Path>) -> Fault {
    let path = path.as_ref().display();
    match error {
        Errno::NOENT => Fault::not_found(format!("{path}: no such file or directory")),
        Errno::NOTDIR => Fault::user(format!("path {path} is a file, not a directory")),
        Errno::ISDIR => Fault::user(format!("path {path} is a directory, not a file")),
        Errno::NAMETOOLONG => Fault::user(NAME_TOO_LONG),
        Errno::LOOP => Fault::user(format!("{path}: too many levels of symbolic links")),
        // The kernel returns `EINVAL` for an owner that is not mapped in this user namespace.
        Errno::INVAL if !all_owners() => {
            let fault = Fault::environment(format!("cannot {attempted} `{path}`")).caused_by(error);
            fault.with_hint("the engine's user has too few ids for this owner; `rondel engine status` says more")
        }
        Errno::NOSPC | Errno::DQUOT => Fault::environment(format!("cannot {attempted} `{path}`"))
            .with_code(Code::ResourceExhausted)
            .caused_by(error),
        error => Fault::environment(format!("cannot {attempted} `{path}`")).caused_by(error),
    }
}

/// Whether files can have any owner. False in a user namespace that maps only some ids.
fn all_owners() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2).is_none_or(|count| count == "4294967295")
}

/// The error for a name that is too long.
const NAME_TOO_LONG: &str = "File name length exceeds the maximum supported 255 characters";

/// Refuses paths with a name that is too long for file systems.
pub(crate) fn check_names(path: &AbsPath) -> Result<()> {
    if path.as_str().split('/').any(|part| part.len() > 255) {
        return Err(Fault::user(NAME_TOO_LONG));
    }
    Ok(())
}

/// A path relative to the root, for the functions of this file.
pub(crate) fn inner(path: &AbsPath) -> &Path {
    Path::new(path.relative())
}

/// Opens the directory at `path` for listing, symlinks followed.
pub(crate) fn open_dir(root: Root<'_>, path: &AbsPath) -> Result<OwnedFd> {
    find_dir(root, path).map(|(dir, _)| dir)
}

/// Opens the directory at `path` for listing, symlinks followed, and returns its path without
/// symlinks.
pub(crate) fn find_dir(root: Root<'_>, path: &AbsPath) -> Result<(OwnedFd, PathBuf)> {
    let fail = |e| failed(e, "open", path.as_str());
    let found = root.find(inner(path), true).map_err(fail)?;
    let stat = found.stat.ok_or_else(|| fail(Errno::NOENT))?;
    if kind(&stat) != FileType::Directory {
        return Err(fail(Errno::NOTDIR));
    }
    Ok((root.open_dir(&found.path).map_err(fail)?, found.path))
}

/// The directory that holds what is at `path`, a path without links, and the name in it. The root
/// holds itself as `.`.
pub(crate) fn open_parent<'a>(root: Root<'_>, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
    match path.file_name() {
        Some(name) => Ok((root.open_dir(path.parent().unwrap_or(Path::new("")))?, name)),
        None => Ok((root.open_dir(Path::new(""))?, OsStr::new("."))),
    }
}
