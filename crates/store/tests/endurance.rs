//! Random trees, a full disk, and an engine that is killed at work.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{Compression, LayerBlobs, Snapshots};
use rondel_store::{Options, Store};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::{at, blob, change, fixture, leftovers, set_mtime, set_xattr, show};

#[derive(Debug, Clone)]
enum Act {
    Write(String, Vec<u8>, u32),
    MakeDir(String),
    Link(String, String),
    HardLink(String, String),
    Remove(String),
    Attribute(String, Vec<u8>),
    Rename(String, String),
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => "[abc]", 1 => "[é .-]x", 1 => Just("n".repeat(101))];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..600);
    prop_oneof![
        4 => (path(), bytes.clone(), 0u32..0o10000).prop_map(|(path, data, mode)| Act::Write(path, data, mode)),
        2 => path().prop_map(Act::MakeDir),
        1 => (path(), path()).prop_map(|(path, target)| Act::Link(path, target)),
        1 => (path(), path()).prop_map(|(path, target)| Act::HardLink(path, target)),
        3 => path().prop_map(Act::Remove),
        1 => (path(), bytes).prop_map(|(path, value)| Act::Attribute(path, value)),
        1 => (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
    ]
}

/// Does what can be done; what cannot, is left out.
fn apply(root: &Path, acts: &[Act]) {
    let below = |path: &str| root.join(path);
    let is_plain = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir());
    for act in acts {
        let _: Option<()> = match act {
            Act::Write(path, data, mode) => {
                let path = below(path);
                let _ = fs::create_dir_all(path.parent().unwrap());
                let _ = fs::remove_file(&path);
                fs::write(&path, data).ok().map(|()| {
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                    set_mtime(&path, 1_000_000 + u64::from(*mode));
                })
            }
            Act::MakeDir(path) => fs::create_dir_all(below(path)).ok(),
            Act::Link(path, target) => symlink(target, below(path)).ok(),
            Act::HardLink(path, target) => fs::hard_link(below(target), below(path)).ok(),
            Act::Remove(path) => fs::remove_dir_all(below(path)).or_else(|_| fs::remove_file(below(path))).ok(),
            Act::Attribute(path, value) if is_plain(&below(path)) => {
                set_xattr(&below(path), "user.random", value);
                None
            }
            Act::Attribute(..) => None,
            Act::Rename(from, to) => fs::rename(below(from), below(to)).ok(),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_is_unpacked(stack in proptest::collection::vec(proptest::collection::vec(act(), 1..12), 1..4)) {
        let f = fixture();
        let mut snapshot = Snapshot::empty();
        for acts in &stack {
            snapshot = change(&f.store, &snapshot, |root, _| apply(root, acts));
        }
        let seen = show(&f.store, &snapshot);
        let flat = f.store.flatten(&snapshot).unwrap();
        prop_assert_eq!(&show(&f.store, &flat), &seen);

        let other = fixture();
        let mut moved = Vec::new();
        for layer in snapshot.layers() {
            let (blob, path) = f.store.pack(layer, Compression::None).unwrap();
            moved.push(other.store.unpack(&path, Compression::None, &blob).unwrap());
        }
        let third = fixture();
        for layer in &moved {
            let (blob, path) = other.store.pack(layer, Compression::Gzip).unwrap();
            prop_assert_eq!(&third.store.unpack(&path, Compression::Gzip, &blob).unwrap(), layer);
        }
        prop_assert_eq!(&show(&other.store, &Snapshot::new(moved)), &seen);
        prop_assert_eq!(f.store.verify().unwrap().problems, Vec::<String>::new());
        prop_assert_eq!(other.store.verify().unwrap().problems, Vec::<String>::new());
        prop_assert_eq!(leftovers(&f.store) + leftovers(&other.store), 0);
    }
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, size: &str) -> Self {
        fs::create_dir(at).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(&dir.path().join("disk"), "6m");
    let store = Store::open(&disk.0, Options::default()).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(8 << 20);
    header.set_mode(0o644);
    header.set_path("large").unwrap();
    header.set_cksum();
    builder.append(&header, std::io::repeat(7).take(8 << 20)).unwrap();
    let (path, expected) = blob(dir.path(), &builder.into_inner().unwrap(), Compression::Zstd);
    let fault = store.unpack(&path, Compression::Zstd, &expected).unwrap_err();
    assert_eq!(fault.kind(), rondel_fault::Kind::Environment);
    assert!(fault.to_string().contains("cannot write `large`"), "{fault}");
    assert!(fault.to_string().contains("No space left"), "{fault}");
    assert_eq!(leftovers(&store), 0);

    let tree = store.prepare(&Snapshot::empty()).unwrap();
    assert!(fs::write(at(&tree.root).join("large"), vec![1; 8 << 20]).is_err());
    store.abort(tree);
    let after = change(&store, &Snapshot::empty(), |root, _| fs::write(root.join("small"), "x").unwrap());
    assert!(store.touch_if_present(&after));
    assert_eq!(leftovers(&store), 0);
    drop(store);
}

const CHILD: &str = "RONDEL_TEST_STORE_CHILD";

/// Not a test of its own: what the killed process does.
#[test]
fn child_commits_until_killed() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = Store::open(&dir.join("state"), Options { flatten_above: 5, ..Options::default() }).unwrap();
    let mut told = fs::File::options().create(true).append(true).open(dir.join("told")).unwrap();
    let round = fs::read(dir.join("told")).unwrap().len();
    let mut snapshot = Snapshot::empty();
    for n in 0u64.. {
        snapshot = change(&store, &snapshot, |root, _| {
            fs::create_dir_all(root.join(format!("d{}", n % 4))).unwrap();
            for file in 0..20 {
                fs::write(root.join(format!("d{}/{file}", n % 4)), format!("{round} {n} {file}")).unwrap();
            }
        });
        let layer = snapshot.layers().last().unwrap();
        if n % 3 == 0 {
            let (blob, path) = store.pack(layer, Compression::Zstd).unwrap();
            let tar = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
            let (path, plain) = support::blob(&dir, &tar, Compression::None);
            assert_eq!(plain.diff_id, blob.diff_id);
            store.unpack(&path, Compression::None, &plain).unwrap();
        }
        told.write_all(format!("{layer}\n").as_bytes()).unwrap();
    }
}

#[test]
fn what_was_committed_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let lines = || fs::read_to_string(&told).unwrap_or_default().lines().count();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_commits_until_killed"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let enough = lines() + 3 + round;
        while lines() < enough {
            assert!(child.try_wait().unwrap().is_none(), "the child ended early");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&dir.path().join("state"), Options::default()).unwrap();
        let found = store.verify().unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
        for line in fs::read_to_string(&told).unwrap().lines() {
            assert!(store.touch_if_present(&Snapshot::empty().with(LayerId(line.parse().unwrap()))), "{line}");
        }
        assert_eq!(fs::read_dir(dir.path().join("state/scratch")).unwrap().count(), 1);
    }
}
