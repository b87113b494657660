//! Writing archive entries below a directory, in overlay form.
//!
//! Nothing an archive says can touch a path outside the root: names are taken apart here, `..` is
//! refused, and the directories that lead to an entry are resolved by the kernel below the root's
//! descriptor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::snapshots::MAX_LEVELS;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::errors::{damaged, disk};
use crate::options::Limits;
use crate::scan::{self, DEVICE_XATTR, OWNER_XATTR, base_name, join, parent};
use crate::sys::{self, Time};
use crate::tar_read::{Archive, TarEntry, TarEntryKind};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
const RESERVED_PREFIX: &[u8] = b".wh..wh.";

/// A directory that archive entries are written to.
pub(super) struct TreeWriter<'a> {
    root: &'a OwnedFd,
    user: bool,
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// Directories by path: their times and modes are set when nothing is written any more.
    dirs: BTreeMap<Vec<u8>, (u32, Time)>,
    /// The directory of the last entry.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(root: &'a OwnedFd, user: bool, limits: Limits) -> Self {
        let dirs = BTreeMap::from([(Vec::new(), (0o755, (0, 0)))]);
        Self { root, user, limits, entries: 0, bytes: 0, dirs, last: None }
    }

    /// Writes one entry, whose content is the next that `archive` reads.
    pub(super) fn add<R: Read>(&mut self, entry: TarEntry, archive: &mut Archive<R>) -> Result<()> {
        self.bound(&entry)?;
        let path = clean(&entry.name)?;
        if path.is_empty() {
            return match entry.kind {
                TarEntryKind::Dir => self.set_root_attributes(&entry),
                _ => Err(Fault::user("the archive has an entry without a name")),
            };
        }
        let name = base_name(&path);
        if name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(&path, name);
        }
        self.write(&path, &entry, archive).map_err(|failure| failure.into_fault(&entry.name))
    }

    /// Sets the times and modes of the directories.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.last = None;
        for (path, (mode, mtime)) in self.dirs.iter().rev() {
            let Ok(dir) = resolve(self.root.as_fd(), path, sys::DIR) else {
                continue;
            };
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(*mode))?;
            rustix::fs::futimens(&dir, &sys::timestamps(*mtime))?;
        }
        Ok(())
    }

    fn bound(&mut self, entry: &TarEntry) -> Result<()> {
        self.entries += 1;
        if matches!(entry.kind, TarEntryKind::File) {
            self.bytes = self.bytes.saturating_add(entry.size);
        }
        if self.entries > self.limits.entries {
            return Err(Fault::user(format!("the archive has more than {} entries", self.limits.entries)));
        }
        if self.bytes > self.limits.bytes {
            return Err(Fault::user(format!("the archive unpacks to more than {} bytes", self.limits.bytes)));
        }
        Ok(())
    }

    fn set_root_attributes(&mut self, entry: &TarEntry) -> Result<()> {
        let root = self.root.as_fd();
        self.set_attributes(root, b"", entry).attempt(|| "set the attributes of the root directory".into())?;
        self.dirs.insert(Vec::new(), (entry.mode, entry.mtime));
        Ok(())
    }

    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> Result<()> {
        let into_fault = |failure: EntryError| failure.into_fault(path);
        if name == OPAQUE_MARK {
            let dir = self.dir(parent(path)).map_err(into_fault)?;
            return self.make_opaque(dir.as_fd()).map_err(|e| into_fault(e.into()));
        }
        if name.starts_with(RESERVED_PREFIX) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Fault::user(format!("the archive has the malformed whiteout `{}`", show(path))));
        }
        let dir = self.dir(parent(path)).map_err(into_fault)?;
        self.hide(dir.as_fd(), hidden).map_err(|e| into_fault(e.into()))
    }

    /// Hides the lower `name`. What this archive itself has put there stays: a whiteout speaks of
    /// lower layers only.
    fn hide(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        if self.is_opaque(dir)? {
            return Ok(());
        }
        match rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {
                let stat = sys::stat_at(dir, name)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.make_opaque(sys::open_dir_at(dir, name)?.as_fd())?;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn is_opaque(&self, dir: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(sys::xattr(&sys::fd_path(dir, b""), scan::opaque_xattr(self.user))?.is_some())
    }

    /// Marks a directory as opaque; whiteouts in it have nothing left to hide.
    fn make_opaque(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        sys::set_xattr(&sys::fd_path(dir, b""), scan::opaque_xattr(self.user), b"y")?;
        for name in sys::names(dir)? {
            if is_whiteout(dir, name.to_bytes())? {
                rustix::fs::unlinkat(dir, &name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn write<R: Read>(&mut self, path: &[u8], entry: &TarEntry, archive: &mut Archive<R>) -> Result<(), EntryError> {
        let dir = self.dir(parent(path))?;
        let (dir, name) = (dir.as_fd(), base_name(path));
        if entry.kind == TarEntryKind::Dir {
            self.make_dir(dir, path)?;
            self.set_attributes(dir, name, entry)?;
            self.dirs.insert(path.to_vec(), (entry.mode, entry.mtime));
            return Ok(());
        }
        if entry.kind == TarEntryKind::HardLink {
            return self.hard_link(dir, path, entry);
        }
        self.remove_existing(dir, path)?;
        match entry.kind {
            TarEntryKind::File => write_file(dir, name, entry, archive)?,
            TarEntryKind::Symlink if entry.link.is_empty() => {
                return Err(EntryError::refused("it is a symbolic link to nothing"));
            }
            TarEntryKind::Symlink => rustix::fs::symlinkat(entry.link.as_slice(), dir, name)?,
            TarEntryKind::Fifo => rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::empty(), 0)?,
            TarEntryKind::Char if entry.device == (0, 0) => {
                return Err(EntryError::refused("it is a device that means a whiteout"));
            }
            TarEntryKind::Char => self.device(dir, name, FileType::CharacterDevice, entry)?,
            TarEntryKind::Block => self.device(dir, name, FileType::BlockDevice, entry)?,
            TarEntryKind::Other(byte) => {
                return Err(EntryError::refused(&format!(
                    "it has the unknown type `{}`",
                    char::from(byte).escape_default()
                )));
            }
            TarEntryKind::Dir | TarEntryKind::HardLink => {}
        }
        self.set_attributes(dir, name, entry)?;
        Ok(sys::set_mtime(dir, name, entry.mtime)?)
    }

    /// The directory `path`, made with its parents when missing. A file or whiteout in its place
    /// gives way to it.
    fn dir(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(dir.try_clone()?);
        }
        let dir = match resolve(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) if !path.is_empty() => {
                let above = self.dir(parent(path))?;
                self.make_dir(above.as_fd(), path)?;
                self.dirs.insert(path.to_vec(), (0o755, (0, 0)));
                resolve(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(EntryError::resolving)?
            }
            Err(e) => return Err(EntryError::resolving(e)),
        };
        self.last = Some((path.to_vec(), dir.try_clone()?));
        Ok(dir)
    }

    /// Makes the directory `path` in `dir`. One that replaces a whiteout is opaque.
    fn make_dir(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        let name = base_name(path);
        match sys::stat_at(dir, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Ok(()),
            Ok(_) => {
                let hides = is_whiteout(dir, name)?;
                self.remove(dir, path)?;
                rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
                if hides {
                    self.make_opaque(sys::open_dir_at(dir, name)?.as_fd())?;
                }
            }
            Err(_) => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?,
        }
        Ok(())
    }

    fn remove_existing(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        match sys::stat_at(dir, base_name(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(_) => self.remove(dir, path),
        }
    }

    fn remove(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        sys::remove_tree(&sys::fd_path(dir, base_name(path)))?;
        self.last = None;
        let below = join(path, b"");
        self.dirs.retain(|found, _| found != path && !found.starts_with(&below));
        Ok(())
    }

    fn hard_link(&mut self, dir: BorrowedFd<'_>, path: &[u8], entry: &TarEntry) -> Result<(), EntryError> {
        let target = clean(&entry.link).map_err(|_| EntryError::refused("it is a hard link that leaves the layer"))?;
        if target == path {
            return Ok(());
        }
        let missing =
            || EntryError::refused(&format!("it is a hard link to `{}`, which the layer has not", show(&target)));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let from = match resolve(self.root.as_fd(), parent(&target), flags) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(e) => return Err(EntryError::resolving(e)),
        };
        match sys::stat_at(from.as_fd(), base_name(&target)) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(EntryError::refused("it is a hard link to a directory"));
            }
            Ok(_) if is_whiteout(from.as_fd(), base_name(&target))? => return Err(missing()),
            Ok(_) => {}
            Err(_) => return Err(missing()),
        }
        self.remove_existing(dir, path)?;
        Ok(rustix::fs::linkat(&from, base_name(&target), dir, base_name(path), AtFlags::empty())?)
    }

    /// Makes a device, or where that is not permitted an empty file that stands for it.
    fn device(&self, dir: BorrowedFd<'_>, name: &[u8], kind: FileType, entry: &TarEntry) -> io::Result<()> {
        let (major, minor) = entry.device;
        match rustix::fs::mknodat(dir, name, kind, Mode::empty(), rustix::fs::makedev(major, minor)) {
            Err(Errno::PERM) if self.user => {
                new_file(dir, name)?;
                let letter = if kind == FileType::BlockDevice { 'b' } else { 'c' };
                sys::set_xattr(&sys::fd_path(dir, name), DEVICE_XATTR, format!("{letter} {major} {minor}").as_bytes())
            }
            other => Ok(other?),
        }
    }

    /// Owner, mode and extended attributes of `name` in `dir`. Owner first: changing it clears
    /// set-id bits and capabilities.
    fn set_attributes(&self, dir: BorrowedFd<'_>, name: &[u8], entry: &TarEntry) -> io::Result<()> {
        let path = sys::fd_path(dir, name);
        let at = if name.is_empty() { b".".as_slice() } else { name };
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the owner is no user or group number"));
        };
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match rustix::fs::chownat(dir, at, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::PERM) if self.user => {
                // What stands for another owner belongs to root, also in a directory whose content
                // gets the group of it.
                let root = (Some(Uid::ROOT), Some(Gid::ROOT));
                rustix::fs::chownat(dir, at, root.0, root.1, AtFlags::SYMLINK_NOFOLLOW)?;
                if matches!(entry.kind, TarEntryKind::File | TarEntryKind::Dir) {
                    sys::set_xattr(&path, OWNER_XATTR, format!("{uid}:{gid}").as_bytes())?;
                }
            }
            Err(e) => return Err(e.into()),
        }
        if entry.kind == TarEntryKind::Symlink {
            return Ok(());
        }
        for (key, value) in entry.xattrs.iter().filter(|(key, _)| scan::is_content_xattr(key)) {
            match sys::set_xattr(&path, key, value) {
                Err(e) if self.user && e.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
        }
        Ok(rustix::fs::chmodat(dir, at, Mode::from_raw_mode(entry.mode), AtFlags::empty())?)
    }
}

