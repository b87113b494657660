//! Resolves owners to numeric ids with `/etc/passwd` and `/etc/group` of a tree.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rondel_fault::{Fault, Result};
use rondel_model::Owner;
use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use crate::root::Root;

/// Larger account files are cut.
const MAX_BYTES: u64 = 16 << 20;

/// A user id and a group id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    /// User and group root.
    pub(crate) const ROOT: Ids = Ids { uid: 0, gid: 0 };

    /// The ids as arguments of system calls.
    pub(crate) fn pair(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    /// Makes these ids the owner of `name` in `dir`. A symlink is not followed.
    pub(crate) fn own(self, dir: rustix::fd::BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<(), Errno> {
        let (uid, gid) = self.pair();
        rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// The ids of an owner written as `uid:gid`, which are the same in every tree.
pub(crate) fn numbers(owner: &Owner) -> Option<Ids> {
    let (user, group) = owner.0.split_once(':')?;
    Some(Ids { uid: user.parse().ok()?, gid: group.parse().ok()? })
}

/// Resolves `owner` in the tree at `root`. Without a group, it is the user's primary group, or the
/// group with the user's number.
pub(crate) fn resolve(root: Root<'_>, owner: &Owner) -> Result<Ids> {
    let (user, group) = match owner.0.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (&*owner.0, None),
    };
    let (uid, own) = if user.is_empty() { (0, Some(0)) } else { find_user(&read(root, "etc/passwd"), user)? };
    let gid = match group {
        None => own.unwrap_or(uid),
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => find_group(&read(root, "etc/group"), group)?,
        },
    };
    Ok(Ids { uid, gid })
}

fn find_user(passwd: &str, user: &str) -> Result<(u32, Option<u32>)> {
    let number: Option<u32> = user.parse().ok();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if number.map_or(name == user, |number| number == uid) {
            return Ok((uid, Some(gid)));
        }
    }
    let unknown = || Fault::user(format!("unable to find user {user}: no matching entries in passwd file"));
    Ok((number.ok_or_else(unknown)?, None))
}

fn find_group(group: &str, wanted: &str) -> Result<u32> {
    let found = group.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, ..] = fields[..] else { return None };
        (name == wanted).then(|| gid.parse().ok())?
    });
    found.ok_or_else(|| Fault::user(format!("unable to find group {wanted}: no matching entries in group file")))
}

fn read(root: Root<'_>, path: &str) -> String {
    let Ok(fd) = root.open_file(Path::new(path)) else { return String::new() };
    let mut bytes = Vec::new();
    let _ = File::from(fd).take(MAX_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn owners() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:\nann:x:1000:100:Ann:/home/ann:/bin/sh\nbad\n")
            .unwrap();
        std::fs::write(dir.path().join("etc/group"), "root:x:0:\nstaff:x:50:ann\n").unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let check = |text: &str, want: Option<(u32, u32)>| {
            let got = resolve(Root(fd.as_fd()), &Owner(text.into())).ok().map(|ids| (ids.uid, ids.gid));
            assert_eq!(got, want, "{text}");
        };
        check("ann", Some((1000, 100)));
        check("1000", Some((1000, 100)));
        check("1234", Some((1234, 1234)));
        check("ann:staff", Some((1000, 50)));
        check("1:2", Some((1, 2)));
        check("7:staff", Some((7, 50)));
        check("nobody", None);
        check("ann:nobody", None);
    }
}
