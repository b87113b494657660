//! Files that patterns pick, over the real store.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rondel_model::op::GatherOp;
use rondel_model::{AbsPath, Fs, ModeChange, Owner};
use support::*;

fn gather(base: &Fs, source: &Fs, paths: &[&str], target: &str) -> GatherOp {
    GatherOp {
        base: base.clone(),
        source: place(source, "/"),
        ignore: Vec::new(),
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        exclude: Vec::new(),
        parents: false,
        unpack: false,
        target: AbsPath::new(target),
        target_is_dir: target.ends_with('/'),
        owner: None,
        keep_owner: false,
        mode: None,
    }
}

fn done(op: GatherOp) -> Fs {
    Fs::from(op)
}

#[tokio::test]
async fn what_is_picked() {
    let w = world();
    let files = [("/d/a.txt", "a"), ("/d/b.md", "b"), ("/d/in/c.txt", "c"), ("/f", "f"), ("/link -> d", "")];
    let source = w.files(&files);
    let check = async |paths: &[&str], target: &str, change: &dyn Fn(&mut GatherOp), want: &[&str]| {
        let mut op = gather(&Fs::scratch(), &source, paths, target);
        change(&mut op);
        let names = w.names(&done(op)).await;
        let names: Vec<&str> = names.iter().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(names, want, "{paths:?} {target}");
    };
    check(&["f"], "/x", &|_| {}, &["x"]).await;
    check(&["f"], "/x/", &|_| {}, &["x", "x/f"]).await;
    check(&["d"], "/x", &|_| {}, &["x", "x/a.txt", "x/b.md", "x/in", "x/in/c.txt"]).await;
    check(&["link/in", "link/a.txt"], "/x/", &|_| {}, &["x", "x/a.txt", "x/c.txt"]).await;
    check(&["d/*.txt"], "/x/", &|_| {}, &["x", "x/a.txt"]).await;
    check(&["**/*.txt"], "/x/", &|_| {}, &["x", "x/a.txt", "x/c.txt"]).await;
    check(&["none*"], "/x/", &|_| {}, &[]).await;
    let exclude = |op: &mut GatherOp| op.exclude = vec!["*.txt".into()];
    check(&["d"], "/x", &exclude, &["x", "x/b.md", "x/in", "x/in/c.txt"]).await;
    let ignore = |op: &mut GatherOp| op.ignore = vec!["d".into(), "!d/in".into()];
    check(&["d"], "/x", &ignore, &["x", "x/in", "x/in/c.txt"]).await;
    check(&["."], "/", &ignore, &["d", "d/in", "d/in/c.txt", "f", "link"]).await;
    let parents = |op: &mut GatherOp| op.parents = true;
    check(&["d/in/c.txt"], "/x/", &parents, &["x", "x/d", "x/d/in", "x/d/in/c.txt"]).await;
    check(&["d/./in/c.txt"], "/x/", &parents, &["x", "x/in", "x/in/c.txt"]).await;
}

#[tokio::test]
async fn owners_and_modes() {
    let w = world();
    let base = w.files(&[("/etc/passwd", "ann:x:7:8::/:/bin/sh\n")]);
    let source = w.files(&[("/d/f", "x")]);
    let mut op = gather(&base, &source, &["d"], "/new/d");
    op.owner = Some(Owner("ann".into()));
    op.mode = Some(ModeChange::parse("u=rwX,go=").unwrap());
    let listed = w.list(&done(op)).await;
    let new: Vec<&str> = listed.iter().filter(|line| line.starts_with("new")).map(String::as_str).collect();
    assert_eq!(new, ["new 755 7:8 <Directory>", "new/d 700 7:8 <Directory>", "new/d/f 600 7:8 x"]);
    let missing = gather(&base, &source, &["d/none"], "/x");
    assert_eq!(
        w.error(&done(missing)).await,
        "cannot copy: \"/d/none\": not found: lstat /d/none: no such file or directory"
    );
}

#[tokio::test]
async fn only_what_is_picked_counts() {
    let w = world();
    let copied = async |files: &[(&str, &str)]| {
        let source = w.files(files);
        w.ops.tree(&w.cx, &source).await.unwrap();
        let before = w.ops.stats().files_done.load(std::sync::atomic::Ordering::Relaxed);
        let tree = w.ops.tree(&w.cx, &done(gather(&Fs::scratch(), &source, &["d"], "/x"))).await.unwrap();
        (tree, w.ops.stats().files_done.load(std::sync::atomic::Ordering::Relaxed) - before)
    };
    let (first, work) = copied(&[("/d/f", "1"), ("/other", "1")]).await;
    assert_eq!(work, 1);
    assert_eq!(copied(&[("/d/f", "1"), ("/other", "2")]).await, (first.clone(), 0));
    let (second, work) = copied(&[("/d/f", "2"), ("/other", "2")]).await;
    assert!(second != first && work == 1);
}
