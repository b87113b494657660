//! What processes that failed left, over the real store and a toy that runs a little language.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use rondel_link::stream::Packet;
use rondel_model::exec::{Mount, MountSource, Scope};
use rondel_model::{AbsPath, ExecOp, Fs, Owner};
use rondel_ops::{Failures, OpContext};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A process that changes its root and a mount with an owner, and fails.
fn failing(w: &World, code: &str) -> ExecOp {
    let mut op =
        exec(&w.files(&[("/in", "before ")]), &["append", "/in", "after ", ";", "write", "/mnt/g", "mounted "]);
    op.args.extend([";", "warn", "alas", ";", "exit", code].map(String::from));
    let owner = Some(Owner("0".into()));
    let source = MountSource::Directory { fs: Fs::scratch(), path: AbsPath::root(), read_only: false, owner };
    op.mounts = vec![Mount { target: AbsPath::new("/mnt"), source }];
    op
}

async fn fail(w: &World, cx: &OpContext, op: &ExecOp) -> String {
    w.ops.exec(cx, &Arc::new(op.clone())).await.unwrap_err().to_string()
}

fn asked(w: &World, command: &[&str]) -> (OpContext, Arc<Failures>) {
    let failures = Failures::new(command.iter().map(|&word| word.to_owned()).collect());
    (OpContext { failures: Some(failures.clone()), ..w.cx.clone() }, failures)
}

#[tokio::test]
async fn a_person_sees_what_a_process_left() {
    let w = world();
    let (cx, failures) = asked(&w, &["cat", "/in", ";", "cat", "/mnt/g"]);
    let asking = failures.begin();
    assert!(fail(&w, &cx, &failing(&w, "3")).await.ends_with("exit code: 3"));
    let (left, more) = asking.failed();
    assert_eq!((left.len(), more), (1, 0));
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(&Packet::Size { columns: 80, rows: 24 }.bytes()).await.unwrap();
    w.ops.show_failed_exec(&failures, left.into_iter().next().unwrap(), Box::new(far)).await.unwrap();
    let mut shown = String::new();
    near.read_to_string(&mut shown).await.unwrap();
    assert!(shown.contains("exit code: 3\r\nalas\r\n"), "{shown}");
    assert!(w.events.logged().ends_with("before after mounted "), "{}", w.events.logged());
    // It failed, and nothing of it is remembered.
    let before = w.processes.count();
    fail(&w, &w.cx, &failing(&w, "3")).await;
    assert_eq!(w.processes.count(), before + 1);
}

#[tokio::test]
async fn each_failure_once_and_not_too_many() {
    let w = world();
    let (cx, failures) = asked(&w, &["true"]);
    let asking = failures.begin();
    for code in ["3", "3", "4"] {
        fail(&w, &cx, &failing(&w, code)).await;
    }
    // The code of a module is not shown, and neither is what nobody asked about.
    let scope =
        Some(Scope { view: rondel_version::ENGINE, module: Some(rondel_digest::Digest::of_bytes(b"m")), record: None });
    let own = ExecOp { scope, salt: Some("own".into()), ..exec(&Fs::scratch(), &["exit", "5"]) };
    fail(&w, &cx, &own).await;
    fail(&w, &w.cx, &failing(&w, "6")).await;
    assert_eq!(asking.failed().0.len(), 2);
    for code in 1..=10 {
        fail(&w, &cx, &failing(&w, &code.to_string())).await;
    }
    let (left, more) = asking.failed();
    assert_eq!((left.len(), more), (8, 2));
    // A failure is forgotten with the last request that was under way.
    fail(&w, &cx, &failing(&w, "3")).await;
    drop(asking);
    fail(&w, &cx, &failing(&w, "4")).await;
    assert!(failures.begin().failed().0.is_empty());
}
