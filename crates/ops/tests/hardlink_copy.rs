//! Copies whose files are those of the source, and when they must not be.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::op::{Edit, Filter, FsOp, Owner};
use rondel_model::{AbsPath, Fs, Snapshot};
use rondel_ops::Options;
use rondel_ports::snapshots::{Layers, Snapshots, Tree, WorkTree};
use rondel_store::Store;
use support::*;

/// A store whose layers may not be hard-linked.
struct WithoutLinks(Arc<Store>);

impl Snapshots for WithoutLinks {
    fn view(&self, snapshot: &Snapshot) -> Result<Tree> {
        self.0.view(snapshot)
    }
    fn prepare(&self, snapshot: &Snapshot) -> Result<WorkTree> {
        self.0.prepare(snapshot)
    }
    fn commit(&self, tree: WorkTree) -> Result<Snapshot> {
        self.0.commit(tree)
    }
    fn abort(&self, tree: WorkTree) {
        self.0.abort(tree);
    }
    fn touch_if_present(&self, snapshot: &Snapshot) -> bool {
        self.0.touch_if_present(snapshot)
    }
    fn contains(&self, snapshot: &Snapshot) -> bool {
        self.0.contains(snapshot)
    }
}

impl Layers for WithoutLinks {}

/// The number that `path` has in the layer that gave it, and its number of names.
async fn file(w: &World, fs: &Fs, path: &str) -> (u64, u64) {
    let snapshot = w.ops.tree(&w.cx, fs).await.unwrap();
    let tree = w.store.view(&snapshot).unwrap();
    let meta = std::fs::metadata(format!("/proc/self/fd/{}{path}", tree.root.as_raw_fd())).unwrap();
    (meta.ino(), meta.nlink())
}

fn verified(w: &World) {
    assert_eq!(w.store.verify().unwrap().problems, [""; 0]);
}

/// The layer on top, made where nothing can be link_dir.
async fn copied_alone(fs: impl Fn(&World) -> Fs) -> Snapshot {
    let w = world_on(Options::default(), |store| Arc::new(WithoutLinks(store)));
    let fs = fs(&w);
    w.ops.tree(&w.cx, &fs).await.unwrap()
}

#[tokio::test]
async fn what_stays_as_it_is_is_not_copied() {
    let w = world();
    let source = w.files(&[("/in/a", "1"), ("/in/sub/b", "2"), ("/in/l -> a", ""), ("/out", "3")]);
    let base = w.files(&[("/to/sub/old", "o"), ("/to/a", "was there"), ("/to/sub/b/", "")]);
    let (a, b) = (file(&w, &source, "/in/a").await.0, file(&w, &source, "/in/sub/b").await.0);
    let copied = Fs::from(copy(&base, &source, "/in", "/to"));
    assert_eq!(file(&w, &copied, "/to/a").await, (a, 2));
    assert_eq!(file(&w, &copied, "/to/sub/b").await, (b, 2));
    let seen = ["to 755 0:0 <Directory>", "to/a 644 0:0 1", "to/l 777 0:0 <Symlink>", "to/sub 755 0:0 <Directory>"];
    let seen: Vec<_> = seen.into_iter().chain(["to/sub/b 644 0:0 2", "to/sub/old 644 0:0 o"]).collect();
    assert_eq!(w.list(&copied).await, seen);

    let select = Fs::new(FsOp::Select(place(&source, "/in")));
    assert_eq!(file(&w, &select, "/sub/b").await, (b, 3));
    let filter = Filter { exclude: vec!["a".into()], ..Filter::default() };
    let filtered = Fs::new(FsOp::Filter { source: place(&source, "/in"), filter: filter.into() });
    assert_eq!((file(&w, &filtered, "/sub/b").await.0, w.names(&filtered).await.len()), (b, 3));
    let diff = Fs::new(FsOp::Diff { lower: place(&Fs::scratch(), "/"), upper: place(&source, "/in/sub") });
    assert_eq!(file(&w, &diff, "/b").await.0, b);
    let mut single = copy(&base, &source, "/out", "/to/a");
    single.source_is_file = true;
    assert_eq!(file(&w, &Fs::from(single), "/to/a").await.0, file(&w, &source, "/out").await.0);
    let isolated = Fs::new(FsOp::Isolate(place(&source, "/in/sub/b")));
    assert_eq!(file(&w, &isolated, "/item").await.0, b);

    // What is written to a copy is not written to what it was made of.
    let tree = w.store.prepare(&w.ops.tree(&w.cx, &copied).await.unwrap()).unwrap();
    std::fs::write(format!("/proc/self/fd/{}/to/a", tree.root.as_raw_fd()), "changed").unwrap();
    w.store.commit(tree).unwrap();
    assert_eq!(w.ops.read(&w.cx, &place(&source, "/in/a")).await.unwrap(), *b"1");
    verified(&w);
}

