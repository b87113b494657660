//! Unpacks tar archives into a tree: plain or compressed with gzip, bzip2, xz or zstd. Symlinks of
//! the archive and of the tree are followed as by a process whose root is the target directory. So
//! nothing is ever written outside of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::AbsPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::copy::{Target, magic_path};
use crate::owner::Ids;
use crate::root::{Root, failed, inner, remove};

/// The size of a header.
const BLOCK: usize = 512;

/// The prefix of extended attributes in PAX headers.
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// Unpacks `file` into the directory `path` of the tree at `root` if it is an archive, and returns
/// whether it is. Everything belongs to `ids`. `None` keeps the owners of the archive. `shown`
/// names the file in errors.
pub(crate) fn archive(file: &mut File, shown: &Path, root: Root<'_>, path: &AbsPath, ids: Option<Ids>) -> Result<bool> {
    let attempted = || format!("read `{}`", shown.display());
    let mut start = [0; BLOCK];
    let length = fill(&mut reader(file).attempt(attempted)?, &mut start);
    if length != BLOCK || !is_header(&start) {
        return Ok(false);
    }
    file.rewind().attempt(attempted)?;
    let fail = |e| failed(e, "unpack into", path.as_str());
    let (dir, _) = root.ensure_dir(inner(path), &mut |_| Ok(())).map_err(fail)?;
    let mut unpacking = Unpacking { root: Root(dir.as_fd()), ids, directories: Vec::new() };
    let mut archive = Archive::new(reader(file).attempt(attempted)?);
    let context = |fault: Fault| fault.context(format!("cannot unpack `{}`", shown.display()));
    for entry in archive.entries().attempt(attempted)? {
        let mut entry = entry.attempt(attempted)?;
        unpacking.entry(&mut entry).map_err(context)?;
    }
    unpacking.finish().map_err(context)?;
    Ok(true)
}

/// Reads `file`, decompressed if its compression is known.
fn reader(file: &mut File) -> std::io::Result<Box<dyn Read + '_>> {
    let mut magic = [0; 6];
    let length = fill(file, &mut magic);
    file.rewind()?;
    let file = BufReader::with_capacity(64 << 10, file);
    Ok(match &magic[..length] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(file, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// Reads until `buffer` is full or the input ends, and returns the length.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

/// Whether a block is a tar header with a valid checksum.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let text: Vec<u8> = block[148..156].iter().copied().filter(u8::is_ascii_digit).collect();
    let Some(said) = std::str::from_utf8(&text).ok().and_then(|text| u64::from_str_radix(text, 8).ok()) else {
        return false;
    };
    let sum = |at: usize, byte: u8| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(byte) };
    block.iter().enumerate().map(|(at, byte)| sum(at, *byte)).sum::<u64>() == said
}

struct Unpacking<'a> {
    /// The target directory.
    root: Root<'a>,
    ids: Option<Ids>,
    /// Times of directories. Set at the end, because writing into a directory changes them.
    directories: Vec<(PathBuf, u64)>,
}

