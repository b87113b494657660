//! Files named from inside a container: whatever links are there, nothing outside of its root is read or written.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rondel_events::Emitter;
use rondel_hostlink::{ContainerRoot, HostLink};
use rondel_model::Snapshot;
use rondel_model::op::Filter;
use rondel_ports::host::HostFiles;
use rondel_ports::snapshots::Snapshots;
use rondel_store::{Options, Store};
use rustix::fs::{Mode, OFlags};

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    link: HostLink,
    inside: ContainerRoot,
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// `outside` holds what must stay unseen; `root` is the container's, with the same names.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state"), Options::default()).unwrap();
    let link = HostLink::new(store.clone(), store.clone(), store.clone());
    let outside = dir.path().join("outside");
    let root = dir.path().join("root");
    // Where an absolute link to `outside` leads inside the container.
    let twin = root.join(outside.strip_prefix("/").unwrap());
    for (place, text) in [(&outside, "outside"), (&twin, "inside")] {
        fs::create_dir_all(place.join("deep")).unwrap();
        fs::write(place.join("file"), text).unwrap();
        fs::write(place.join("deep/file"), text).unwrap();
    }
    fs::write(outside.join("only-outside"), "outside").unwrap();
    fs::create_dir(root.join("links")).unwrap();
    symlink(&outside, root.join("links/dir")).unwrap();
    symlink(outside.join("file"), root.join("links/file")).unwrap();
    symlink("file", root.join("links/again")).unwrap();
    symlink(format!("{}/outside", "../".repeat(30) + dir.path().to_str().unwrap()), root.join("links/up")).unwrap();
    symlink("/", root.join("links/top")).unwrap();
    symlink("round", root.join("links/round")).unwrap();
    let inside = link.enter(open(&root));
    Fixture { dir, store, link, inside }
}

impl Fixture {
    fn path(&self, path: &str) -> PathBuf {
        self.inside.path().join(path)
    }

    fn text(&self, snapshot: &Snapshot, path: &str) -> String {
        let tree = Snapshots::view(&*self.store, snapshot).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(tree.root.as_fd(), path, flags, Mode::empty()).unwrap();
        let mut text = String::new();
        fs::File::from(file).read_to_string(&mut text).unwrap();
        text
    }

    fn outside(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path().join("outside"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn some_tree(&self) -> Snapshot {
        let tree = self.store.prepare(&Snapshot::empty()).unwrap();
        fs::write(tree.upper.join("new"), "new").unwrap();
        self.store.commit(tree).unwrap()
    }
}

#[test]
fn what_is_read_is_inside() {
    let f = fixture();
    let all = Filter::default();
    for path in ["links/dir", "links/up", &format!("links/top{}", f.dir.path().join("outside").display())] {
        let found = f.link.import(&f.path(path), &all, &Emitter::nowhere()).unwrap();
        assert_eq!(f.text(&found, "file"), "inside", "{path}");
        assert_eq!(f.text(&found, "deep/file"), "inside", "{path}");
    }
    for path in ["links/file", "links/again", "links/dir/file", "links/up/deep/file"] {
        let found = f.link.import_file(&f.path(path), &Emitter::nowhere()).unwrap();
        assert_eq!(f.text(&found, Path::new(path).file_name().unwrap().to_str().unwrap()), "inside", "{path}");
        let mut text = String::new();
        f.link.open(&f.path(path)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside", "{path}");
    }
    for path in ["links/dir/only-outside", "links/up/only-outside", "links/round"] {
        assert!(f.link.import_file(&f.path(path), &Emitter::nowhere()).is_err(), "{path}");
        assert!(f.link.open(&f.path(path)).is_err(), "{path}");
    }
    let error = f.link.import(&f.path("links/none"), &all, &Emitter::nowhere()).unwrap_err().to_string();
    assert_eq!(error, "/links/none: no such file or directory");
}

#[test]
fn what_is_found_is_inside() {
    let f = fixture();
    assert_eq!(f.link.find_up(&f.path("links/dir/deep"), "file"), Some(f.path("links/dir/deep/file")));
    assert_eq!(f.link.find_up(&f.path("links/dir/deep"), "only-outside"), None);
    assert_eq!(f.link.find_up(&f.path("links"), "root"), None, "what lies above the root is not there");
    assert_eq!(f.link.find_up(&f.path("links"), "links"), Some(f.path("links")));
}

#[test]
fn what_is_written_is_inside() {
    let f = fixture();
    let before = f.outside();
    let snapshot = f.some_tree();
    let tree = Snapshots::view(&*f.store, &snapshot).unwrap();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(tree.root.as_fd(), "new", flags, Mode::empty()).unwrap();
    for (wipe, path) in
        [(false, "links/dir"), (false, "links/up/made/here"), (false, "fresh"), (true, "links/dir/deep")]
    {
        f.link.export(tree.root.as_fd(), &f.path(path), wipe, &Emitter::nowhere()).unwrap();
        f.link.export_file(file.as_fd(), &f.path(&format!("{path}/one")), &Emitter::nowhere()).unwrap();
        let mut text = String::new();
        f.link.open(&f.path(&format!("{path}/one"))).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "new");
    }
    assert_eq!(f.outside(), before);
    assert!(f.dir.path().join("outside/deep/file").exists());
    assert!(
        f.link
            .export_file(file.as_fd(), &f.path("links/dir"), &Emitter::nowhere())
            .unwrap_err()
            .to_string()
            .contains("it is a directory")
    );
    assert!(
        f.link
            .export(tree.root.as_fd(), &f.path("links/file"), false, &Emitter::nowhere())
            .unwrap_err()
            .to_string()
            .contains("not a directory")
    );
}

#[test]
fn gitignore_files_outside_say_nothing() {
    let f = fixture();
    let outside = f.dir.path().join("outside");
    fs::create_dir(outside.join(".git")).unwrap();
    fs::write(outside.join(".gitignore"), "file\n").unwrap();
    let filter = Filter { gitignore: true, ..Filter::default() };
    let found = f.link.import(&f.path("links/dir/deep"), &filter, &Emitter::nowhere()).unwrap();
    assert_eq!(f.text(&found, "file"), "inside");
}

#[test]
fn links_that_are_swapped_meanwhile_lead_nowhere_else() {
    let f = fixture();
    let root = f.dir.path().join("root");
    let outside = f.dir.path().join("outside");
    fs::create_dir(root.join("flip")).unwrap();
    fs::write(root.join("flip/file"), "inside").unwrap();
    symlink(&outside, root.join("other")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, root.join("flip"), cwd, root.join("other"), flags).unwrap();
            }
        });
        for _ in 0..300 {
            if let Ok(found) = f.link.import_file(&f.path("flip/file"), &Emitter::nowhere()) {
                assert_eq!(f.text(&found, "file"), "inside");
            }
            if let Ok(found) = f.link.import(&f.path("flip"), &Filter::default(), &Emitter::nowhere()) {
                assert_eq!(f.text(&found, "file"), "inside");
            }
            assert!(f.link.import_file(&f.path("flip/only-outside"), &Emitter::nowhere()).is_err());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_container_that_has_ended_is_named() {
    let Fixture { link, inside, .. } = fixture();
    let path = inside.path().join("links/file");
    drop(inside);
    assert!(link.import_file(&path, &Emitter::nowhere()).unwrap_err().to_string().contains("`/links/file` has ended"));
    assert!(link.find_up(&path, "file").is_none());
    assert!(!path.exists() && !Path::new(rondel_ports::host::CONTAINERS).exists());
}
