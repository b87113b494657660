//! The terminal of a container: one of the terminals that the container itself has, so that its programs find its name.

use std::os::fd::{AsFd as _, OwnedFd};

use rondel_fault::{Attempt as _, Result};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::mounts;

/// A terminal, before its container exists.
pub(crate) struct Terminal {
    /// What is mounted on `/dev/pts`, to be taken once.
    pub(crate) mount: OwnedFd,
    /// The engine's side.
    pub(crate) master: OwnedFd,
    /// The container's side.
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    /// The first terminal of a new file system of terminals; `group` may write to it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn new(group: Option<u32>, columns: u16, rows: u16) -> Result<Self> {
        let group = group.map(|group| group.to_string());
        let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
        options.extend(group.as_deref().map(|group| ("gid", group)));
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = mounts::detached("devpts", &options, attributes)?;
        let open = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let master = rustix::fs::openat(mount.as_fd(), "ptmx", flags, Mode::empty())?;
            rustix::pty::unlockpt(&master)?;
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&master, size)?;
            Ok::<_, rustix::io::Errno>((master, slave))
        };
        let (master, slave) = open().attempt(|| "open a terminal for the container".into())?;
        Ok(Self { mount, master, slave })
    }
}
