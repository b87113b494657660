//! The digest of a file or directory as returned by the API.
//!
//! SHA-256 over records, each preceded by its length as 8 bytes, little endian. Numbers are 8
//! bytes, little endian. A record is a type letter (`f` file, `d` directory, `l` symbolic link, `o`
//! other) and: with metadata, permission bits, owner and group (links: owner and group); then, of a
//! file, its size and the SHA-256 of its content; of a link, its target; of a device, its number. A
//! file's digest is that of its one record. A directory's digest covers, for everything below it in
//! the order of path bytes within each directory, the path relative to it as one record and the
//! entry's as another; the directory's own name and metadata do not count, nor do times.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_digest::Sha256Digest;
use rondel_fault::Result;
use rondel_model::AbsPath;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::copy::{attributes_of, magic_path};
use crate::root::{Root, failed, inner, kind, names, open_dir_at, permissions, stat_at};

/// The digest of the file or directory at `path`, symlinks followed.
pub(crate) fn of(root: Root<'_>, path: &AbsPath, exclude_metadata: bool) -> Result<String> {
    let fail = |e| failed(e, "read", path.as_str());
    let found = root.find(inner(path), true).map_err(fail)?;
    let stat = found.stat.ok_or_else(|| fail(Errno::NOENT))?;
    let mut hash = TreeHasher { metadata: !exclude_metadata, ..TreeHasher::new() };
    if kind(&stat) == FileType::Directory {
        let dir = root.open_dir(&found.path).map_err(fail)?;
        hash.directory(dir.as_fd(), &mut PathBuf::new()).map_err(fail)?;
    } else {
        let holder = root.open_dir(found.path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
        let name = found.path.file_name().unwrap_or_default();
        hash.entry(holder.as_fd(), name, &stat).map_err(fail)?;
    }
    Ok(hash.finish().to_string())
}

/// Hashes files and directories.
pub(crate) struct TreeHasher<'a> {
    sha: Sha256,
    metadata: bool,
    /// Whether extended attributes count, as separate records after the entry's.
    extended: bool,
    /// Whether modification times count.
    times: bool,
    /// The paths that count below a directory. `None` is all.
    chosen: Option<&'a HashSet<PathBuf>>,
    /// With extended attributes: the first name of each file that has several. A further name
    /// counts as a hard link to it.
    names: HashMap<(u64, u64), PathBuf>,
}

impl<'a> TreeHasher<'a> {
    /// A hasher that includes metadata.
    pub(crate) fn new() -> Self {
        let names = HashMap::new();
        Self { sha: Sha256::new(), metadata: true, extended: false, times: false, chosen: None, names }
    }

    /// A hasher that also includes extended attributes and hard links, with `times` also
    /// modification times, and only the `chosen` paths below directories. `None` is all.
    pub(crate) fn of_chosen(chosen: Option<&'a HashSet<PathBuf>>, times: bool) -> Self {
        Self { extended: true, times, chosen, ..Self::new() }
    }

    /// The digest.
    pub(crate) fn finish(self) -> Sha256Digest {
        Sha256Digest::from_bytes(self.sha.finalize().into())
    }

    /// Adds one record.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        self.sha.update((bytes.len() as u64).to_le_bytes());
        self.sha.update(bytes);
    }

    /// Adds everything below `dir`, which is at `at`.
    pub(crate) fn directory(&mut self, dir: BorrowedFd<'_>, at: &mut PathBuf) -> Result<(), Errno> {
        for name in names(dir)? {
            let Some(stat) = stat_at(dir, &name)? else { continue };
            at.push(&name);
            if self.chosen.is_some_and(|chosen| !chosen.contains(at)) {
                at.pop();
                continue;
            }
            self.record(at.as_os_str().as_bytes());
            if self.extended && kind(&stat) == FileType::RegularFile && stat.st_nlink > 1 {
                let first = self.names.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| at.clone());
                if first != at {
                    let link = [b"h", first.as_os_str().as_bytes()].concat();
                    self.record(&link);
                    at.pop();
                    continue;
                }
            }
            self.entry(dir, &name, &stat)?;
            if kind(&stat) == FileType::Directory {
                self.directory(open_dir_at(dir, &name)?.as_fd(), at)?;
            }
            at.pop();
        }
        Ok(())
    }

    /// Adds `name` in `dir`.
    pub(crate) fn entry(&mut self, dir: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
        let kind = kind(stat);
        let mut record = vec![match kind {
            FileType::RegularFile => b'f',
            FileType::Directory => b'd',
            FileType::Symlink => b'l',
            _ => b'o',
        }];
        let mut number = |n: u64| record.extend_from_slice(&n.to_le_bytes());
        if self.metadata {
            if kind != FileType::Symlink {
                number(u64::from(permissions(stat)));
            }
            number(u64::from(stat.st_uid));
            number(u64::from(stat.st_gid));
        }
        match kind {
            FileType::RegularFile => {
                number(stat.st_size as u64);
                record.extend_from_slice(&content(dir, name)?);
            }
            FileType::Symlink => {
                record.extend_from_slice(rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes());
            }
            FileType::CharacterDevice | FileType::BlockDevice => number(stat.st_rdev),
            _ => {}
        }
        self.record(&record);
        if self.extended {
            for (name, value) in attributes_of(&magic_path(dir, name))? {
                self.record(&name);
                self.record(&value);
            }
        }
        if self.times {
            self.record(&[stat.st_mtime.to_le_bytes(), (stat.st_mtime_nsec as i64).to_le_bytes()].concat());
        }
        Ok(())
    }
}

fn content(dir: BorrowedFd<'_>, name: &OsStr) -> Result<[u8; 32], Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    let (mut sha, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(sha.finalize().into()),
            Ok(n) => sha.update(&buffer[..n]),
            Err(e) => return Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
        }
    }
}
