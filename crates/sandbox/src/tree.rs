//! The paths of a container before it exists: resolves paths below the mounts that it will have,
//! and makes mount points for the time of the run, which are removed afterwards.
//!
//! Every component is looked up below the mount that will cover it, without following symlinks.
//! Symlinks are followed by this code, inside the container's root. So no symlink leads outside.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

const MAX_LINKS: usize = 40;

/// The kind of a file: directory or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// A path without symlinks, and the kind of the file there.
pub(crate) struct ResolvedPath {
    /// Absolute.
    pub(crate) path: String,
    /// The kind of the file.
    pub(crate) kind: FileKind,
}

/// The mounts of a container, in order, and the mount points that were made for them. On drop,
/// unmodified mount points are removed.
pub(crate) struct ContainerPaths {
    mounts: Vec<MountEntry>,
    made: Vec<MadeMountPoint>,
    touched: Vec<TouchedDirectory>,
}

struct MountEntry {
    /// The path without the last slash. Empty for the root.
    at: String,
    /// The mount, or `None` for one that only the running container can see, as `/proc`.
    mount: Option<OwnedFd>,
    kind: FileKind,
    /// Whether it ends with the container, so that files in it need not be removed.
    ephemeral: bool,
}

struct MadeMountPoint {
    parent: usize,
    name: String,
    kind: FileKind,
}

struct TouchedDirectory {
    directory: OwnedFd,
    identity: (u64, u64),
    before: Timespec,
    after: Timespec,
}

enum PathLookup {
    Directory,
    File,
    Link(String),
    Missing,
}

impl ContainerPaths {
    /// A tree of the root alone.
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self {
            mounts: vec![MountEntry {
                at: String::new(),
                mount: Some(root),
                kind: FileKind::Directory,
                ephemeral: false,
            }],
            made: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Adds a mount at a resolved path and keeps it open.
    pub(crate) fn add(&mut self, place: &str, mount: Option<OwnedFd>, kind: FileKind) {
        self.mounts.push(MountEntry { at: place.trim_end_matches('/').to_owned(), mount, kind, ephemeral: false });
    }

    /// Adds a directory in memory, which ends with the container.
    pub(crate) fn add_ephemeral(&mut self, place: &str, mount: OwnedFd) {
        let at = place.trim_end_matches('/').to_owned();
        self.mounts.push(MountEntry { at, mount: Some(mount), kind: FileKind::Directory, ephemeral: true });
    }

    /// Resolves a path. `None` if a component is missing.
    ///
    /// # Errors
    /// When there are too many symlinks, or a file where a directory must be.
    pub(crate) fn find(&mut self, path: &str) -> Result<Option<ResolvedPath>> {
        match self.plain(path) {
            Some(place) => Ok(Some(place)),
            None => self.walk(path, None),
        }
    }

    /// Resolves the path of a mount point and makes missing components.
    ///
    /// # Errors
    /// As for `find`. Also when there is a file of the other kind, or the mount point cannot be
    /// made.
    pub(crate) fn mount_point(&mut self, path: &str, want: FileKind) -> Result<ResolvedPath> {
        let place = match self.plain(path) {
            Some(place) => place,
            None => self
                .walk(path, Some(want))?
                .ok_or_else(|| Fault::bug(format!("the mount point `{path}` was not made")))?,
        };
        if place.path == "/" {
            return Err(Fault::user(format!("cannot mount on `{path}`: it is the root of the container")));
        }
        match (place.kind, want) {
            (FileKind::File, FileKind::Directory) => {
                Err(Fault::user(format!("cannot mount a directory on `{path}`: a file is there")))
            }
            (FileKind::Directory, FileKind::File) => {
                Err(Fault::user(format!("cannot mount a file on `{path}`: a directory is there")))
            }
            _ => Ok(place),
        }
    }

    /// The content of a regular file, up to `limit` bytes. `None` if there is none.
    ///
    /// # Errors
    /// As for `find`, or when it cannot be read.
    pub(crate) fn read(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.find(path)? else { return Ok(None) };
        let (layer, rest) = self.cover(&place.path);
        let Some(mount) = &self.mounts[layer].mount else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = if rest.is_empty() {
            rustix::fs::open(format!("/proc/self/fd/{}", mount.as_raw_fd()), flags, Mode::empty())
        } else {
            rustix::fs::openat2(mount, rest, flags | OFlags::NOFOLLOW, Mode::empty(), resolve())
        };
        let file = opened.attempt(|| format!("open `{path}` of the container"))?;
        let stat = rustix::fs::fstat(&file).attempt(|| format!("look at `{path}` of the container"))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(None);
        }
        // One byte more than the file has, so that reading to the end needs no growth.
        let mut content = Vec::with_capacity(usize::try_from(limit.min(stat.st_size as u64 + 1)).unwrap_or(0));
        File::from(file).take(limit).read_to_end(&mut content).attempt(|| format!("read `{path}` of the container"))?;
        Ok(Some(content))
    }

