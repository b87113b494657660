//! What a path holds, as far as version control sees it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rondel_fault::Result;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::compare::{executable, holder};
use crate::root::{failed, kind, permissions, stat_at};

/// Larger files are compared, copied and patched as a whole, not by lines: git's own threshold,
/// `core.bigFileThreshold`.
pub(crate) const MAX_TEXT: usize = 512 << 20;

/// The part of a file in which a zero byte says that it is no text.
const BINARY_PROBE_BYTES: usize = 8_000;

/// What a path holds.
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

    /// Whether it can be shown and merged by lines.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::File { bytes, .. } | Self::Link(bytes) if is_text(bytes))
    }
}

/// Whether `bytes` are text of a size that is worth comparing by lines.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_TEXT && !bytes[..bytes.len().min(BINARY_PROBE_BYTES)].contains(&0)
}

/// What is at `path` below `top`, no link followed; none when nothing or a directory is there.
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

/// The size of the regular file at `path` below `top`, and whether it can be executed; none for anything else.
pub(crate) fn regular(top: BorrowedFd<'_>, path: &Path) -> Result<Option<(u64, bool)>> {
    let look = || -> Result<_, Errno> {
        let (Some(dir), Some(name)) = (holder(top, path)?, path.file_name()) else { return Ok(None) };
        let stat = stat_at(dir.as_fd(), name)?.filter(|stat| kind(stat) == FileType::RegularFile);
        Ok(stat.map(|stat| (stat.st_size as u64, executable(&stat))))
    };
    look().map_err(|e| failed(e, "read", path))
}
