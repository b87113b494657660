//! One suite for every index, and a writer that is killed.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rondel_digest::Digest;
use rondel_ports::index::{Index, Table};
use rondel_store::memory::MemoryIndex;
use rondel_store::{Options, Store};

fn key(n: u64) -> Digest {
    rondel_digest::of("test", &n)
}

fn all(index: &dyn Index, table: Table) -> Vec<(Digest, Vec<u8>)> {
    let mut found = Vec::new();
    index.each(table, &mut |key, value| found.push((key, value.to_vec()))).unwrap();
    found.sort();
    found
}

fn check_index(index: Arc<dyn Index>) {
    assert_eq!(index.get(Table::Ops, &key(1)), None);
    index.put(Table::Ops, &key(1), b"one", None).unwrap();
    index.put(Table::Calls, &key(1), b"other table", None).unwrap();
    assert_eq!(index.get(Table::Ops, &key(1)).as_deref(), Some(b"one".as_slice()));
    index.put(Table::Ops, &key(1), b"uno", None).unwrap();
    assert_eq!(index.get(Table::Ops, &key(1)).as_deref(), Some(b"uno".as_slice()));
    assert_eq!(all(&*index, Table::Ops), [(key(1), b"uno".to_vec())]);
    index.remove(Table::Ops, &key(1)).unwrap();
    index.remove(Table::Ops, &key(7)).unwrap();
    assert_eq!(index.get(Table::Ops, &key(1)), None);
    assert_eq!(index.get(Table::Calls, &key(1)).as_deref(), Some(b"other table".as_slice()));

    index.put(Table::Facts, &key(2), b"gone at once", Some(Duration::ZERO)).unwrap();
    index.put(Table::Facts, &key(3), b"stays", Some(Duration::from_secs(3600))).unwrap();
    index.put(Table::Facts, &key(4), b"", None).unwrap();
    assert_eq!(index.get(Table::Facts, &key(2)), None);
    assert_eq!(index.get(Table::Facts, &key(3)).as_deref(), Some(b"stays".as_slice()));
    assert_eq!(index.get(Table::Facts, &key(4)).as_deref(), Some(b"".as_slice()));
    assert_eq!(all(&*index, Table::Facts).len(), 2);

    let large = vec![7u8; 300_000];
    index.put(Table::Files, &key(5), &large, None).unwrap();
    assert_eq!(index.get(Table::Files, &key(5)), Some(large.clone()));
    assert_eq!(all(&*index, Table::Files), [(key(5), large)]);

    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let index = &index;
            scope.spawn(move || {
                for n in 0..50 {
                    index.put(Table::Types, &key(thread * 1000 + n), &n.to_le_bytes(), None).unwrap();
                }
            });
        }
    });
    assert_eq!(all(&*index, Table::Types).len(), 400);
}

#[test]
fn in_memory() {
    check_index(Arc::new(MemoryIndex::new()));
}

#[test]
fn on_disk() {
    check_index(support::fixture().store);
}

#[test]
fn entries_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![1u8; 100_000];
    {
        let store = Store::open(dir.path(), Options::default()).unwrap();
        store.put(Table::Ops, &key(1), b"small", None).unwrap();
        store.put(Table::Files, &key(2), &large, None).unwrap();
        store.put(Table::Ops, &key(3), b"old", Some(Duration::ZERO)).unwrap();
    }
    let store = Store::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.get(Table::Ops, &key(1)).as_deref(), Some(b"small".as_slice()));
    assert_eq!(store.get(Table::Files, &key(2)), Some(large));
    assert_eq!(all(&*store, Table::Ops).len(), 1);
}

#[test]
fn one_engine_per_state_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), Options::default()).unwrap();
    let error = Store::open(dir.path(), Options::default()).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by the process {}", std::process::id())), "{error}");
    drop(first);
    Store::open(dir.path(), Options::default()).unwrap();
}

#[test]
fn an_unknown_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), "rondel-state 99 root").unwrap();
    let error = Store::open(dir.path(), Options::default()).err().unwrap().to_string();
    assert!(error.contains("unknown format `rondel-state 99 root`"), "{error}");
}

const CHILD: &str = "RONDEL_TEST_INDEX_CHILD";

/// Not a test of its own: what the killed process does.
#[test]
fn child_writes_until_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = Store::open(std::path::Path::new(&dir), Options::default()).unwrap();
    let mut told = std::fs::File::create(std::path::Path::new(&dir).join("told")).unwrap();
    for n in 0u64.. {
        store.put(Table::Ops, &key(n), &n.to_le_bytes(), None).unwrap();
        told.write_all(&n.to_le_bytes()).unwrap();
    }
}

#[test]
fn what_was_written_survives_a_kill() {
    for round in 0..5u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_killed"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = dir.path().join("told");
        let enough = 8 * (50 + round * 97);
        while std::fs::metadata(&told).map_or(0, |meta| meta.len()) < enough {
            assert!(child.try_wait().unwrap().is_none(), "the child ended early");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let count = std::fs::metadata(&told).unwrap().len() / 8;
        let store = Store::open(dir.path(), Options::default()).unwrap();
        for n in 0..count {
            assert_eq!(store.get(Table::Ops, &key(n)).as_deref(), Some(n.to_le_bytes().as_slice()), "{n} of {count}");
        }
    }
}
