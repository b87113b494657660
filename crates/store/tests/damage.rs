//! What is damaged is not served: it is set aside when it is found, and made again. Issue 9, B8.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondel_digest::Digest;
use rondel_model::Snapshot;
use rondel_ports::dirs::Volumes;
use rondel_ports::index::{Index, Table};
use rondel_ports::snapshots::{Compression, LayerBlobs, Snapshots};
use rondel_store::{Options, Store};

use support::{Fixture, change, fixture};

/// A layer whose files lie at its root and below.
fn layer(store: &Store) -> Snapshot {
    change(store, &Snapshot::empty(), |root, _| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/below"), "content").unwrap();
        fs::write(root.join("file"), "right").unwrap();
    })
}

fn folder(store: &Store, snapshot: &Snapshot) -> PathBuf {
    store.state_dir().join("layers").join(snapshot.layers()[0].to_string())
}

fn aside(store: &Store) -> usize {
    fs::read_dir(store.state_dir().join("quarantine")).map_or(0, Iterator::count)
}

fn reopened(f: Fixture) -> (Arc<Store>, tempfile::TempDir) {
    let state = f.store.state_dir().to_owned();
    drop(f.store);
    (Store::open(&state, Options::default()).unwrap(), f.dir)
}

/// Changes one byte of the file, which keeps its length and its time.
fn flip(path: &Path, at: u64) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let byte = fs::read(path).unwrap()[usize::try_from(at).unwrap()];
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte ^ 0x20]).unwrap();
    file.set_modified(modified).unwrap();
}

type Damage = (&'static str, fn(&Path));

/// What can happen to the folder of a layer.
const LAYER_DAMAGE: [Damage; 9] = [
    ("a flipped bit", |layer| flip(&layer.join("fs/d/below"), 2)),
    ("a truncated file", |layer| fs::write(layer.join("fs/file"), "").unwrap()),
    ("a missing file at its root", |layer| fs::remove_file(layer.join("fs/file")).unwrap()),
    ("a missing file further down", |layer| fs::remove_file(layer.join("fs/d/below")).unwrap()),
    ("a file too many", |layer| fs::write(layer.join("fs/d/more"), "").unwrap()),
    ("no files", |layer| fs::remove_dir_all(layer.join("fs")).unwrap()),
    ("a truncated record", |layer| fs::write(layer.join("meta.json"), "{\"version\":1,\"entr").unwrap()),
    ("an empty record", |layer| fs::write(layer.join("meta.json"), "").unwrap()),
    ("a folder as record", |layer| {
        fs::remove_file(layer.join("meta.json")).unwrap();
        fs::create_dir(layer.join("meta.json")).unwrap();
    }),
];

#[test]
fn verification_sets_damaged_layers_aside() {
    for (name, damage) in LAYER_DAMAGE {
        let f = fixture();
        let snapshot = layer(&f.store);
        assert_eq!((f.store.verify().unwrap().layers, f.store.warnings()), (1, vec![]));
        damage(&folder(&f.store, &snapshot));
        let found = f.store.verify().unwrap();
        assert_eq!((found.layers, found.problems.len(), aside(&f.store)), (0, 1, 1), "{name}: {found:?}");
        assert!(found.problems[0].contains(&snapshot.layers()[0].to_string()), "{found:?}");
        assert!(!f.store.touch_if_present(&snapshot) && !f.store.contains(&snapshot) && f.store.take_lost(), "{name}");
        assert!(f.store.warnings()[0].contains("was set aside"), "{name}: {:?}", f.store.warnings());
        // The same again is the same layer, whole.
        assert_eq!(layer(&f.store), snapshot, "{name}");
        assert!(f.store.touch_if_present(&snapshot) && f.store.verify().unwrap().problems.is_empty(), "{name}");
        let (store, _dir) = reopened(f);
        assert!(store.touch_if_present(&snapshot), "{name}");
        assert_eq!(aside(&store), 0, "{name}");
    }
}

/// Waits until the store has looked at a layer again, which it does not do each time.
fn has_no_more(store: &Store, snapshot: &Snapshot) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while store.touch_if_present(snapshot) && Instant::now() < until {
        std::thread::yield_now();
    }
    !store.touch_if_present(snapshot)
}