/// The metadata of an entry.
struct Attributes {
    ids: Ids,
    mode: u32,
    mtime: u64,
    extended: Vec<(String, Vec<u8>)>,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = inside(Path::new(OsStr::from_bytes(&entry.path_bytes())), &shown)?;
        let attributes = self.attributes(entry, &shown)?;
        let fail = |e| failed(e, "unpack", &shown);
        let Some(name) = path.file_name().map(OsString::from) else {
            self.directories.push((PathBuf::new(), attributes.mtime));
            return Ok(());
        };
        let (dir, at) = self.parent(&path).map_err(fail)?;
        if kind == EntryType::Directory {
            let target = Target::new(self.root, at, dir).below(&name).map_err(fail)?;
            let (dir, name) = target.holder().map_err(fail)?;
            attributes.apply(&dir, name, false).map_err(fail)?;
            self.directories.push((target.into_path(), attributes.mtime));
            return Ok(());
        }
        remove(dir.as_fd(), &name).map_err(fail)?;
        match kind {
            EntryType::Symlink => {
                let target = link_of(entry, &shown)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&target), &dir, &name).map_err(fail)?;
            }
            EntryType::Link => {
                let target = link_of(entry, &shown)?;
                let target = inside(Path::new(OsStr::from_bytes(&target)), &shown)?;
                let (from, _) = self.parent(&target).map_err(fail)?;
                let old = target.file_name().unwrap_or_default();
                return rustix::fs::linkat(&from, old, &dir, &name, AtFlags::empty()).map_err(fail);
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                let special = match kind {
                    EntryType::Fifo => FileType::Fifo,
                    EntryType::Char => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                let number = |n: std::io::Result<Option<u32>>| n.ok().flatten().unwrap_or_default();
                let (major, minor) = (entry.header().device_major(), entry.header().device_minor());
                let device = rustix::fs::makedev(number(major), number(minor));
                rustix::fs::mknodat(&dir, &name, special, Mode::from_raw_mode(0o600), device).map_err(fail)?;
            }
            _ => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
                std::io::copy(entry, &mut File::from(file)).attempt(|| format!("unpack `{shown}`"))?;
            }
        }
        attributes.apply(&dir, &name, kind == EntryType::Symlink).map_err(fail)
    }

    /// Opens the directory that holds `path`, and makes it when missing.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, PathBuf), Errno> {
        let parent = path.parent().unwrap_or(Path::new(""));
        self.root.ensure_dir(parent, &mut |new| crate::copy::chown(new, self.ids))
    }

    fn attributes<R: Read>(&self, entry: &mut Entry<'_, R>, shown: &str) -> Result<Attributes> {
        let attempted = || format!("read the header of `{shown}`");
        let header = entry.header();
        let number = |id: std::io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
        let said = Ids { uid: number(header.uid()), gid: number(header.gid()) };
        let mode = header.mode().attempt(attempted)? & 0o7777;
        let mtime = header.mtime().attempt(attempted)?;
        let mut extended = Vec::new();
        for extension in entry.pax_extensions().attempt(attempted)?.into_iter().flatten() {
            let extension = extension.attempt(attempted)?;
            if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE)) {
                extended.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
        Ok(Attributes { ids: self.ids.unwrap_or(said), mode, mtime, extended })
    }

    /// Sets the times of directories, the deepest first.
    fn finish(mut self) -> Result<()> {
        while let Some((path, mtime)) = self.directories.pop() {
            let fail = |e| failed(e, "set the times of", &path);
            let dir = self.root.open_dir(&path).map_err(fail)?;
            rustix::fs::futimens(&dir, &times(mtime)).map_err(fail)?;
        }
        Ok(())
    }
}

fn link_of<R: Read>(entry: &Entry<'_, R>, shown: &str) -> Result<Vec<u8>> {
    let target = entry.link_name_bytes().map(|name| name.into_owned());
    target.ok_or_else(|| Fault::user(format!("the archive has a link `{shown}` to nothing")))
}

/// Cleans `path`. A path that leads out of the archive is an error.
fn inside(path: &Path, shown: &str) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                return Err(Fault::user(format!("the archive has a path that leaves it: `{shown}`")));
            }
            _ => {}
        }
    }
    Ok(clean)
}

impl Attributes {
    fn apply(&self, dir: &OwnedFd, name: &OsStr, is_link: bool) -> Result<(), Errno> {
        self.ids.own(dir.as_fd(), name)?;
        if !is_link {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        for (attribute, value) in &self.extended {
            let path = magic_path(dir.as_fd(), name);
            match rustix::fs::lsetxattr(&path, attribute.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(e) => return Err(e),
            }
        }
        rustix::fs::utimensat(dir, name, &times(self.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn times(mtime: u64) -> Timestamps {
    let time = Timespec { tv_sec: i64::try_from(mtime).unwrap_or_default(), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