    /// Resolves a path with one lookup, if all of it exists and has no symlinks. Else `None`.
    fn plain(&self, path: &str) -> Option<ResolvedPath> {
        let mut resolved = String::with_capacity(path.len() + 1);
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if name == ".." {
                return None;
            }
            resolved.push('/');
            resolved.push_str(name);
        }
        match self.look(&resolved).ok()? {
            PathLookup::Directory if resolved.is_empty() => {
                Some(ResolvedPath { path: "/".into(), kind: FileKind::Directory })
            }
            PathLookup::Directory => Some(ResolvedPath { path: resolved, kind: FileKind::Directory }),
            PathLookup::File => Some(ResolvedPath { path: resolved, kind: FileKind::File }),
            PathLookup::Link(_) | PathLookup::Missing => None,
        }
    }

    fn walk(&mut self, path: &str, make: Option<FileKind>) -> Result<Option<ResolvedPath>> {
        let mut pending: VecDeque<String> = components(path).collect();
        let mut resolved = String::new();
        let mut kind = FileKind::Directory;
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                up(&mut resolved);
                kind = FileKind::Directory;
                continue;
            }
            let length = resolved.len();
            resolved.push('/');
            resolved.push_str(&name);
            let mut look = self.look(&resolved)?;
            if let (PathLookup::Missing, Some(want)) = (&look, make) {
                let kind = if pending.is_empty() { want } else { FileKind::Directory };
                self.make(&resolved[..length], &name, kind)?;
                look = if kind == FileKind::Directory { PathLookup::Directory } else { PathLookup::File };
            }
            match look {
                PathLookup::Missing => return Ok(None),
                PathLookup::Directory => kind = FileKind::Directory,
                PathLookup::File if pending.is_empty() => kind = FileKind::File,
                PathLookup::File => {
                    return Err(Fault::user(format!(
                        "cannot follow `{path}` in the container: `{resolved}` is a file"
                    )));
                }
                PathLookup::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Fault::user(format!(
                            "cannot follow `{path}` in the container: too many symbolic links"
                        )));
                    }
                    resolved.truncate(if target.starts_with('/') { 0 } else { length });
                    for component in components(&target).rev() {
                        pending.push_front(component);
                    }
                    kind = FileKind::Directory;
                }
            }
        }
        if resolved.is_empty() {
            resolved.push('/');
        }
        Ok(Some(ResolvedPath { path: resolved, kind }))
    }

    /// The mount that covers a resolved path, and the path below it.
    fn cover<'a>(&self, path: &'a str) -> (usize, &'a str) {
        let below = |at: &str| match path.strip_prefix(at) {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        };
        let found =
            self.mounts.iter().enumerate().rev().find_map(|(index, layer)| below(&layer.at).map(|rest| (index, rest)));
        found.unwrap_or((0, path.trim_start_matches('/')))
    }

    fn look(&self, path: &str) -> Result<PathLookup> {
        let (index, rest) = self.cover(path);
        let layer = &self.mounts[index];
        let (Some(mount), false) = (&layer.mount, rest.is_empty()) else {
            return Ok(if layer.kind == FileKind::File && rest.is_empty() {
                PathLookup::File
            } else {
                PathLookup::Directory
            });
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let what = || format!("look at `{path}` of the container");
        let found = match rustix::fs::openat2(mount, rest, flags, Mode::empty(), resolve()) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(PathLookup::Missing),
            Err(error) => return Err(error).attempt(what),
        };
        let stat = rustix::fs::fstat(&found).attempt(what)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(PathLookup::Directory),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&found, c"", Vec::new())
                    .attempt(|| format!("read the link `{path}` of the container"))?;
                Ok(PathLookup::Link(text(target, path)?))
            }
            _ => Ok(PathLookup::File),
        }
    }

    fn make(&mut self, parent: &str, name: &str, kind: FileKind) -> Result<()> {
        let (index, rest) = self.cover(parent);
        let what = || format!("make the mount point `{parent}/{name}`");
        let layer = &self.mounts[index];
        let Some(mount) = &layer.mount else { return Ok(()) };
        if layer.ephemeral && rest.is_empty() {
            return make_in(mount, name, kind).attempt(what);
        }
        let rest = if rest.is_empty() { "." } else { rest };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat2(mount, rest, flags, Mode::empty(), resolve()).attempt(what)?;
        let before = rustix::fs::fstat(&directory).attempt(what)?;
        make_in(&directory, name, kind).attempt(what)?;
        let after = modified(&rustix::fs::fstat(&directory).attempt(what)?);
        let identity = (before.st_dev, before.st_ino);
        let parent = match self.touched.iter().position(|touched| touched.identity == identity) {
            Some(known) => {
                self.touched[known].after = after;
                known
            }
            None => {
                self.touched.push(TouchedDirectory { directory, identity, before: modified(&before), after });
                self.touched.len() - 1
            }
        };
        self.made.push(MadeMountPoint { parent, name: name.to_owned(), kind });
        Ok(())
    }

    /// Removes mount points that were not used, and restores the modification time of their
    /// directories.
    fn remove_mount_points(&mut self) {
        let unchanged: Vec<bool> = self
            .touched
            .iter()
            .map(|touched| rustix::fs::fstat(&touched.directory).is_ok_and(|stat| modified(&stat) == touched.after))
            .collect();
        for made in self.made.drain(..).rev() {
            let directory = &self.touched[made.parent].directory;
            // A mount point that cannot be removed was filled by the process, and is its change.
            let _ = match made.kind {
                FileKind::Directory => rustix::fs::unlinkat(directory, &made.name, AtFlags::REMOVEDIR),
                FileKind::File => match rustix::fs::statat(directory, &made.name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0 => {
                        rustix::fs::unlinkat(directory, &made.name, AtFlags::empty())
                    }
                    _ => Ok(()),
                },
            };
        }
        for (touched, unchanged) in self.touched.drain(..).zip(unchanged) {
            if unchanged {
                let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let times = Timestamps { last_access: keep, last_modification: touched.before };
                // Fails for a directory that was itself removed above.
                let _ = rustix::fs::futimens(touched.directory.as_fd(), &times);
            }
        }
    }
}

