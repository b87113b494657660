//! Helpers of the store's tests.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Sha256Digest;
use rondel_model::Snapshot;
use rondel_ports::snapshots::{Compression, LayerBlob, Snapshots, WorkTree};
use rondel_store::{Options, Store};

/// A store in a folder that goes away.
pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn fixture() -> Fixture {
    fixture_with(Options::default())
}

pub(crate) fn fixture_with(options: Options) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state"), options).unwrap();
    Fixture { store, dir }
}

/// The path by which a mount that is attached nowhere can be used.
pub(crate) fn at(root: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/", root.as_fd().as_raw_fd()))
}

/// Commits what `change` does on top of `base`.
pub(crate) fn change(store: &Store, base: &Snapshot, change: impl FnOnce(&Path, &WorkTree)) -> Snapshot {
    let tree = store.prepare(base).unwrap();
    change(&at(&tree.root), &tree);
    store.commit(tree).unwrap()
}

/// Everything a process sees in a snapshot, one line per entry.
pub(crate) fn show(store: &Store, snapshot: &Snapshot) -> Vec<String> {
    let tree = store.view(snapshot).unwrap();
    let mut lines = Vec::new();
    list(&at(&tree.root), "", &mut lines);
    lines
}

fn list(root: &Path, path: &str, lines: &mut Vec<String>) {
    let mut names: Vec<_> = fs::read_dir(root.join(path)).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let below = if path.is_empty() { PathBuf::from(&name) } else { Path::new(path).join(&name) };
        let full = root.join(&below);
        let meta = fs::symlink_metadata(&full).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "dir".into()
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(&full).unwrap().display())
        } else if kind.is_file() {
            format!("{:?}", String::from_utf8_lossy(&fs::read(&full).unwrap()))
        } else if kind.is_char_device() {
            format!("char {}", meta.rdev())
        } else {
            "special".into()
        };
        lines.push(format!("{} {:o} {}:{} {what}", below.display(), meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if kind.is_dir() {
            list(root, below.to_str().unwrap(), lines);
        }
    }
}

/// Writes `tar` packed as a blob and describes it.
pub(crate) fn blob(dir: &Path, tar: &[u8], compression: Compression) -> (PathBuf, LayerBlob) {
    let packed = match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let mut packed = Vec::new();
            flate2::read::GzEncoder::new(tar, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
            packed
        }
        Compression::Zstd => zstd::encode_all(tar, 1).unwrap(),
    };
    let path = dir.join(Sha256Digest::of_bytes(&packed).hex());
    fs::write(&path, &packed).unwrap();
    let blob = LayerBlob {
        digest: Sha256Digest::of_bytes(&packed),
        size: packed.len() as u64,
        diff_id: Sha256Digest::of_bytes(tar),
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
    };
    (path, blob)
}

/// The number of entries in what the store is still writing or removing.
pub(crate) fn leftovers(store: &Store) -> usize {
    store.flush_trash();
    let count = |folder: &str| fs::read_dir(store.state_dir().join(folder)).unwrap().count();
    count("scratch") - 1 + count("trash")
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

pub(crate) fn get_xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 4096];
    let size = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
    value.truncate(size);
    value
}

pub(crate) fn set_mtime(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

pub(crate) fn fd(fd: &impl AsFd) -> BorrowedFd<'_> {
    fd.as_fd()
}