#[test]
fn a_hit_sees_what_is_missing() {
    let visible = ["a missing file at its root", "no files"];
    for (name, damage) in LAYER_DAMAGE.iter().filter(|(name, _)| visible.contains(name)) {
        let f = fixture();
        let snapshot = layer(&f.store);
        assert!(f.store.touch_if_present(&snapshot));
        damage(&folder(&f.store, &snapshot));
        assert!(has_no_more(&f.store, &snapshot), "{name}");
        assert_eq!((aside(&f.store), layer(&f.store)), (1, snapshot), "{name}");
    }
    let f = fixture();
    let snapshot = layer(&f.store);
    fs::remove_dir_all(folder(&f.store, &snapshot)).unwrap();
    assert!(has_no_more(&f.store, &snapshot));
    assert_eq!(layer(&f.store), snapshot);
}

#[test]
fn a_record_that_cannot_be_read_is_no_layer_after_the_next_start() {
    for (name, damage) in LAYER_DAMAGE.iter().filter(|(name, _)| name.contains("record")) {
        let f = fixture();
        let snapshot = layer(&f.store);
        damage(&folder(&f.store, &snapshot));
        let (store, _dir) = reopened(f);
        assert!(!store.touch_if_present(&snapshot), "{name}");
        assert_eq!(layer(&store), snapshot, "{name}");
        let state = store.state_dir().to_owned();
        drop(store);
        assert!(
            Store::open(&state, Options::default()).unwrap().touch_if_present(&snapshot),
            "{name}: it was not replaced"
        );
    }
}

#[test]
fn a_state_folder_on_another_disk_is_compared_once() {
    let f = fixture();
    let (whole, damaged) = (
        layer(&f.store),
        change(&f.store, &Snapshot::empty(), |root, _| {
            fs::write(root.join("other"), "content").unwrap();
        }),
    );
    // A copy has other inodes, as after a restore.
    for snapshot in [&whole, &damaged] {
        let files = folder(&f.store, snapshot).join("fs");
        let copied = std::process::Command::new("cp").arg("-a").arg(&files).arg(files.with_extension("new")).status();
        assert!(copied.unwrap().success());
        fs::rename(&files, files.with_extension("old")).unwrap();
        fs::rename(files.with_extension("new"), &files).unwrap();
        fs::remove_dir_all(files.with_extension("old")).unwrap();
    }
    flip(&folder(&f.store, &damaged).join("fs/other"), 0);
    let record = folder(&f.store, &whole).join("meta.json");
    let before = fs::read(&record).unwrap();
    let (store, _dir) = reopened(f);
    assert!(store.touch_if_present(&whole) && !store.touch_if_present(&damaged));
    assert_ne!(fs::read(&record).unwrap(), before, "it is compared each time");
    assert_eq!(store.verify().unwrap().problems, [""; 0]);
}