#[tokio::test]
async fn what_changes_is_copied() {
    let w = world();
    let source = w.files(&[("/a", "1")]);
    let theirs = edit(&source, Edit::Chown { path: AbsPath::new("/a"), owner: Owner("7:8".into()) });
    let mut op = copy(&Fs::scratch(), &theirs, "/", "/to");
    op.owner = Some(Owner("0:0".into()));
    assert_eq!(w.list(&Fs::from(op)).await, ["to 755 0:0 <Directory>", "to/a 644 0:0 1"]);
    let mut op = copy(&Fs::scratch(), &source, "/", "/to");
    op.permissions = Some(0o600);
    assert_eq!(w.list(&Fs::from(op)).await, ["to 600 0:0 <Directory>", "to/a 600 0:0 1"]);
    assert_eq!(
        (w.list(&theirs).await, w.list(&source).await),
        (vec!["a 644 7:8 1".into()], vec!["a 644 0:0 1".into()])
    );
    verified(&w);
}

#[tokio::test]
async fn no_tree_has_a_file_twice() {
    let w = world();
    let source = w.files(&[("/a", "1"), ("/b", "2")]);
    let once = |w: &Fs| Fs::from(copy(&Fs::scratch(), w, "/", "/x"));
    let twice = Fs::from(copy(&once(&source), &source, "/", "/y"));
    let (x, y) = (file(&w, &twice, "/x/a").await, file(&w, &twice, "/y/a").await);
    assert_eq!((x.1, y.1), (2, 1));
    assert_ne!(x.0, y.0);
    // Nor by a detour over what was made of the same files, in either order.
    let select = Fs::new(FsOp::Select(place(&twice, "/x")));
    let third = Fs::from(copy(&source, &select, "/", "/z"));
    assert_ne!(file(&w, &third, "/z/a").await.0, file(&w, &third, "/a").await.0);
    // A layer that is there already, with files of what it gets on top of now, is made anew. Who runs on it goes on.
    let link_dir = w.ops.tree(&w.cx, &once(&source)).await.unwrap();
    let running = w.store.view(&link_dir).unwrap();
    let inside = Fs::from(copy(&source, &source, "/", "/x"));
    let own = w.ops.tree(&w.cx, &inside).await.unwrap();
    assert_eq!(own.layers().last(), link_dir.layers().last());
    assert_eq!(std::fs::read(format!("/proc/self/fd/{}/x/b", running.root.as_raw_fd())).unwrap(), *b"2");
    assert_ne!(file(&w, &inside, "/x/a").await.0, file(&w, &inside, "/a").await.0);
    assert_eq!(file(&w, &inside, "/x/a").await.1, 1);
    verified(&w);
}

#[tokio::test]
async fn layers_are_the_same_whether_or_not_files_were_lent() {
    let source = |w: &World| {
        let source = w.files(&[("/d/a", "1"), ("/d/sub/b", "2"), ("/d/l -> a", ""), ("/d/void/", "")]);
        edit(&source, Edit::Timestamps { path: AbsPath::root(), seconds: 1_000_000 })
    };
    let made: [&dyn Fn(&World) -> Fs; 4] = [
        &|w| Fs::from(copy(&w.files(&[("/t/d/a", "old"), ("/t/d/sub", "a file")]), &source(w), "/", "/t")),
        &|w| Fs::from(copy(&w.files(&[("/t/a/x", "a directory")]), &source(w), "/d", "/t")),
        &|w| Fs::new(FsOp::Select(place(&source(w), "/d"))),
        &|w| Fs::new(FsOp::Diff { lower: place(&Fs::scratch(), "/"), upper: place(&source(w), "/") }),
    ];
    for make in made {
        let w = world();
        let link_dir = w.ops.tree(&w.cx, &make(&w)).await.unwrap();
        assert_eq!(link_dir, copied_alone(make).await);
    }
}
