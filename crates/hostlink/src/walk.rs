//! Lists a host directory by descriptors. Directories that a filter excludes are not entered.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rayon::prelude::*;
use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::snapshots::MAX_LEVELS;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::filter::{Ignores, Rules};
use crate::host_path::HostPath;

/// The stat of a file. If it is unchanged, the content is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) size: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) mtime: i64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) ctime: i64,
    pub(crate) inode: u64,
    pub(crate) mode: u32,
}

impl FileStat {
    pub(crate) fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i64, nanos: u64| {
            seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanos).unwrap_or(0))
        };
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            mode: stat.st_mode,
        }
    }

    /// Whether it is of a regular file.
    pub(crate) fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Dir,
    /// With its target.
    Link(Vec<u8>),
}

/// One entry of a host directory.
#[derive(Debug, Clone)]
pub(crate) struct WalkEntry {
    /// Relative to the root of the walk.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) stamp: FileStat,
    /// Device and inode of a file with several hard links.
    pub(crate) shared: Option<(u64, u64)>,
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Down to which level the directories in a directory are listed by several threads.
const MAX_LEVELS_APART: usize = 16;

struct Walk<'a> {
    root: &'a Path,
    rules: &'a Rules,
}

/// Lists what of `root` passes: directories before their content, names sorted. Sockets, pipes and
/// devices are left out.
pub(crate) fn walk(root: &HostPath, dir: &OwnedFd, rules: &Rules) -> Result<Vec<WalkEntry>> {
    let ignores = rules.ignores(root);
    let in_repository = rules.reads_gitignore() && root.ancestors().any(|dir| dir.join(".git").exists());
    Walk { root: &root.display_path(), rules }.dir(dir.as_fd(), (b"", 0), &ignores, in_repository)
}

impl Walk<'_> {
    /// What passes of the directory `dir`, which is at a path so many directories below the root.
    fn dir(
        &self,
        dir: BorrowedFd<'_>,
        (path, level): (&[u8], usize),
        ignores: &Ignores,
        gitignore: bool,
    ) -> Result<Vec<WalkEntry>> {
        if level > MAX_LEVELS {
            return Err(Fault::user(format!(
                "cannot take `{}`: more than {MAX_LEVELS} directories are inside one another",
                self.root.display()
            )));
        }
        let names = names(dir).map_err(|e| self.failed("list", path, e))?;
        let own;
        let mut ignores = ignores;
        // The file of the root itself is among those above already.
        if gitignore && !path.is_empty() && names.iter().any(|(name, _)| name.as_c_str() == c".gitignore") {
            own = ignores.with(path, &read_small(dir).map_err(|e| self.failed("read the `.gitignore` of", path, e))?);
            ignores = &own;
        }
        let listed: Vec<(WalkEntry, bool)> = names
            .iter()
            .filter_map(|(name, kind)| self.entry(dir, &join(path, name.to_bytes()), name, *kind, ignores).transpose())
            .collect::<Result<_>>()?;
        let below = |(item, _): &(WalkEntry, bool)| -> Result<Vec<WalkEntry>> {
            if item.kind != EntryKind::Dir || !self.rules.descends(&item.path, ignores) {
                return Ok(Vec::new());
            }
            match rustix::fs::openat(dir, base_name(&item.path), DIR, Mode::empty()) {
                Ok(child) => self.dir(child.as_fd(), (&item.path, level + 1), ignores, gitignore),
                Err(Errno::NOENT) => Ok(Vec::new()),
                Err(e) => Err(self.failed("open", &item.path, e.into())),
            }
        };
        let dirs = listed.iter().filter(|(item, _)| item.kind == EntryKind::Dir).count();
        // A thread that waits for others takes their work onto its own stack, so deep down there is
        // nothing to wait for.
        let subtrees: Vec<Vec<WalkEntry>> = if dirs > 1 && level < MAX_LEVELS_APART {
            listed.par_iter().map(below).collect::<Result<_>>()?
        } else {
            listed.iter().map(below).collect::<Result<_>>()?
        };
        let mut all = Vec::with_capacity(listed.len() + subtrees.iter().map(Vec::len).sum::<usize>());
        for ((item, passes), subtree) in listed.into_iter().zip(subtrees) {
            if passes || !subtree.is_empty() {
                all.push(item);
                all.extend(subtree);
            }
        }
        Ok(all)
    }

    /// An entry that passes, or a directory in which something may; with whether it passes on its
    /// own.
    fn entry(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        name: &CString,
        kind: FileType,
        ignores: &Ignores,
    ) -> Result<Option<(WalkEntry, bool)>> {
        let passes = |is_dir: bool| self.rules.passes(path, is_dir, ignores);
        if kind != FileType::Directory && kind != FileType::Unknown && !passes(false) {
            return Ok(None);
        }
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It went away since the directory was listed, as if it had been listed later.
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(self.failed("look at", path, e.into())),
        };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let shared = (is_file && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        let item = |kind| WalkEntry { path: path.to_vec(), kind, stamp: FileStat::of(&stat), shared };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let passes = passes(true);
                (passes || self.rules.descends(path, ignores)).then(|| (item(EntryKind::Dir), passes))
            }
            FileType::RegularFile => passes(false).then(|| (item(EntryKind::File), true)),
            FileType::Symlink if passes(false) => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => Some((item(EntryKind::Link(target.into_bytes())), true)),
                Err(Errno::NOENT | Errno::INVAL) => None,
                Err(e) => return Err(self.failed("read", path, e.into())),
            },
            _ => None,
        })
    }

    fn failed(&self, attempted: &str, path: &[u8], error: io::Error) -> Fault {
        failed(attempted, self.root, path, error)
    }
}

/// An error about `path` below `root`.
pub(crate) fn failed(attempted: &str, root: &Path, path: &[u8], error: io::Error) -> Fault {
    let result: Result<()> = Err(error).attempt(|| format!("{attempted} `{}`", show(root, path)));
    result.err().unwrap_or_else(|| Fault::bug("an error was lost"))
}

/// `path` below `root`, for people.
pub(crate) fn show(root: &Path, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    if path.is_empty() { root.display().to_string() } else { format!("{}/{path}", root.display()) }
}

/// The names in a directory with what the directory says they are, sorted.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut names = Vec::new();
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

fn read_small(dir: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    const LIMIT: u64 = 16 << 20;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(dir, c".gitignore", flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut contents = Vec::new();
    if file.metadata()?.is_file() {
        file.take(LIMIT).read_to_end(&mut contents)?;
    }
    Ok(contents)
}

/// `name` in the directory `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The last part of `path`.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
