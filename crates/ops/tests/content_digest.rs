//! Work on a part of a tree is keyed by that part.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rondel_model::op::{Edit, Filter, FsOp, TreePath};
use rondel_model::{AbsPath, Fs, Mount, MountSource, Snapshot};
use support::*;

/// What a consumer makes of a place.
type Consumer = dyn Fn(TreePath) -> Fs;

async fn tree(w: &World, fs: &Fs) -> Snapshot {
    w.ops.tree(&w.cx, fs).await.unwrap()
}

fn consumers(w: &World) -> Vec<(&'static str, Box<Consumer>)> {
    let base = w.files(&[("/etc/hosts", "")]);
    let copied = move |place: TreePath| Fs::from(copy(&base, &place.fs, place.path.as_str(), "/to"));
    let filtered = |place: TreePath| {
        let filter = Filter { exclude: vec!["none".into()], ..Filter::default() };
        Fs::new(FsOp::Filter { source: place, filter: filter.into() })
    };
    let different = |upper: TreePath| Fs::new(FsOp::Diff { lower: place(&Fs::scratch(), "/"), upper });
    vec![
        ("copy", Box::new(copied)),
        ("select", Box::new(TreePath::into_tree)),
        ("isolate", Box::new(|place: TreePath| place.isolated().fs)),
        ("filter", Box::new(filtered)),
        ("diff", Box::new(different)),
    ]
}

#[tokio::test]
async fn a_change_elsewhere_does_not_count() {
    let w = world();
    let first = w.files(&[("/a/f", "1"), ("/a/in/g", "2"), ("/b/x", "1"), ("/twin/f", "1"), ("/twin/in/g", "2")]);
    let later = edit(&first, write("/b/x", "2"));
    // The same files, made in another way.
    let anew = w.files(&[("/b/y", ""), ("/else/in/g", "2"), ("/else/f", "1")]);
    let other = edit(&first, write("/a/in/g", "3"));
    for (name, consumer) in consumers(&w) {
        let result = tree(&w, &consumer(place(&first, "/a"))).await;
        for (fs, path) in [(&later, "/a"), (&first, "/twin"), (&anew, "/else")] {
            assert_eq!(tree(&w, &consumer(place(fs, path))).await, result, "{name} {path}");
        }
        assert_ne!(tree(&w, &consumer(place(&other, "/a"))).await, result, "{name}");
    }
}

#[tokio::test]
async fn a_process_sees_what_is_mounted_and_nothing_else() {
    let w = world();
    let first = w.files(&[("/a/f", "1"), ("/b/x", "1")]);
    let later = edit(&first, write("/b/x", "2"));
    let run = async |mounted: MountSource| {
        let mut exec = exec(&Fs::scratch(), &["true"]);
        exec.mounts = vec![Mount { target: AbsPath::new("/mnt"), source: mounted }];
        w.ops.exec(&w.cx, &exec.into()).await.unwrap();
        w.processes.count()
    };
    let directory = |fs: &Fs| {
        let fs = place(fs, "/a").into_tree();
        MountSource::Directory { fs, path: AbsPath::root(), read_only: false, owner: None }
    };
    let file = |fs: &Fs, path: &str| {
        let TreePath { fs, path } = place(fs, path).isolated();
        MountSource::File { fs, path, owner: None }
    };
    assert_eq!(run(directory(&first)).await, 1);
    assert_eq!(run(directory(&later)).await, 1);
    assert_eq!(run(file(&first, "/a/f")).await, 2);
    assert_eq!(run(file(&later, "/a/f")).await, 2);
    assert_eq!(run(file(&later, "/b/x")).await, 3);
}

#[tokio::test]
async fn what_counts_of_a_part() {
    let w = world();
    let digest = async |fs: &Fs| tree(&w, &place(fs, "/a").into_tree()).await;
    let base = w.files(&[("/a/f", "1"), ("/a/d/", ""), ("/a/l -> f", "")]);
    let plain = digest(&base).await;
    let chown = |path: &str| Edit::Chown { path: AbsPath::new(path), owner: rondel_model::Owner("1:1".into()) };
    let times = |path: &str, seconds| Edit::Timestamps { path: AbsPath::new(path), seconds };
    let private = Edit::WriteFile {
        path: AbsPath::new("/a/f"),
        contents: b"1".as_slice().into(),
        permissions: 0o600,
        owner: None,
    };
    let link = |fs: &Fs, target: &str| {
        let removed =
            Edit::Remove { paths: vec!["l".into()], base: AbsPath::new("/a"), what: rondel_model::op::Removal::Files };
        edit(&edit(fs, removed), Edit::Symlink { target: target.into(), path: AbsPath::new("/a/l") })
    };
    for changed in [
        edit(&base, chown("/a/f")),
        edit(&base, chown("/a")),
        edit(&base, private),
        edit(&base, write("/a/d/new", "")),
        link(&base, "d"),
    ] {
        assert_ne!(digest(&changed).await, plain);
    }
    assert_eq!(digest(&link(&base, "f")).await, plain);
    // Times that the user set are content, also what was copied from there.
    let (early, late) = (edit(&base, times("/a", 1)), edit(&base, times("/a", 2)));
    assert_ne!(digest(&early).await, digest(&late).await);
    let beneath = |fs: &Fs| Fs::from(copy(&Fs::scratch(), fs, "/", "/"));
    assert_ne!(digest(&beneath(&early)).await, digest(&beneath(&late)).await);
}

#[tokio::test]
async fn a_hit_reads_nothing() {
    let w = world();
    let base = w.files(&[("/a/f", "1"), ("/b/x", "1")]);
    let selected = place(&base, "/a").into_tree();
    let done = tree(&w, &selected).await;
    let again = w.restarted();
    // Without the tree of the source nothing can be read.
    let source = tree(&w, &base).await;
    assert_eq!(tree(&again, &place(&Fs::known(source), "/a").into_tree()).await, done);
    assert_eq!(again.ops.stats().files_done.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_part_is_the_same_layer_whatever_it_is_made_of() {
    // Two stores that know nothing of one another, and files that were written at other times.
    let (one, other) = (world(), world());
    let first = one.files(&[("/a/f", "1"), ("/a/in/g", "2"), ("/b", "")]);
    let second = other.files(&[("/c/d/in/g", "2"), ("/c/d/f", "1")]);
    let touched = other.touched(&second, "/c/d/f").await;
    for consumer in [TreePath::into_tree, |place: TreePath| place.isolated().fs] {
        let made = tree(&one, &consumer(place(&first, "/a"))).await;
        assert_eq!(tree(&other, &consumer(place(&touched, "/c/d"))).await, made);
    }
}
