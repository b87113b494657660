//! The terminal of a container: one of its own `/dev/pts`, so that its programs find the terminal's
//! name.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::process::ProcessTerminal;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::mounts;

/// The magic number of `devpts`.
const TERMINALS_MAGIC: i64 = 0x1cd1;

/// A terminal, before its container exists.
pub(crate) struct Terminal {
    /// The `devpts` to mount on `/dev/pts`.
    pub(crate) mount: OwnedFd,
    /// The engine's side.
    pub(crate) master: OwnedFd,
    /// The container's side.
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    /// Makes the first terminal of a new `devpts`. `group` may write to it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn new(group: Option<u32>, columns: u16, rows: u16) -> Result<Self> {
        let group = group.map(|group| group.to_string());
        let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
        options.extend(group.as_deref().map(|group| ("gid", group)));
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = mounts::detached("devpts", &options, attributes)?;
        let (master, slave) = open(mount.as_fd(), columns, rows)?;
        Ok(Self { mount, master, slave })
    }
}

/// Opens a further terminal of a running container: the engine's side and the container's.
///
/// # Errors
/// When the container has no `devpts` at `/dev/pts` any more, or the kernel refuses.
pub(crate) fn further(root: &OwnedFd, asked: &ProcessTerminal) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let terminals = rustix::fs::openat2(root, "dev/pts", flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .attempt(|| "find the terminals of the container at `/dev/pts`".into())?;
    // The container may have mounted another file system there.
    let found = rustix::fs::fstatfs(&terminals).attempt(|| "look at `/dev/pts` of the container".into())?;
    if found.f_type != TERMINALS_MAGIC {
        return Err(Fault::user("cannot open a terminal in the container: something else is mounted on `/dev/pts`"));
    }
    open(terminals.as_fd(), asked.columns, asked.rows)
}

/// Opens a new terminal of a `devpts`.
fn open(terminals: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<(OwnedFd, OwnedFd)> {
    let open = || {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let master = rustix::fs::openat(terminals, "ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
        Ok::<_, rustix::io::Errno>((master, slave))
    };
    open().attempt(|| "open a terminal for the container".into())
}
