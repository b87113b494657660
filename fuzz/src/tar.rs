//! Layers of images: whatever an archive says, it ends in its own folder, or nowhere.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use rondel_digest::Sha256Digest;
use rondel_ports::snapshots::{Compression, LayerBlob, LayerBlobs};
use rondel_store::{Limits, Options, Store};

/// Headers stand in blocks of so many bytes.
const BLOCK: usize = 512;
/// Where a header has its checksum, and what says that it is one.
const CHECKSUM: Range<usize> = 148..156;
const MAGIC: Range<usize> = 257..262;

/// So many archives are unpacked before what came of them is removed.
const TOGETHER: usize = 200;

struct World {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    unpacked: AtomicUsize,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("outside"), "untouched").expect("a file can be written");
    let options = Options { limits: Limits { entries: 1_000, bytes: 1 << 20 }, ..Options::default() };
    let store = Store::open(&folder.path().join("state"), options).expect("a store can be opened");
    World { folder, store, unpacked: AtomicUsize::new(0) }
});

/// Unpacks the input as it is, and with the checksums of its headers corrected.
pub fn run(input: &[u8]) {
    unpack(input);
    let corrected = corrected(input);
    if corrected != input {
        unpack(&corrected);
    }
}

/// Without this, a change to a header is never more than a wrong checksum.
fn corrected(input: &[u8]) -> Vec<u8> {
    let mut archive = input.to_vec();
    for header in archive.chunks_exact_mut(BLOCK).filter(|block| block[MAGIC].starts_with(b"ustar")) {
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    archive
}

fn unpack(bytes: &[u8]) {
    let World { folder, store, unpacked } = &*WORLD;
    let blob = folder.path().join("blob");
    std::fs::write(&blob, bytes).expect("a file can be written");
    let digest = Sha256Digest::of_bytes(bytes);
    let expected = LayerBlob { digest, size: bytes.len() as u64, diff_id: digest, media_type: String::new() };
    let _ = store.unpack(&blob, Compression::None, &expected);
    if unpacked.fetch_add(1, Ordering::Relaxed) % TOGETHER == 0 {
        let outside = std::fs::read_to_string(folder.path().join("outside")).expect("it is still there");
        assert_eq!(outside, "untouched");
        let found = store.verify().expect("the store can be read");
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        store.prune(&HashSet::new(), &HashSet::new()).expect("everything can be removed");
    }
}
