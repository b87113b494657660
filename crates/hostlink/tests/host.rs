//! Host directories in and out, over a real store.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rondel_events::Emitter;
use rondel_hostlink::HostLink;
use rondel_model::Snapshot;
use rondel_model::op::Filter;
use rondel_ports::host::HostFiles;
use rondel_ports::snapshots::Snapshots;
use rondel_store::{Options, Store};

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    link: HostLink,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state"), Options::default()).unwrap();
    let link = HostLink::new(store.clone(), store.clone(), store.clone());
    fs::create_dir(dir.path().join("host")).unwrap();
    Fixture { dir, store, link }
}

impl Fixture {
    fn host(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.host().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Makes every file old enough to be trusted by its stamp.
    fn flush_trash(&self) {
        let wait = SystemTime::now() + Duration::from_millis(60);
        while SystemTime::now() < wait {
            std::thread::yield_now();
        }
    }

    fn import(&self, filter: &Filter) -> Snapshot {
        self.link.import(&self.host(), filter, &Emitter::nowhere()).unwrap()
    }

    fn names(&self, snapshot: &Snapshot) -> Vec<String> {
        let tree = self.store.view(snapshot).unwrap();
        let mut names = Vec::new();
        list(&at(&tree.root), Path::new(""), &mut names);
        names
    }

    fn imported(&self, include: &[&str], exclude: &[&str], gitignore: bool) -> Vec<String> {
        self.names(&self.import(&filter(include, exclude, gitignore)))
    }
}

fn filter(include: &[&str], exclude: &[&str], gitignore: bool) -> Filter {
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Filter { include: own(include), exclude: own(exclude), gitignore }
}

fn at(root: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/", root.as_fd().as_raw_fd()))
}

fn list(root: &Path, path: &Path, names: &mut Vec<String>) {
    let mut found: Vec<_> = fs::read_dir(root.join(path)).unwrap().map(|e| e.unwrap().file_name()).collect();
    found.sort();
    for name in found {
        let below = path.join(name);
        let is_dir = root.join(&below).symlink_metadata().unwrap().is_dir();
        names.push(format!("{}{}", below.display(), if is_dir { "/" } else { "" }));
        if is_dir {
            list(root, &below, names);
        }
    }
}

#[test]
fn everything_that_is_content_arrives() {
    let f = fixture();
    f.write("a/run.sh", "echo");
    f.write("a/secret", "s");
    fs::set_permissions(f.host().join("a/run.sh"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(f.host().join("a/secret"), Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(f.host().join("a"), Permissions::from_mode(0o750)).unwrap();
    fs::create_dir(f.host().join("empty")).unwrap();
    symlink("../nowhere", f.host().join("a/link")).unwrap();
    symlink("a", f.host().join("dirlink")).unwrap();
    fs::write(f.host().join(OsStr::from_bytes(b"odd\xff\n")), "odd").unwrap();
    let socket = std::os::unix::net::UnixListener::bind(f.host().join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        f.host().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let snapshot = f.import(&Filter::default());
    drop(socket);
    let tree = f.store.view(&snapshot).unwrap();
    let root = at(&tree.root);
    assert_eq!(fs::read_to_string(root.join("a/run.sh")).unwrap(), "echo");
    let mode = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/run.sh"), mode("a/secret")), (0o750, 0o755, 0o640));
    assert_eq!(fs::read_link(root.join("a/link")).unwrap(), Path::new("../nowhere"));
    assert_eq!(fs::read_link(root.join("dirlink")).unwrap(), Path::new("a"));
    assert_eq!(fs::read(root.join(OsStr::from_bytes(b"odd\xff\n"))).unwrap(), b"odd");
    assert!(root.join("empty").is_dir());
    assert!(!root.join("socket").exists() && !root.join("pipe").exists());
    assert_eq!(fs::metadata(root.join("a/secret")).unwrap().uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn equal_content_is_one_snapshot() {
    let f = fixture();
    f.write("src/main.rs", "fn main() {}");
    f.write("readme", "hello");
    let first = f.import(&Filter::default());
    assert_eq!(f.import(&Filter::default()), first);
    let file = File::options().write(true).open(f.host().join("readme")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(f.import(&Filter::default()), first);
    fs::rename(f.host(), f.dir.path().join("moved")).unwrap();
    assert_eq!(f.link.import(&f.dir.path().join("moved"), &Filter::default(), &Emitter::nowhere()).unwrap(), first);
    fs::rename(f.dir.path().join("moved"), f.host()).unwrap();

    f.write("readme", "Hello");
    let second = f.import(&Filter::default());
    assert_ne!(second, first);
    fs::set_permissions(f.host().join("readme"), Permissions::from_mode(0o600)).unwrap();
    let third = f.import(&Filter::default());
    assert!(third != second && third != first);
    fs::remove_file(f.host().join("readme")).unwrap();
    f.write("readme", "hello");
    assert_eq!(f.import(&Filter::default()), first);
    fs::remove_dir_all(f.host()).unwrap();
    fs::create_dir(f.host()).unwrap();
    assert_eq!(f.import(&Filter::default()), Snapshot::empty());
}

/// The access time of a file tells whether it was read.
#[test]
fn unchanged_files_are_not_opened() {
    let f = fixture();
    f.write("a/file", "content");
    f.flush_trash();
    let first = f.import(&Filter::default());
    let stat = f.host().join("a/file").metadata().unwrap();
    let accessed = |path: &Path| path.metadata().unwrap().accessed().unwrap();
    let file = File::options().write(true).open(f.host().join("a/file")).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(stat.modified().unwrap())).unwrap();
    f.flush_trash();
    f.import(&Filter::default());
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(stat.modified().unwrap())).unwrap();
    drop(file);
    f.flush_trash();
    f.import(&Filter::default());
    let before = accessed(&f.host().join("a/file"));
    for _ in 0..3 {
        assert_eq!(f.import(&Filter::default()), first);
    }
    assert_eq!(accessed(&f.host().join("a/file")), before);
    let again = HostLink::new(f.store.clone(), f.store.clone(), f.store.clone());
    assert_eq!(again.import(&f.host(), &Filter::default(), &Emitter::nowhere()).unwrap(), first);
    assert_eq!(accessed(&f.host().join("a/file")), before);
}

#[test]
fn a_rewrite_within_one_tick_is_seen() {
    let f = fixture();
    let mut seen = std::collections::HashSet::new();
    for n in 0..50 {
        fs::write(f.host().join("file"), format!("{n:04}")).unwrap();
        let snapshot = f.import(&Filter::default());
        let tree = f.store.view(&snapshot).unwrap();
        assert_eq!(fs::read_to_string(at(&tree.root).join("file")).unwrap(), format!("{n:04}"));
        assert!(seen.insert(snapshot));
    }
}

/// What goes on in a directory while it is read.
fn meanwhile<T>(work: impl Fn(u32) + Send + Sync, read: impl FnOnce() -> T) -> T {
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                work(round);
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        read.unwrap()
    })
}

#[test]
fn what_is_written_all_the_time_is_taken_as_it_is_read() {
    let f = fixture();
    (0..40).for_each(|n| f.write(&format!("stable{n}"), &"x".repeat(5000)));
    let logs = ["a.log", "b.log", "c.log"].map(|name| f.host().join(name));
    let append = |round: u32| {
        use std::io::Write;
        for log in &logs {
            writeln!(File::options().append(true).create(true).open(log).unwrap(), "{round:0>200}").unwrap();
        }
    };
    append(0);
    let (mut last, mut file) = (0, 0);
    meanwhile(append, || {
        for _ in 0..15 {
            let snapshot = f.import(&Filter::default());
            assert_eq!(f.names(&snapshot).len(), 43);
            let tree = f.store.view(&snapshot).unwrap();
            let log = fs::read_to_string(at(&tree.root).join("a.log")).unwrap();
            assert!(log.len() >= last);
            last = log.len();
            let snapshot = f.link.import_file(&f.host().join("b.log"), &Emitter::nowhere()).unwrap();
            let tree = f.store.view(&snapshot).unwrap();
            let log = fs::read_to_string(at(&tree.root).join("b.log")).unwrap();
            assert!(log.len() >= file);
            file = log.len();
        }
    });
    // What was taken was not remembered as what the file has now.
    let snapshot = f.import(&Filter::default());
    let tree = f.store.view(&snapshot).unwrap();
    for log in &logs {
        assert!(fs::read(log).unwrap() == fs::read(at(&tree.root).join(log.file_name().unwrap())).unwrap());
    }
}

#[test]
fn what_comes_and_goes_is_there_or_not() {
    let f = fixture();
    (0..40).for_each(|n| f.write(&format!("stable{n}"), "x"));
    let churn = |round: u32| {
        let path = f.host().join(format!("fleeting{}", round % 5));
        fs::write(&path, "here").unwrap();
        fs::remove_file(path).unwrap();
        let replaced = f.host().join("replaced");
        fs::write(&replaced, round.to_string()).unwrap();
        fs::rename(&replaced, f.host().join("stable7")).unwrap();
    };
    meanwhile(churn, || {
        for _ in 0..30 {
            let names = f.names(&f.import(&Filter::default()));
            assert_eq!(names.iter().filter(|name| name.starts_with("stable")).count(), 40, "{names:?}");
        }
    });
}

#[test]
fn filters() {
    let f = fixture();
    for path in ["main.go", "lib.go", "internal/foo/bar.go", "internal/foo/x.txt", "vendor/v.go", "docs/a.md"] {
        f.write(path, path);
    }
    let check = |include: &[&str], exclude: &[&str], want: &[&str]| {
        assert_eq!(f.imported(include, exclude, false), want, "{include:?} {exclude:?}");
    };
    check(&["*.go"], &[], &["lib.go", "main.go"]);
    check(&["docs"], &[], &["docs/", "docs/a.md"]);
    check(&["**/*.go"], &["vendor", "internal"], &["lib.go", "main.go"]);
    check(&[], &["**", "!main.go"], &["main.go"]);
    check(&[], &["*", "!internal/foo/bar.go"], &["internal/", "internal/foo/", "internal/foo/bar.go"]);
    check(&[], &["**"], &[]);
    check(&["nothing*"], &[], &[]);
    let error = f.link.import(&f.host(), &filter(&["[x"], &[], false), &Emitter::nowhere()).unwrap_err();
    assert_eq!(error.kind(), rondel_fault::Kind::User);
    assert!(error.to_string().contains("`[x`"), "{error}");
}

/// The access time of a directory tells whether it was listed.
#[test]
fn what_is_left_out_is_not_looked_into() {
    let f = fixture();
    f.write("keep", "1");
    f.write("node_modules/x/y", "2");
    let dir = f.host().join("node_modules");
    let file = File::open(&dir).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    let before = dir.metadata().unwrap().accessed().unwrap();
    assert_eq!(f.imported(&[], &["node_modules"], false), ["keep"]);
    assert_eq!(dir.metadata().unwrap().accessed().unwrap(), before);
}

#[test]
fn gitignore_files_count_inside_a_repository_only() {
    let f = fixture();
    f.write(".gitignore", "*.log\n/build/\nsub/secret\n");
    f.write("sub/.gitignore", "!keep.log\n*.tmp\n");
    for path in ["a.log", "build/x", "sub/a.log", "sub/keep.log", "sub/b.tmp", "sub/secret", "sub/build/y", "ok"] {
        f.write(path, path);
    }
    let all = f.imported(&[], &[], false);
    assert_eq!(f.imported(&[], &[], true), all);
    fs::create_dir(f.host().join(".git")).unwrap();
    let want = [".git/", ".gitignore", "ok", "sub/", "sub/.gitignore", "sub/build/", "sub/build/y", "sub/keep.log"];
    assert_eq!(f.imported(&[], &[], true), want);
    assert_eq!(f.imported(&[], &[], false).len(), all.len() + 1);
    assert_eq!(
        f.imported(&[], &["**/.gitignore", ".git"], true),
        ["ok", "sub/", "sub/build/", "sub/build/y", "sub/keep.log"]
    );
    let sub = f.link.import(&f.host().join("sub"), &filter(&[], &[], true), &Emitter::nowhere()).unwrap();
    assert_eq!(f.names(&sub), [".gitignore", "build/", "build/y", "keep.log"]);
}

#[test]
fn a_single_file() {
    let f = fixture();
    f.write("dir/file.txt", "one");
    let path = f.host().join("dir/file.txt");
    let first = f.link.import_file(&path, &Emitter::nowhere()).unwrap();
    assert_eq!(f.names(&first), ["file.txt"]);
    assert_eq!(f.link.import_file(&path, &Emitter::nowhere()).unwrap(), first);
    f.write("dir/file.txt", "two");
    assert_ne!(f.link.import_file(&path, &Emitter::nowhere()).unwrap(), first);
    symlink("file.txt", f.host().join("dir/alias")).unwrap();
    assert_eq!(f.names(&f.link.import_file(&f.host().join("dir/alias"), &Emitter::nowhere()).unwrap()), ["alias"]);
    let error = f.link.import_file(&f.host().join("dir"), &Emitter::nowhere()).unwrap_err().to_string();
    assert!(error.ends_with("is not a regular file"), "{error}");
    let error = f.link.import_file(&f.host().join("none"), &Emitter::nowhere()).unwrap_err().to_string();
    assert!(error.ends_with("no such file or directory"), "{error}");
    let error = f.link.import(&path, &Filter::default(), &Emitter::nowhere()).unwrap_err().to_string();
    assert!(error.ends_with("is not a directory"), "{error}");
}

/// A tree in the store that holds what `make` makes.
fn made(f: &Fixture, make: impl FnOnce(&Path)) -> Snapshot {
    let tree = f.store.prepare(&Snapshot::empty()).unwrap();
    make(&at(&tree.root));
    f.store.commit(tree).unwrap()
}

fn host_names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    list(path, Path::new(""), &mut names);
    names
}

#[test]
fn exports_merge_or_wipe() {
    let f = fixture();
    let snapshot = made(&f, |root| {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::write(root.join("d/file"), "new").unwrap();
        fs::write(root.join("d/e/run"), "x").unwrap();
        fs::set_permissions(root.join("d/e/run"), Permissions::from_mode(0o4711)).unwrap();
        fs::set_permissions(root.join("d/e"), Permissions::from_mode(0o555)).unwrap();
        symlink("file", root.join("d/link")).unwrap();
    });
    f.write("out/d/file", "old and longer");
    f.write("out/d/extra", "stays");
    f.write("out/other/x", "stays");
    symlink("elsewhere", f.host().join("out/d/link")).unwrap();
    let out = f.host().join("out");
    let tree = f.store.view(&snapshot).unwrap();
    f.link.export(tree.root.as_fd(), &out, false, &Emitter::nowhere()).unwrap();
    assert_eq!(fs::read_to_string(out.join("d/file")).unwrap(), "new");
    assert_eq!(fs::read_link(out.join("d/link")).unwrap(), Path::new("file"));
    assert_eq!(fs::metadata(out.join("d/e/run")).unwrap().mode() & 0o7777, 0o4711);
    assert_eq!(fs::metadata(out.join("d/e")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(host_names(&out), ["d/", "d/e/", "d/e/run", "d/extra", "d/file", "d/link", "other/", "other/x"]);
    f.link.export(tree.root.as_fd(), &out, true, &Emitter::nowhere()).unwrap();
    assert_eq!(host_names(&out), ["d/", "d/e/", "d/e/run", "d/file", "d/link"]);
    f.link.export(tree.root.as_fd(), &f.host().join("made/on/the/way"), false, &Emitter::nowhere()).unwrap();
    assert!(f.host().join("made/on/the/way/d/e/run").exists());
}

#[test]
fn exports_do_not_leave_their_target() {
    let f = fixture();
    let with_dir = made(&f, |root| {
        fs::create_dir(root.join("x")).unwrap();
        fs::write(root.join("x/file"), "evil").unwrap();
    });
    let with_file = made(&f, |root| fs::write(root.join("x"), "file").unwrap());
    let out = f.host().join("out");
    fs::create_dir_all(f.host().join("precious")).unwrap();
    fs::create_dir(&out).unwrap();
    symlink("../precious", out.join("x")).unwrap();
    let export =
        |s: &Snapshot, wipe| f.link.export(f.store.view(s).unwrap().root.as_fd(), &out, wipe, &Emitter::nowhere());
    let error = export(&with_dir, false).unwrap_err();
    assert!(error.to_string().contains("cannot export the directory `x`"), "{error}");
    assert!(host_names(&f.host().join("precious")).is_empty());
    export(&with_dir, true).unwrap();
    assert!(host_names(&f.host().join("precious")).is_empty());
    assert!(out.join("x").symlink_metadata().unwrap().is_dir());
    let error = export(&with_file, false).unwrap_err().to_string();
    assert!(error.contains("cannot export the file `x`") && error.contains("out/x`"), "{error}");
    export(&with_file, true).unwrap();
    assert_eq!(host_names(&out), ["x"]);
    fs::write(f.host().join("plain"), "").unwrap();
    let tree = f.store.view(&with_file).unwrap();
    let error =
        f.link.export(tree.root.as_fd(), &f.host().join("plain"), false, &Emitter::nowhere()).unwrap_err().to_string();
    assert!(error.contains("it is not a directory"), "{error}");
}

#[test]
fn a_file_is_exported_whole() {
    let f = fixture();
    let snapshot = made(&f, |root| {
        fs::write(root.join("bin"), "program").unwrap();
        fs::set_permissions(root.join("bin"), Permissions::from_mode(0o755)).unwrap();
    });
    let tree = f.store.view(&snapshot).unwrap();
    let file = File::open(at(&tree.root).join("bin")).unwrap();
    let to = f.host().join("a/b/program");
    f.link.export_file(file.as_fd(), &to, &Emitter::nowhere()).unwrap();
    f.link.export_file(file.as_fd(), &to, &Emitter::nowhere()).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"program");
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(host_names(&f.host().join("a")), ["b/", "b/program"]);
    let error = f.link.export_file(file.as_fd(), &f.host().join("a"), &Emitter::nowhere()).unwrap_err().to_string();
    assert!(error.contains("it is a directory"), "{error}");
}

#[test]
fn paths_without_links() {
    let f = fixture();
    f.write("a/b/x", "");
    symlink("a/b", f.host().join("link")).unwrap();
    let real = |path: &str| f.link.real(&f.host().join(path)).ok();
    let host = f.host().canonicalize().unwrap();
    assert_eq!((real("link/x"), real("a")), (Some(host.join("a/b/x")), Some(host.join("a"))));
    assert_eq!(real("nowhere"), None);
}

#[test]
fn find_up() {
    let f = fixture();
    f.write("a/b/c/x", "");
    f.write("a/dagger.json", "");
    let found = |start: &str| f.link.find_up(&f.host().join(start), "dagger.json");
    assert_eq!(found("a/b/c"), Some(f.host().join("a/dagger.json")));
    assert_eq!(found("a"), Some(f.host().join("a/dagger.json")));
    assert_eq!(found(""), None);
}

#[test]
fn a_pruned_layer_is_made_again() {
    let f = fixture();
    f.write("x", "1");
    let first = f.import(&Filter::default());
    f.store.prune(&Default::default(), &Default::default()).unwrap();
    assert!(!f.store.touch_if_present(&first));
    let again = f.import(&Filter::default());
    assert!(f.store.touch_if_present(&again));
    assert_eq!(f.names(&again), ["x"]);
}

#[test]
fn nothing_that_changes_is_missed_after_nothing_changed() {
    let f = fixture();
    f.write("dir/file", "one");
    f.write("dir/gone", "x");
    symlink("file", f.host().join("dir/link")).unwrap();
    f.flush_trash();
    let all = filter(&[], &[], false);
    let mut seen = vec![f.import(&all)];
    let changes: [&dyn Fn(&Path); 6] = [
        &|dir| fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap(),
        &|dir| {
            fs::remove_file(dir.join("link")).unwrap();
            symlink("gone", dir.join("link")).unwrap();
        },
        &|dir| fs::create_dir(dir.join("new")).unwrap(),
        &|dir| fs::remove_file(dir.join("gone")).unwrap(),
        &|dir| fs::write(dir.join("file"), "two").unwrap(),
        &|dir| fs::rename(dir.join("file"), dir.join("moved")).unwrap(),
    ];
    for apply in changes {
        for _ in 0..3 {
            assert_eq!(Some(&f.import(&all)), seen.last());
        }
        apply(&f.host().join("dir"));
        f.flush_trash();
        let next = f.import(&all);
        assert!(!seen.contains(&next));
        seen.push(next);
    }
}

/// Everything that counts of a tree.
fn described(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names);
    let describe = |name: &String| {
        let path = root.join(name.trim_end_matches('/'));
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match () {
            () if meta.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            () if meta.is_dir() => format!("{:o}", meta.mode() & 0o7777),
            () => format!("{:o} {}", meta.mode() & 0o7777, fs::read_to_string(&path).unwrap()),
        };
        format!("{name} {content}")
    };
    names.iter().map(describe).collect()
}

/// One of many changes to a tree, chosen by `number`.
fn disturb(host: &Path, number: u64) {
    let mut dirs = vec![host.to_owned()];
    let mut others = Vec::new();
    let mut names = Vec::new();
    list(host, Path::new(""), &mut names);
    for name in names {
        let path = host.join(name.trim_end_matches('/'));
        if name.ends_with('/') { dirs.push(path) } else { others.push(path) }
    }
    let pick = |paths: &[PathBuf]| paths[usize::try_from(number / 16).unwrap() % paths.len()].clone();
    let (dir, other) = (pick(&dirs), pick(&others));
    let new = dir.join(format!("n{}", number % 40));
    match number % 8 {
        0 => fs::write(&other, format!("{number}")).unwrap_or_default(),
        1 if others.len() > 3 => fs::remove_file(&other).unwrap(),
        2 if dir != host => fs::remove_dir_all(&dir).unwrap(),
        3 => fs::create_dir(&new).unwrap_or_default(),
        4 => symlink(format!("to{number}"), &new).unwrap_or_default(),
        5 if dir != host => fs::set_permissions(&dir, Permissions::from_mode(0o700 + (number as u32 / 8) % 8)).unwrap(),
        6 if others.len() > 3 => {
            fs::remove_file(&other).unwrap();
            fs::create_dir(&other).unwrap();
            fs::write(other.join("inside"), "x").unwrap();
        }
        _ if !new.exists() && !new.is_symlink() => fs::write(&new, format!("new {number}")).unwrap(),
        _ => {}
    }
}

#[test]
fn a_small_layer_of_changes_holds_what_a_whole_copy_holds() {
    let f = fixture();
    for number in 0..12 {
        f.write(&format!("d{}/e/f{number}", number % 3), &format!("content {number}"));
    }
    let all = filter(&[], &[], false);
    let mut random = 1_u64;
    let mut small = 0;
    for round in 0..60 {
        let snapshot = f.import(&all);
        small += usize::from(snapshot.layers().len() == 2);
        assert!(snapshot.layers().len() <= 2, "round {round}");
        let tree = f.store.view(&snapshot).unwrap();
        assert_eq!(described(&at(&tree.root)), described(&f.host()), "round {round}");
        if round % 10 == 9 {
            f.flush_trash();
        }
        for _ in 0..1 + round % 3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            disturb(&f.host(), random >> 33);
        }
    }
    assert!(small > 30, "{small} of 60 were small");
    assert_eq!(f.store.verify().unwrap().problems, Vec::<String>::new());
}

#[test]
fn many_changes_are_a_whole_copy_again() {
    let f = fixture();
    for number in 0..200 {
        f.write(&format!("f{number}"), "x");
    }
    assert_eq!(f.import(&Filter::default()).layers().len(), 1);
    f.write("f1", "y");
    assert_eq!(f.import(&Filter::default()).layers().len(), 2);
    for number in 0..150 {
        f.write(&format!("f{number}"), "z");
    }
    assert_eq!(f.import(&Filter::default()).layers().len(), 1);
}

/// The inode of each of `paths` in a tree.
fn inodes(f: &Fixture, snapshot: &Snapshot, paths: &[&str]) -> Vec<u64> {
    let tree = f.store.view(snapshot).unwrap();
    paths.iter().map(|path| fs::metadata(at(&tree.root).join(path)).unwrap().ino()).collect()
}

fn text(f: &Fixture, snapshot: &Snapshot, path: &str) -> String {
    let tree = f.store.view(snapshot).unwrap();
    fs::read_to_string(at(&tree.root).join(path)).unwrap()
}

#[test]
fn hard_links_stay_on_the_way_in() {
    let f = fixture();
    for n in 0..100 {
        f.write(&format!("many/{n}"), "x");
    }
    f.write("a/one", "same");
    f.write("alone", "same");
    fs::hard_link(f.host().join("a/one"), f.host().join("z-two")).unwrap();
    // A name outside of what is taken is no link in it.
    fs::hard_link(f.host().join("alone"), f.dir.path().join("outside")).unwrap();
    f.flush_trash();
    let all = Filter::default();
    let first = f.import(&all);
    let [one, two, alone] = inodes(&f, &first, &["a/one", "z-two", "alone"])[..] else { unreachable!() };
    assert!(one == two && one != alone);
    assert_eq!(f.import(&all), first);
    let without = Filter { exclude: vec!["a".into()], ..Filter::default() };
    assert_eq!(text(&f, &f.import(&without), "z-two"), "same");

    // Each of these is a small change over the whole copy.
    fs::write(f.host().join("z-two"), "other").unwrap();
    f.flush_trash();
    let changed = f.import(&all);
    assert_eq!((text(&f, &changed, "a/one"), text(&f, &changed, "z-two")), ("other".into(), "other".into()));
    fs::hard_link(f.host().join("a/one"), f.host().join("a/three")).unwrap();
    f.flush_trash();
    let [one, two, three] = inodes(&f, &f.import(&all), &["a/one", "z-two", "a/three"])[..] else { unreachable!() };
    assert!(one == two && two == three);
    // What was a link and is a file of its own changes when its content does.
    fs::remove_file(f.host().join("a/three")).unwrap();
    f.write("a/three", "third");
    f.flush_trash();
    let apart = f.import(&all);
    let [one, two, three] = inodes(&f, &apart, &["a/one", "z-two", "a/three"])[..] else { unreachable!() };
    assert!(one == two && two != three);
    assert_eq!((text(&f, &apart, "a/one"), text(&f, &apart, "a/three")), ("other".into(), "third".into()));
    assert_eq!(f.store.verify().unwrap().problems, Vec::<String>::new());
}

#[test]
fn hard_links_stay_on_the_way_out() {
    let f = fixture();
    f.write("in/a/one", "same");
    fs::create_dir_all(f.host().join("in/b/c")).unwrap();
    for name in ["in/b/c/two", "in/three"] {
        fs::hard_link(f.host().join("in/a/one"), f.host().join(name)).unwrap();
    }
    f.write("in/alone", "same");
    let snapshot = f.link.import(&f.host().join("in"), &Filter::default(), &Emitter::nowhere()).unwrap();
    let tree = f.store.view(&snapshot).unwrap();
    let out = f.host().join("out");
    let inode = |name: &str| fs::metadata(out.join(name)).unwrap().ino();
    // Also over what was there, twice, and where a name was something else.
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("three"), "was there").unwrap();
    symlink("/etc/passwd", out.join("alone")).unwrap();
    for _ in 0..2 {
        f.link.export(tree.root.as_fd(), &out, false, &Emitter::nowhere()).unwrap();
        assert_eq!([inode("b/c/two"), inode("three")], [inode("a/one"); 2]);
        assert_ne!(inode("alone"), inode("a/one"));
        assert_eq!(fs::metadata(out.join("a/one")).unwrap().nlink(), 3);
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "alone", "b", "three"]);
    }
}

#[test]
fn an_ignored_directory_is_not_there() {
    let f = fixture();
    for path in [".git/config", "foo/f", "bar/f", "bar/in/f", "deep/bar/in/f", "deep/kept/f"] {
        f.write(path, "1");
    }
    f.write(".gitignore", "bar/\n!kept\n");
    let filter = Filter { gitignore: true, ..Filter::default() };
    for path in ["bar", "bar/in", "deep/bar", "deep/bar/in"] {
        let error = f.link.import(&f.host().join(path), &filter, &Emitter::nowhere()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("{path}: no such file or directory")), "{error}");
        f.link.import(&f.host().join(path), &Filter::default(), &Emitter::nowhere()).unwrap();
    }
    for path in ["foo", "deep/kept", "deep", ""] {
        f.link.import(&f.host().join(path), &filter, &Emitter::nowhere()).unwrap();
    }
    // Outside of a repository nothing is ignored.
    fs::remove_dir_all(f.host().join(".git")).unwrap();
    f.link.import(&f.host().join("bar"), &filter, &Emitter::nowhere()).unwrap();
}
