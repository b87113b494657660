//! throwaway
use rondel_ports::host::HostFiles;
#[test]
fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let store = rondel_store::Store::open(&dir.path().join("s"), Default::default()).unwrap();
    let host = dir.path().join("h");
    for d in 0..1000 { let p = host.join(format!("d{}/e{d}", d % 30)); std::fs::create_dir_all(&p).unwrap(); for f in 0..100 { std::fs::write(p.join(format!("file{f}")), format!("{d} {f}")).unwrap(); } }
    let link = rondel_hostlink::HostLink::new(store.clone(), store.clone());
    let filter = rondel_model::op::Filter::default();
    let ex = rondel_model::op::Filter { exclude: vec!["**/node_modules".into(), "target".into(), "*.log".into()], ..Default::default() };
    for n in 0..7 { let t = std::time::Instant::now(); link.import(&host, &filter).unwrap(); eprintln!("import {n}: {:?}", t.elapsed()); }
    for n in 0..4 { let t = std::time::Instant::now(); link.import(&host, &ex).unwrap(); eprintln!("excl {n}: {:?}", t.elapsed()); }
    let link = rondel_hostlink::HostLink::new(store.clone(), store.clone());
    let t = std::time::Instant::now(); link.import(&host, &filter).unwrap(); eprintln!("cold memory: {:?}", t.elapsed());
    use rondel_ports::snapshots::Snapshots;
    for rounds in [1, 30] { let mut s = rondel_model::Snapshot::empty();
    let t = std::time::Instant::now();
    for n in 0..rounds { let w = store.begin(&s).unwrap(); use std::os::fd::AsRawFd; std::fs::write(format!("/proc/self/fd/{}/f{n}", w.root.as_raw_fd()), "x").unwrap(); s = store.commit(w).unwrap(); }
    eprintln!("{rounds} begin+commit: {:?}", t.elapsed()); }
    let t = std::time::Instant::now();
    for n in 0..1000u64 { use rondel_ports::index::{Index, Table}; store.put(Table::Ops, &rondel_digest::of("x", &n), b"value", None).unwrap(); }
    eprintln!("1000 puts: {:?}", t.elapsed());
}
