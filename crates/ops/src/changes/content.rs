//! The content of a path as version control sees it: a file, a symlink or something special.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rondel_fault::Result;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::compare::{executable, holder};
use crate::root::{failed, kind, permissions, stat_at};

/// Larger files are compared, copied and patched as a whole and not by lines. Same as git's
/// `core.bigFileThreshold`.
pub(crate) const MAX_TEXT: usize = 512 << 20;

/// A file with a zero byte in this many leading bytes is binary. Same as git.
const BINARY_PROBE_BYTES: usize = 8_000;

/// The content of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A regular file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// A device, pipe or socket.
    Special,
}

impl Content {
    /// The bytes that count for version control.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File { bytes, .. } | Self::Link(bytes) => bytes,
            Self::Special => &[],
        }
    }

    /// The mode as git writes it.
    pub(crate) fn git_mode(&self) -> &'static str {
        match self {
            Self::File { mode, .. } if mode & 0o100 != 0 => "100755",
            Self::Link(_) => "120000",
            _ => "100644",
        }
    }

    /// Whether the content can be compared and merged by lines.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::File { bytes, .. } | Self::Link(bytes) if is_text(bytes))
    }
}

/// Whether `bytes` are text and small enough to compare by lines.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_TEXT && !bytes[..bytes.len().min(BINARY_PROBE_BYTES)].contains(&0)
}

/// Reads `path` below `top` without following symlinks. `None` if it is missing or a directory.
pub(crate) fn read(top: BorrowedFd<'_>, path: &Path) -> Result<Option<Content>> {
    read_inner(top, path).map_err(|e| failed(e, "read", path))
}

fn read_inner(top: BorrowedFd<'_>, path: &Path) -> Result<Option<Content>, Errno> {
    let (Some(dir), Some(name)) = (holder(top, path)?, path.file_name()) else { return Ok(None) };
    let Some(stat) = stat_at(dir.as_fd(), name)? else { return Ok(None) };
    Ok(match kind(&stat) {
        FileType::Directory => None,
        FileType::Symlink => Some(Content::Link(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0));
            let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
            file.read_to_end(&mut bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            Some(Content::File { bytes, mode: permissions(&stat) })
        }
        _ => Some(Content::Special),
    })
}

/// The size of the regular file at `path` below `top`, and whether it is executable. `None` for
/// anything else.
pub(crate) fn regular(top: BorrowedFd<'_>, path: &Path) -> Result<Option<(u64, bool)>> {
    let look = || -> Result<_, Errno> {
        let (Some(dir), Some(name)) = (holder(top, path)?, path.file_name()) else { return Ok(None) };
        let stat = stat_at(dir.as_fd(), name)?.filter(|stat| kind(stat) == FileType::RegularFile);
        Ok(stat.map(|stat| (stat.st_size as u64, executable(&stat))))
    };
    look().map_err(|e| failed(e, "read", path))
}