/// Why an entry could not be written.
enum EntryError {
    /// The archive asks for something that must not be.
    Refused(String),
    /// The archive could not be read.
    Damaged(io::Error),
    /// The disk would not.
    Disk(io::Error),
}

impl EntryError {
    fn refused(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }

    fn resolving(error: Errno) -> Self {
        match error {
            Errno::XDEV => Self::refused("the way to it goes through a symbolic link that leaves the layer"),
            Errno::LOOP => Self::refused("the way to it goes through symbolic links in a circle"),
            other => Self::Disk(other.into()),
        }
    }

    fn into_fault(self, path: &[u8]) -> Fault {
        let path = show(path);
        match self {
            Self::Refused(why) => Fault::user(format!("the entry `{path}` is refused: {why}")),
            Self::Damaged(e) => damaged(e),
            Self::Disk(e) => disk(&format!("write `{path}`"), e),
        }
    }
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Errno> for EntryError {
    fn from(error: Errno) -> Self {
        Self::Disk(error.into())
    }
}

fn write_file<R: Read>(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &TarEntry,
    archive: &mut Archive<R>,
) -> Result<(), EntryError> {
    let mut file = new_file(dir, name)?;
    let whole = [(0, entry.size)];
    let parts = entry.parts.as_deref().unwrap_or(&whole);
    let mut end = 0;
    for (offset, length) in parts {
        let stop = offset.checked_add(*length).filter(|stop| *stop <= entry.size && *offset >= end);
        end = stop.ok_or_else(|| EntryError::refused("it is a sparse file whose parts do not fit"))?;
        file.seek(SeekFrom::Start(*offset))?;
        copy_exactly(archive, &mut file, *length)?;
    }
    if file.metadata()?.len() < entry.size {
        file.set_len(entry.size)?;
    }
    Ok(())
}

fn copy_exactly<R: Read>(archive: &mut Archive<R>, file: &mut File, mut left: u64) -> Result<(), EntryError> {
    let mut buffer = vec![0u8; usize::try_from(left).unwrap_or(usize::MAX).clamp(1, 128 << 10)];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = archive.read(&mut buffer[..want]).map_err(EntryError::Damaged)?;
        if got == 0 {
            return Err(EntryError::refused("it has less content than its header says"));
        }
        file.write_all(&buffer[..got])?;
        left -= got as u64;
    }
    Ok(())
}

fn new_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?.into())
}

fn is_whiteout(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    let stat = sys::stat_at(dir, name)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
}

/// Opens `path` below `root`; symbolic links on the way count as long as they stay below.
fn resolve(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags.difference(OFlags::NOFOLLOW) | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

/// `name` relative to the root, without `.` and empty parts. A leading slash means the root of the
/// layer.
fn clean(name: &[u8]) -> Result<Vec<u8>> {
    if name.contains(&0) {
        return Err(Fault::user("the archive has an entry with a zero byte in its name"));
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(Fault::user(format!("the entry `{}` is refused: its name contains `..`", show(name))));
            }
            part => path = join(&path, part),
        }
    }
    // The last part may be a directory or a file in one.
    if path.iter().filter(|b| **b == b'/').count() > MAX_LEVELS {
        let shown = show(&name[..name.len().min(64)]);
        return Err(Fault::user(format!(
            "the entry `{shown}…` is refused: more than {MAX_LEVELS} directories are inside one another"
        )));
    }
    Ok(path)
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}