#[test]
fn damaged_blobs_are_no_blobs() {
    type BlobDamage = (&'static str, bool, fn(&Path));
    let damage: [BlobDamage; 4] = [
        ("truncated", true, |blob| fs::File::options().write(true).open(blob).unwrap().set_len(10).unwrap()),
        ("empty", true, |blob| fs::write(blob, "").unwrap()),
        ("a folder", true, |blob| {
            fs::remove_file(blob).unwrap();
            fs::create_dir(blob).unwrap();
        }),
        ("a flipped bit", false, |blob| flip(blob, 5)),
    ];
    for (name, seen_by_a_hit, damage) in damage {
        for verify in [false, true] {
            let f = fixture();
            let snapshot = layer(&f.store);
            let (blob, path) = f.store.pack(&snapshot.layers()[0], Compression::Gzip).unwrap();
            assert_eq!(f.store.blob(&blob.digest), Some(path.clone()));
            damage(&path);
            if verify {
                let found = f.store.verify().unwrap();
                assert_eq!(found.problems.len(), 1, "{name}: {found:?}");
            }
            if verify || seen_by_a_hit {
                assert_eq!(f.store.blob(&blob.digest), None, "{name}");
                assert_eq!(aside(&f.store), 1, "{name}");
                assert_eq!(f.store.pack(&snapshot.layers()[0], Compression::Gzip).unwrap().0, blob, "{name}");
            }
            if verify {
                assert_eq!(f.store.verify().unwrap().problems, [""; 0], "{name}");
            }
        }
    }
}

#[test]
fn a_blob_of_unknown_size_is_compared_once() {
    let f = fixture();
    let snapshot = layer(&f.store);
    let (blob, path) = f.store.pack(&snapshot.layers()[0], Compression::Gzip).unwrap();
    let index = f.store.state_dir().join("index.sqlite");
    let (state, dir) = (f.store.state_dir().to_owned(), f.dir);
    drop(f.store);
    fs::remove_file(&index).unwrap();
    flip(&path, 5);
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!(store.blob(&blob.digest), None);
    let (again, path) = store.pack(&snapshot.layers()[0], Compression::Gzip).unwrap();
    assert_eq!((again, store.blob(&blob.digest)), (blob, Some(path)));
    drop(dir);
}

fn key(n: u64) -> Digest {
    Digest::of_bytes(&n.to_le_bytes())
}

fn large(n: u64) -> Vec<u8> {
    format!("large {n} ").repeat(20_000).into_bytes()
}

/// An index with small and large entries, in its tables and not in its log.
fn filled() -> (PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = Store::open(&state, Options::default()).unwrap();
    for n in 0..2_000 {
        store.put(Table::Ops, &key(n), format!("value {n:06}").as_bytes(), None).unwrap();
    }
    for n in 0..4 {
        store.put(Table::Files, &key(n), &large(n), None).unwrap();
    }
    drop(store);
    (state, dir)
}

/// How many of the entries are there; none is another one.
fn count(store: &Store) -> usize {
    let small = (0..2_000).filter(|n| match store.get(Table::Ops, &key(*n)) {
        Some(value) => {
            assert_eq!(String::from_utf8_lossy(&value), format!("value {n:06}"));
            true
        }
        None => false,
    });
    let large = (0..4).filter(|n| match store.get(Table::Files, &key(*n)) {
        Some(value) => {
            assert!(value == large(*n), "a large value is another one");
            true
        }
        None => false,
    });
    small.count() + large.count()
}

#[test]
fn a_damaged_index_is_set_aside() {
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    type IndexDamage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damage: [IndexDamage<'_>; 7] = [
        ("garbage", &|path| fs::write(path, b"no database at all, certainly not one").unwrap()),
        ("long garbage", &|path| fs::write(path, "garbage ".repeat(10_000)).unwrap()),
        ("a folder", &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            fs::write(path.join("something"), "").unwrap();
        }),
        ("another version", &|path| {
            rusqlite::Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        }),
        ("another schema", &|path| {
            let other = "DROP TABLE entries; CREATE TABLE entries (x)";
            rusqlite::Connection::open(path).unwrap().execute_batch(other).unwrap();
        }),
        ("truncated to its first page", &|path| {
            fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
        }),
        ("a folder as its log", &|path| fs::create_dir(path.with_extension("sqlite-wal")).unwrap()),
    ];
    for (name, damage) in damage {
        let (state, _dir) = filled();
        let index = state.join("index.sqlite");
        assert!(size(&index) > 100_000);
        damage(&index);
        let store = Store::open(&state, Options::default()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let notes = store.warnings();
        assert!(notes.len() == 1 && notes[0].contains("index.sqlite.damaged"), "{name}: {notes:?}");
        assert!(state.join("index.sqlite.damaged").exists(), "{name}");
        assert_eq!(count(&store), 0, "{name}");
        store.put(Table::Ops, &key(0), b"value 000000", None).unwrap();
        drop(store);
        let store = Store::open(&state, Options::default()).unwrap();
        assert_eq!((count(&store), store.warnings().len()), (1, 0), "{name}");
        drop(store);
        Store::remove(&state).unwrap();
        assert!(!state.exists(), "{name}");
    }
}

#[test]
fn an_empty_index_is_an_empty_index() {
    let (state, _dir) = filled();
    fs::write(state.join("index.sqlite"), "").unwrap();
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!((count(&store), store.warnings().len()), (0, 0));
}

#[test]
fn a_truncated_or_flipped_index_never_gives_something_else() {
    let (state, _dir) = filled();
    let index = state.join("index.sqlite");
    let whole = fs::read(&index).unwrap();
    let mut found = 0;
    // Somewhere in its header, its pages and the text of its values.
    for step in 0..60 {
        let mut bytes = whole.clone();
        let at = 16 + step * (whole.len() - 32) / 60;
        match step % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1,
            _ => bytes[at..(at + 512).min(whole.len())].fill(0xaa),
        }
        fs::write(&index, &bytes).unwrap();
        let store = Store::open(&state, Options::default()).unwrap_or_else(|e| panic!("{step}: {e:?}"));
        let there = count(&store);
        found += usize::from(there == 2_004);
        // It can be written to, whatever it is, and its entries are known until the engine ends.
        store.put(Table::Files, &key(77), &large(77), None).unwrap_or_else(|e| panic!("{step}: {e:?}"));
        assert!(store.get(Table::Files, &key(77)).is_some_and(|value| value == large(77)), "{step}");
        store.verify().unwrap();
        drop(store);
        // What was found is gone the next time.
        let store = Store::open(&state, Options::default()).unwrap();
        count(&store);
        assert_eq!(store.verify().unwrap().problems, [""; 0], "{step}");
        drop(store);
    }
    assert!(found < 55, "nothing was damaged");
}