impl Drop for ContainerPaths {
    fn drop(&mut self) {
        self.remove_mount_points();
    }
}

fn make_in(directory: &OwnedFd, name: &str, kind: FileKind) -> Result<(), Errno> {
    match kind {
        FileKind::Directory => {
            rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
            rustix::fs::chmodat(directory, name, Mode::from_raw_mode(0o755), AtFlags::empty())
        }
        FileKind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
            rustix::fs::fchmod(file, Mode::from_raw_mode(0o644))
        }
    }
}

fn resolve() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned)
}

fn up(path: &mut String) {
    path.truncate(path.rfind('/').unwrap_or(0));
}

fn modified(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ }
}

fn text(link: CString, path: &str) -> Result<String> {
    link.into_string().map_err(|_| Fault::user(format!("the symbolic link `{path}` of the container is not UTF-8")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn check_find(paths: &[(&str, Option<&str>)]) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/deep")).unwrap();
        fs::write(root.path().join("etc/file"), "x").unwrap();
        for (link, target) in [
            ("abs", "/etc"),
            ("esc", "../../../etc"),
            ("deep", "etc/deep"),
            ("loop", "loop"),
            ("dangling", "/run/none"),
        ] {
            symlink(target, root.path().join(link)).unwrap();
        }
        let mut tree = ContainerPaths::new(open(root.path()));
        for (path, expected) in paths {
            let found = tree.find(path).map(|place| place.map(|place| place.path));
            assert_eq!(found.ok().flatten().as_deref(), *expected, "`{path}`");
        }
    }

    #[test]
    fn links_stay_inside() {
        check_find(&[
            ("/", Some("/")),
            ("/..", Some("/")),
            ("etc/./deep/", Some("/etc/deep")),
            ("/abs/file", Some("/etc/file")),
            ("/esc/file", Some("/etc/file")),
            ("/deep/../file", Some("/etc/file")),
            ("/loop", None),
            ("/etc/file/below", None),
            ("/dangling", None),
            ("/nothing", None),
        ]);
    }

    #[test]
    fn mount_points_leave_no_trace() {
        let (root, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(root.path().join("etc")).unwrap();
        symlink("/run/made/here", root.path().join("etc/dangling")).unwrap();
        let times = |path: &std::path::Path| {
            (fs::metadata(path).unwrap().modified().unwrap(), fs::read_dir(path).unwrap().count())
        };
        let paths = [root.path().to_owned(), root.path().join("etc"), volume.path().to_owned()];
        let before: Vec<_> = paths.iter().map(|path| times(path)).collect();
        let mut tree = ContainerPaths::new(open(root.path()));
        for (path, want, expected) in [
            ("/a/b/c", FileKind::Directory, "/a/b/c"),
            ("/a/b/file", FileKind::File, "/a/b/file"),
            ("/etc/hosts", FileKind::File, "/etc/hosts"),
            ("/etc/dangling", FileKind::File, "/run/made/here"),
        ] {
            assert_eq!(tree.mount_point(path, want).unwrap().path, expected);
        }
        tree.add("/a/b/c", Some(open(volume.path())), FileKind::Directory);
        assert_eq!(tree.mount_point("/a/b/c/sub", FileKind::Directory).unwrap().path, "/a/b/c/sub");
        assert!(volume.path().join("sub").is_dir());
        assert!(!root.path().join("a/b/c/sub").exists());
        drop(tree);
        let after: Vec<_> = paths.iter().map(|path| times(path)).collect();
        assert_eq!(before, after);
    }

    #[test]
    fn nothing_is_undone_in_what_goes_with_the_container() {
        let (root, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(root.path().join("dev")).unwrap();
        let mut tree = ContainerPaths::new(open(root.path()));
        tree.add_ephemeral("/dev", open(memory.path()));
        for (path, want) in
            [("/dev/null", FileKind::File), ("/dev/pts", FileKind::Directory), ("/dev/null", FileKind::File)]
        {
            assert_eq!(tree.mount_point(path, want).unwrap().path, path);
        }
        drop(tree);
        assert!(memory.path().join("null").is_file() && memory.path().join("pts").is_dir());
        assert_eq!(fs::read_dir(root.path().join("dev")).unwrap().count(), 0);
    }

    #[test]
    fn what_the_process_made_stays() {
        let root = tempfile::tempdir().unwrap();
        let mut tree = ContainerPaths::new(open(root.path()));
        tree.mount_point("/a/b", FileKind::Directory).unwrap();
        fs::write(root.path().join("a/kept"), "x").unwrap();
        drop(tree);
        assert!(root.path().join("a/kept").exists());
        assert!(!root.path().join("a/b").exists());
    }

    #[test]
    fn mount_points_of_the_wrong_kind_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        let mut tree = ContainerPaths::new(open(root.path()));
        let mut refused =
            |path: &str, want| tree.mount_point(path, want).map(|place| place.path).map_err(|fault| fault.to_string());
        assert_eq!(
            refused("/file", FileKind::Directory),
            Err("cannot mount a directory on `/file`: a file is there".into())
        );
        assert_eq!(
            refused("/directory", FileKind::File),
            Err("cannot mount a file on `/directory`: a directory is there".into())
        );
        assert_eq!(
            refused("/x/..", FileKind::Directory),
            Err("cannot mount on `/x/..`: it is the root of the container".into())
        );
    }
}
