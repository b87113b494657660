//! Mounts that are attached nowhere: clones of a directory and overlays.
//!
//! *Invariants.* What is returned is the descriptor that keeps the mount alive. The kernel opens it
//! with `O_PATH`: it can be moved, cloned and walked through; who wants to list it opens `.` below
//! it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, open_tree, unmount,
};

use crate::sys::magic_path;

/// Where an overlay collects changes.
pub(crate) struct Writable<'a> {
    /// Receives the changes.
    pub(crate) upper: BorrowedFd<'a>,
    /// The overlay's own folder, empty, on the same file system.
    pub(crate) work: BorrowedFd<'a>,
}

/// A read-only clone of the directory `dir`.
pub(crate) fn clone_read_only(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(dir, "", flags).map_err(|e| refused("clone a layer as a mount", e))?;
    set_read_only(clone.as_fd()).map_err(|e| refused("make a mount read-only", e))?;
    Ok(clone)
}

/// An overlay of `layers`, lowest first, at least two of them or one and `writable`.
pub(crate) fn overlay(layers: &[OwnedFd], writable: Option<&Writable<'_>>, user: bool, spot: &Path) -> Result<OwnedFd> {
    match with_new_api(layers, writable, user) {
        Err(Errno::INVAL | Errno::NOSYS) => with_old_api(layers, writable, user, spot),
        other => other.map_err(|e| refused(&format!("mount an overlay of {} layers", layers.len()), e)),
    }
}

fn with_new_api(layers: &[OwnedFd], writable: Option<&Writable<'_>>, user: bool) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers.iter().rev() {
        fsconfig_set_string(context.as_fd(), "lowerdir+", magic_path(layer))?;
    }
    if let Some(writable) = writable {
        fsconfig_set_string(context.as_fd(), "upperdir", magic_path(&writable.upper))?;
        fsconfig_set_string(context.as_fd(), "workdir", magic_path(&writable.work))?;
    }
    for (key, value) in SELF_CONTAINED {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    if writable.is_some() {
        fsconfig_set_flag(context.as_fd(), VOLATILE)?;
    }
    if user {
        fsconfig_set_flag(context.as_fd(), "userxattr")?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = if writable.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// What keeps an upper directory meaningful without its lower ones.
const SELF_CONTAINED: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow")];

/// Without it the kernel writes out the whole file system of the upper directory when the overlay
/// goes: milliseconds for nothing, since what a crash interrupts is thrown away at the next start.
const VOLATILE: &str = "volatile";

/// For kernels without `lowerdir+`: mounts at `spot`, takes the mount off again as a descriptor.
fn with_old_api(layers: &[OwnedFd], writable: Option<&Writable<'_>>, user: bool, spot: &Path) -> Result<OwnedFd> {
    let lower: Vec<String> = layers.iter().rev().map(magic_path).collect();
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some(writable) = writable {
        let (upper, work) = (magic_path(&writable.upper), magic_path(&writable.work));
        options += &format!(",upperdir={upper},workdir={work},{VOLATILE}");
    }
    for (key, value) in SELF_CONTAINED {
        options += &format!(",{key}={value}");
    }
    if user {
        options += ",userxattr";
    }
    let mut at = spot.to_path_buf();
    at.push(format!("mount-{}", layers.first().map_or(0, |fd| fd.as_raw_fd())));
    fs::create_dir(&at).attempt(|| format!("make `{}`", at.display()))?;
    let flags = if writable.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
    let data = std::ffi::CString::new(options).attempt(|| "mount an overlay".into())?;
    let mounted = mount("overlay", &at, "overlay", flags, data.as_c_str())
        .map_err(|e| refused(&format!("mount an overlay of {} layers", layers.len()), e))
        .and_then(|()| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let clone = open_tree(CWD, &at, flags).map_err(|e| refused("take an overlay as a descriptor", e));
            let _ = unmount(&at, UnmountFlags::DETACH);
            clone
        });
    let _ = fs::remove_dir(&at);
    mounted
}

fn refused(attempted: &str, error: Errno) -> Fault {
    let fault = Fault::environment(format!("cannot {attempted}")).caused_by(error);
    match error {
        Errno::PERM | Errno::ACCESS => {
            fault.with_hint("run as root, or in a user namespace with a mount namespace of its own")
        }
        _ => fault,
    }
}

fn set_read_only(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, `attributes` outlives the call and its size is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_mounting_show_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(format!("in-{name}")), name).unwrap();
            crate::sys::open_dir(&path).unwrap()
        };
        let layers = [open("a"), open("b")];
        let user = crate::sys::in_user_namespace();
        let new = with_new_api(&layers, None, user).unwrap();
        let old = with_old_api(&layers, None, user, dir.path()).unwrap();
        for root in [new, old] {
            let listed = crate::sys::open_dir_at(root.as_fd(), b".").unwrap();
            let names = crate::sys::names(listed.as_fd()).unwrap();
            assert_eq!(names, [c"in-a".to_owned(), c"in-b".to_owned()]);
        }
    }
}
