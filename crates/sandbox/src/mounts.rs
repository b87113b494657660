//! Detached mounts, made before the container exists.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rondel_fault::{Attempt, Result};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};

/// A new file system in memory.
///
/// # Errors
/// When the kernel refuses it.
pub(crate) fn memory(options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    detached("tmpfs", options, attributes)
}

/// A new file system as a detached mount.
///
/// # Errors
/// When the kernel refuses it.
pub(crate) fn detached(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let make = || {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().attempt(|| format!("make a file system of the kind `{kind}`"))
}

/// A detached copy of the mount at a path of the host, with all mounts below it.
///
/// # Errors
/// When the path does not exist, or the kernel refuses.
pub(crate) fn copy_of(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).attempt(|| format!("mount `{}` of the host", path.display()))
}

/// Makes a detached mount and all mounts below it read-only. Devices can still be used, but their
/// owners and permissions cannot be changed.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> std::io::Result<()> {
    restrict(mount, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Makes a detached mount and all mounts below it `nodev`: no device can be opened there.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn forbid_devices(mount: BorrowedFd<'_>) -> std::io::Result<()> {
    restrict(mount, MountAttrFlags::MOUNT_ATTR_NODEV)
}

fn restrict(mount: BorrowedFd<'_>, attributes: MountAttrFlags) -> std::io::Result<()> {
    // The kernel's `mount_attr`: set, clear, propagation, user namespace.
    let attributes = [u64::from(attributes.bits()), 0, 0, 0];
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    let size = size_of_val(&attributes);
    // SAFETY: the path is an empty C string, the attributes live until the call returns, and their
    // size is given.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size)
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