#[test]
fn verification_takes_damaged_entries_out() {
    let (state, _dir) = filled();
    let index = state.join("index.sqlite");
    let mut bytes = fs::read(&index).unwrap();
    let at = bytes.windows(12).position(|text| text == b"value 000777").unwrap();
    bytes[at + 6] = b'9';
    let at = bytes.windows(16).rposition(|text| text == b"large 2 large 2 ").unwrap();
    bytes[at] = b'L';
    fs::write(&index, bytes).unwrap();
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!(count(&store), 2_002);
    assert_eq!(store.verify().unwrap().problems.len(), 2);
    assert_eq!((count(&store), store.verify().unwrap().problems.len()), (2_002, 0));
}

#[test]
fn an_index_of_the_first_version_is_taken_over() {
    let (state, _dir) = filled();
    let connection = rusqlite::Connection::open(state.join("index.sqlite")).unwrap();
    connection.execute_batch("ALTER TABLE entries DROP COLUMN sum; PRAGMA user_version = 1;").unwrap();
    drop(connection);
    let store = Store::open(&state, Options::default()).unwrap();
    assert_eq!((count(&store), store.warnings().len()), (2_004, 0));
}

#[test]
fn the_record_of_a_volume_that_cannot_be_read_is_written_anew() {
    let f = fixture();
    let volume = f.store.volume("named").unwrap();
    fs::write(volume.join("kept"), "kept").unwrap();
    let state = f.store.state_dir().to_owned();
    drop(f.store);
    let connection = rusqlite::Connection::open(state.join("index.sqlite")).unwrap();
    assert_eq!(connection.execute("UPDATE entries SET value = x'7b22' WHERE space = 23", []).unwrap(), 1);
    drop(connection);
    let store = Store::open(&state, Options::default()).unwrap();
    let described =
        || store.records(i64::MAX).unwrap().into_iter().map(|record| record.description).collect::<Vec<_>>();
    assert_ne!(described(), ["named"]);
    assert_eq!(fs::read_to_string(store.volume("named").unwrap().join("kept")).unwrap(), "kept");
    assert_eq!(described(), ["named"]);
    assert_eq!(store.verify().unwrap().problems, [""; 0]);
}
