//! Ops on files, over the real store.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rondel_model::op::{CopyOp, Edit, Filter, FsOp, Removal};
use rondel_model::{AbsPath, Fs, Owner};
use support::*;

fn path(text: &str) -> AbsPath {
    AbsPath::new(text)
}

fn remove(base: &Fs, at: &str, patterns: &[&str], what: Removal) -> Fs {
    let paths = patterns.iter().map(|&p| p.to_owned()).collect();
    edit(base, Edit::Remove { paths, base: path(at), what })
}

#[tokio::test]
async fn edits_write() {
    let w = world();
    let base = w.files(&[
        ("/etc/passwd", "ann:x:7:8::/:/bin/sh\n"),
        ("/real/", ""),
        ("/real/old", "old"),
        ("/link -> real", ""),
        ("/through -> link/old", ""),
        ("/real/dangling -> ../../../made/f", ""),
    ]);
    let owner = Some(Owner("ann".into()));
    let check = async |edit_: Edit, want: &[&str]| {
        let before = w.list(&base).await;
        let after = w.list(&edit(&base, edit_)).await;
        let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).map(String::as_str).collect();
        assert_eq!(new, want);
    };
    check(write("/a/b", "x"), &["a 755 0:0 <Directory>", "a/b 644 0:0 x"]).await;
    check(write("/link/f", "x"), &["real/f 644 0:0 x"]).await;
    check(write("/through", "x"), &["real/old 644 0:0 x"]).await;
    check(write("/link/dangling", "x"), &["made 755 0:0 <Directory>", "made/f 644 0:0 x"]).await;
    let contents = b"x".as_slice().into();
    check(Edit::WriteFile { path: path("/s"), contents, permissions: 0o4711, owner: owner.clone() }, &["s 4711 7:8 x"])
        .await;
    check(
        Edit::MakeDir { path: path("/d/e"), permissions: 0o700, owner: owner.clone() },
        &["d 700 7:8 <Directory>", "d/e 700 7:8 <Directory>"],
    )
    .await;
    check(Edit::MakeDir { path: path("/real"), permissions: 0o700, owner }, &[]).await;
    let symlink = |target: &str, at: &str| Edit::Symlink { target: target.into(), path: path(at) };
    check(symlink("../x", "/l/m"), &["l 755 0:0 <Directory>", "l/m 777 0:0 <Symlink>"]).await;
    check(symlink("x", "/link/m"), &["real/m 777 0:0 <Symlink>"]).await;
}

#[tokio::test]
async fn edits_refuse() {
    let w = world();
    let base = w.files(&[("/f", "x"), ("/d/", ""), ("/loop -> loop", ""), ("/link -> d", "")]);
    let check = async |edit_: Edit, want: &str| assert_eq!(w.error(&edit(&base, edit_)).await, want);
    check(Edit::Symlink { target: "t".into(), path: path("/f") }, "symlink t /f: file exists").await;
    check(write("/f/g", "x"), "path /f is a file, not a directory").await;
    check(write("/d", "x"), "path /d is a directory, not a file").await;
    check(write("/link", "x"), "path /link is a directory, not a file").await;
    check(write("/loop", "x"), "/loop: too many levels of symbolic links").await;
    check(write("/", "x"), "path / is a directory, not a file").await;
    let long = "n".repeat(256);
    let too_long = "File name length exceeds the maximum supported 255 characters";
    check(write(&format!("/{long}/x"), "x"), too_long).await;
    check(Edit::MakeDir { path: path(&long), permissions: 0o755, owner: None }, too_long).await;
    check(write("/loop/x", "x"), "/loop: too many levels of symbolic links").await;
    let stranger = Owner("bob".into());
    check(
        Edit::Chown { path: path("/f"), owner: stranger },
        "unable to find user bob: no matching entries in passwd file",
    )
    .await;
    check(Edit::Timestamps { path: path("/gone"), seconds: 1 }, "/gone: no such file or directory").await;
}

#[tokio::test]
async fn links_never_lead_out() {
    let w = world();
    let base = w.files(&[("/escape -> ../../../../tmp/rondel-escape", ""), ("/abs -> /in/side", "")]);
    let both = edit(&edit(&base, write("/escape/foo", "1")), write("/abs/foo", "2"));
    let names = w.names(&both).await;
    assert!(names.contains(&"tmp/rondel-escape/foo".to_owned()), "{names:?}");
    assert!(names.contains(&"in/side/foo".to_owned()), "{names:?}");
    assert!(!std::path::Path::new("/tmp/rondel-escape").exists());
    assert_eq!(w.ops.read(&w.cx, &place(&both, "/escape/foo")).await.unwrap(), b"1");
    assert_eq!(w.ops.read(&w.cx, &place(&both, "/abs/foo")).await.unwrap(), b"2");
}

#[tokio::test]
async fn removal() {
    let w = world();
    let base = w.files(&[
        ("/a1", ""),
        ("/a2", ""),
        ("/b/x.txt", ""),
        ("/b/y.md", ""),
        ("/c/sub/a12", ""),
        ("/c/link -> sub", ""),
    ]);
    let all = w.names(&base).await;
    let check = async |at: &str, patterns: &[&str], what: Removal, gone: &[&str]| {
        let left = w.names(&remove(&base, at, patterns, what)).await;
        let missing: Vec<_> = all.iter().filter(|name| !left.contains(name)).map(String::as_str).collect();
        assert_eq!(missing, gone, "{patterns:?}");
    };
    use Removal::{Directory, Files};
    check("/", &["a*"], Files, &["a1", "a2"]).await;
    check("/", &["b/*.txt"], Files, &["b/x.txt"]).await;
    check("/", &["c/*/*a1*"], Files, &["c/sub/a12"]).await;
    check("/", &["b", "*"], Files, &["a1", "a2"]).await;
    check("/b", &["x.txt", "nothing", "no/where"], Files, &["b/x.txt"]).await;
    check("/b", &["../a1"], Files, &[]).await;
    check("/", &["b"], Directory, &["b/", "b/x.txt", "b/y.md"]).await;
    check("/b", &["."], Directory, &["b/x.txt", "b/y.md"]).await;
    check("/", &["c/link"], Directory, &["c/link"]).await;
    check("/", &["c/link/a12"], Files, &["c/sub/a12"]).await;
    check("/", &["gone"], Directory, &[]).await;
    check("/gone", &["x"], Directory, &[]).await;
    assert!(w.error(&remove(&base, "/", &["a["], Files)).await.contains("malformed"));
    let same = w.ops.tree(&w.cx, &remove(&base, "/", &["gone"], Files)).await.unwrap();
    assert_eq!(same, w.ops.tree(&w.cx, &base).await.unwrap());
}

#[tokio::test]
async fn times_and_owners() {
    let w = world();
    let base = w.files(&[("/etc/passwd", "ann:x:7:8::/:/bin/sh\n"), ("/d/f", "x"), ("/d/l -> f", "")]);
    let timed = edit(&base, Edit::Timestamps { path: path("/d"), seconds: 985_550_400 });
    for name in ["/d", "/d/f", "/d/l"] {
        let stat = w.ops.stat(&w.cx, &place(&timed, name), false).await.unwrap().unwrap();
        assert_eq!(stat.mtime, 985_550_400, "{name}");
    }
    let owned = edit(&timed, Edit::Chown { path: path("/d"), owner: Owner("ann".into()) });
    for name in ["/d", "/d/f", "/d/l"] {
        let stat = w.ops.stat(&w.cx, &place(&owned, name), false).await.unwrap().unwrap();
        assert_eq!((stat.uid, stat.gid), (7, 8), "{name}");
    }
}

#[tokio::test]
async fn directories_are_copied() {
    let w = world();
    let source = w.files(&[("/in/a", "new"), ("/in/sub/b", "b"), ("/in/l -> a", ""), ("/in/empty/", ""), ("/out", "")]);
    let source = edit(&source, Edit::Chown { path: path("/in/sub"), owner: Owner("5:6".into()) });
    let base = w.files(&[("/t/a", "old"), ("/t/keep", "k"), ("/t/l", "was a file"), ("/to -> t", "")]);
    let check = async |change: &dyn Fn(&mut CopyOp), want: &[&str]| {
        let mut op = copy(&base, &source, "/in", "/t");
        change(&mut op);
        let before = w.list(&base).await;
        let after = w.list(&Fs::from(op)).await;
        let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).map(String::as_str).collect();
        assert_eq!(new, want);
    };
    let merged = [
        "t/a 644 0:0 new",
        "t/empty 755 0:0 <Directory>",
        "t/l 777 0:0 <Symlink>",
        "t/sub 755 5:6 <Directory>",
        "t/sub/b 644 5:6 b",
    ];
    check(&|_| {}, &merged).await;
    check(&|op| op.target = path("/to"), &merged).await;
    check(
        &|op| {
            op.owner = Some(Owner("1:2".into()));
            op.permissions = Some(0o700);
            op.target = path("/new/deep");
            op.filter.exclude = vec!["empty".into(), "l".into()];
        },
        &[
            "new 755 1:2 <Directory>",
            "new/deep 700 1:2 <Directory>",
            "new/deep/a 700 1:2 new",
            "new/deep/sub 700 1:2 <Directory>",
            "new/deep/sub/b 700 1:2 b",
        ],
    )
    .await;
    check(&|op| op.filter.include = vec!["sub/b".into()], &["t/sub 755 5:6 <Directory>", "t/sub/b 644 5:6 b"]).await;
    let mut gone = copy(&base, &source, "/gone", "/t");
    assert_eq!(w.error(&Fs::from(gone.clone())).await, "/gone: no such file or directory");
    gone.source.path = path("/in/a");
    assert_eq!(w.error(&Fs::from(gone)).await, "path /in/a is a file, not a directory");
}

#[tokio::test]
async fn single_files_are_copied() {
    let w = world();
    let source = w.files(&[("/deep/f", "new"), ("/l -> deep/f", "")]);
    let base = w.files(&[("/dir/", ""), ("/bin -> dir", ""), ("/file", "old"), ("/dangling -> nowhere", "")]);
    let check = async |from: &str, to: &str, name: Option<&str>, want: &str| {
        let mut op = copy(&base, &source, from, to);
        op.source_is_file = true;
        op.source_name = name.map(str::to_owned);
        let before = w.list(&base).await;
        let after = w.list(&Fs::from(op)).await;
        let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).cloned().collect();
        assert_eq!(new.last().map(String::as_str), Some(want), "{from} {to}");
    };
    check("/deep/f", "/x", None, "x 644 0:0 new").await;
    check("/deep/f", "/file", None, "file 644 0:0 new").await;
    check("/deep/f", "/dir", None, "dir/f 644 0:0 new").await;
    check("/deep/f", "/bin", None, "dir/f 644 0:0 new").await;
    check("/deep/f", "/dir", Some("g"), "dir/g 644 0:0 new").await;
    check("/deep/f", "/made/", None, "made/f 644 0:0 new").await;
    check("/deep/f", "/", None, "f 644 0:0 new").await;
    check("/l", "/x", None, "x 644 0:0 new").await;
    check("/deep/f", "/dangling", None, "dangling 644 0:0 new").await;
}

#[tokio::test]
async fn hard_links_and_holes_survive() {
    let w = world();
    let script = ["write", "/a", "x"];
    let made = w.ops.exec(&w.cx, &exec(&Fs::scratch(), &script).into()).await.unwrap();
    let tree = rondel_ports::snapshots::Snapshots::prepare(&*w.store, &made.rootfs).unwrap();
    {
        use std::os::fd::AsRawFd;
        let root = format!("/proc/self/fd/{}", tree.root.as_raw_fd());
        std::fs::hard_link(format!("{root}/a"), format!("{root}/b")).unwrap();
        let sparse = std::fs::File::create(format!("{root}/sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        use std::os::unix::fs::FileExt;
        sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
    }
    let source = Fs::known(rondel_ports::snapshots::Snapshots::commit(&*w.store, tree).unwrap());
    let copied = Fs::from(copy(&Fs::scratch(), &source, "/", "/to"));
    let snapshot = w.ops.tree(&w.cx, &copied).await.unwrap();
    let tree = rondel_ports::snapshots::Snapshots::view(&*w.store, &snapshot).unwrap();
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    let stat = |name: &str| std::fs::metadata(format!("/proc/self/fd/{}/to/{name}", tree.root.as_raw_fd())).unwrap();
    assert_eq!((stat("a").ino(), stat("a").nlink()), (stat("b").ino(), 2));
    assert_eq!(stat("sparse").size(), 64 << 20);
    assert!(stat("sparse").blocks() < 1000, "{}", stat("sparse").blocks());
    let tail = w.ops.read(&w.cx, &place(&copied, "/to/sparse")).await.unwrap();
    assert!(tail.ends_with(b"\0end"));
}

#[tokio::test]
async fn differences() {
    let w = world();
    let lower = w.files(&[("/same", "1"), ("/changed", "1"), ("/gone", "1"), ("/d/same", "1"), ("/l -> a", "")]);
    let upper = w.files(&[
        ("/same", "1"),
        ("/changed", "2"),
        ("/new/f", "1"),
        ("/d/same", "1"),
        ("/d/new", "1"),
        ("/l -> b", ""),
        ("/void/", ""),
    ]);
    let diff = |a: &Fs, at: &str, b: &Fs| Fs::new(FsOp::Diff { lower: place(a, at), upper: place(b, at) });
    let all = ["changed", "d/", "d/new", "l", "new/", "new/f", "void/"];
    assert_eq!(w.names(&diff(&lower, "/", &upper)).await, all);
    assert_eq!(w.names(&diff(&lower, "/d", &upper)).await, ["new"]);
    assert_eq!(w.names(&diff(&upper, "/", &lower)).await, ["changed", "gone", "l"]);
    assert_eq!(w.names(&diff(&upper, "/", &upper)).await, Vec::<String>::new());
    let again = edit(&lower, write("/same", "1"));
    assert_eq!(w.names(&diff(&lower, "/", &again)).await, Vec::<String>::new());
    assert_eq!(w.names(&diff(&Fs::scratch(), "/", &lower)).await, w.names(&lower).await);
}

#[tokio::test]
async fn parts_of_trees() {
    let w = world();
    let base = w.files(&[
        ("/src/a.rs", "a"),
        ("/src/a.txt", "t"),
        ("/src/.gitignore", "*.log\nout/\n"),
        ("/src/x.log", ""),
        ("/src/out/y", ""),
        ("/src/sub/z.log", ""),
        ("/src/sub/b.rs", ""),
        ("/link -> src", ""),
    ]);
    let select = Fs::new(FsOp::Select(place(&base, "/link/sub")));
    assert_eq!(w.names(&select).await, ["b.rs", "z.log"]);
    let whole = w.ops.tree(&w.cx, &Fs::new(FsOp::Select(place(&base, "/")))).await.unwrap();
    assert_eq!(whole, w.ops.tree(&w.cx, &base).await.unwrap());
    let check = async |filter: Filter, want: &[&str]| {
        let fs = Fs::new(FsOp::Filter { source: place(&base, "/src"), filter: filter.into() });
        assert_eq!(w.names(&fs).await, want);
    };
    let some = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
    check(Filter { include: some(&["**/*.rs"]), ..Filter::default() }, &["a.rs", "sub/", "sub/b.rs"]).await;
    check(
        Filter { exclude: some(&["**/*.rs", "**/*.log", "out"]), ..Filter::default() },
        &[".gitignore", "a.txt", "sub/"],
    )
    .await;
    check(Filter { gitignore: true, ..Filter::default() }, &[".gitignore", "a.rs", "a.txt", "sub/", "sub/b.rs"]).await;
    let missing = Fs::new(FsOp::Select(place(&base, "/bogus")));
    assert_eq!(w.error(&missing).await, "/bogus: no such file or directory");
}

#[tokio::test]
async fn reading() {
    let w = world();
    let base = w.files(&[("/d/f.md", "text"), ("/d/e/g.md", ""), ("/d/e/x.md/", ""), ("/l -> d/f.md", "")]);
    let names = |entries: Vec<rondel_ops::Entry>| entries.into_iter().map(|e| e.name).collect::<Vec<_>>();
    assert_eq!(names(w.ops.entries(&w.cx, &place(&base, "/")).await.unwrap()), ["d", "l"]);
    let check = async |at: &str, pattern: &str, want: &[&str]| {
        assert_eq!(names(w.ops.glob(&w.cx, &place(&base, at), pattern).await.unwrap()), want, "{pattern}");
    };
    check("/d", "*.md", &["f.md"]).await;
    check("/d", "**/*.md", &["e/g.md", "e/x.md", "f.md"]).await;
    check("/", "d/**/*.md", &["d/e/g.md", "d/e/x.md", "d/f.md"]).await;
    check("/d", "*.rs", &[]).await;
    assert_eq!(w.ops.read(&w.cx, &place(&base, "/l")).await.unwrap(), b"text");
    let fails = async |at: &str| w.ops.read(&w.cx, &place(&base, at)).await.unwrap_err().to_string();
    assert_eq!(fails("/bogus").await, "/bogus: no such file or directory");
    assert_eq!(fails("/d").await, "path /d is a directory, not a file");
    let listing = w.ops.entries(&w.cx, &place(&base, "/d/f.md")).await.unwrap_err();
    assert_eq!(listing.to_string(), "path /d/f.md is a file, not a directory");
    let kind = async |at: &str, follow| w.ops.stat(&w.cx, &place(&base, at), follow).await.unwrap().map(|s| s.kind);
    assert_eq!(kind("/l", true).await, Some(rondel_ops::EntryKind::File));
    assert_eq!(kind("/l", false).await, Some(rondel_ops::EntryKind::Symlink));
    assert_eq!(kind("/gone", true).await, None);
    assert_eq!(kind("/d/f.md/x", true).await, None);
}

#[tokio::test]
async fn digests() {
    let w = world();
    let base = w.files(&[("/a/f", "x"), ("/b/f", "x"), ("/c/f", "y")]);
    let chmod =
        Edit::WriteFile { path: path("/b/f"), contents: b"x".as_slice().into(), permissions: 0o755, owner: None };
    let other = edit(&base, chmod);
    let digest = async |fs: &Fs, at: &str, bare| w.ops.digest(&w.cx, &place(fs, at), bare).await.unwrap();
    assert!(digest(&base, "/a", false).await.starts_with("sha256:"));
    assert_eq!(digest(&base, "/a", false).await, digest(&base, "/b", false).await);
    assert_eq!(digest(&base, "/a/f", false).await, digest(&base, "/b/f", false).await);
    assert_ne!(digest(&base, "/a", false).await, digest(&base, "/c", false).await);
    assert_ne!(digest(&base, "/b", false).await, digest(&other, "/b", false).await);
    assert_eq!(digest(&base, "/b", true).await, digest(&other, "/b", true).await);
    assert_eq!(digest(&base, "/b/f", true).await, digest(&other, "/b/f", true).await);
}

#[tokio::test]
async fn a_chain_of_five_thousand_edits() {
    let w = world();
    let mut fs = Fs::scratch();
    for n in 0..3_333 {
        fs = edit(&fs, Edit::MakeDir { path: path("/d"), permissions: 0o755, owner: None });
        if n % 1_000 == 0 {
            fs = edit(&fs, write(&format!("/f{n}"), "x"));
        }
        let salted = Edit::Remove { paths: vec![format!("none-{n}")], base: AbsPath::root(), what: Removal::Files };
        if n % 2 == 0 {
            fs = edit(&fs, salted);
        }
    }
    assert_eq!(w.names(&fs).await.len(), 5);
}

#[tokio::test]
async fn more_layers_than_can_be_mounted() {
    let w = world();
    let fs = (0..250).fold(Fs::scratch(), |fs, n| edit(&fs, write(&format!("/f{n}"), &n.to_string())));
    assert_eq!(w.names(&fs).await.len(), 250);
    let again = w.restarted();
    again.ops.tree(&w.cx, &fs).await.unwrap();
    assert_eq!(again.ops.stats().files_done.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn directories_go_where_links_of_the_target_lead() {
    let w = world();
    // As in distributions of which `/bin` is a link, absolute or not, and one link over another.
    let base = w.files(&[
        ("/usr/bin/sh", "shell"),
        ("/bin -> usr/bin", ""),
        ("/opt/deep/lib -> ../../usr/lib", ""),
        ("/usr/lib/x", "x"),
        ("/sbin -> /bin", ""),
        ("/nowhere -> /missing", ""),
        ("/note -> usr/lib/x", ""),
        ("/out -> ../../../etc", ""),
        ("/etc/keep", ""),
    ]);
    let check = async |source: &Fs, want: &[&str]| {
        let names = w.names(&Fs::from(copy(&base, source, "/", "/"))).await;
        let files: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
        let fixed = ["bin", "etc/keep", "nowhere", "note", "opt/deep/lib", "out", "sbin", "usr/bin/sh", "usr/lib/x"];
        let mut all = [&fixed, want].concat();
        all.retain(|name| !want.contains(&format!("!{name}").as_str()) && !name.starts_with('!'));
        all.sort_unstable();
        assert_eq!(files, all);
    };
    check(&w.files(&[("/bin/foo", "f")]), &["usr/bin/foo"]).await;
    check(&w.files(&[("/sbin/foo", "f"), ("/sbin/in/g", "g")]), &["usr/bin/foo", "usr/bin/in/g"]).await;
    check(&w.files(&[("/opt/deep/lib/y", "y")]), &["usr/lib/y"]).await;
    check(&w.files(&[("/out/y", "y")]), &["etc/y"]).await;
    // What leads to no directory gives way.
    check(&w.files(&[("/nowhere/y", "y")]), &["!nowhere", "nowhere/y"]).await;
    check(&w.files(&[("/note/y", "y")]), &["!note", "note/y"]).await;
    // A file takes the place of a link.
    check(&w.files(&[("/note", "n")]), &[]).await;
    let replaced = Fs::from(copy(&base, &w.files(&[("/note", "n")]), "/", "/"));
    assert_eq!(w.ops.read(&w.cx, &place(&replaced, "/usr/lib/x")).await.unwrap(), b"x");
    assert_eq!(w.ops.read(&w.cx, &place(&replaced, "/note")).await.unwrap(), b"n");
    // Two directories of the source meet in one, whichever comes first: the later one wins.
    for (name, first, second) in [("/bin", "linked", "real"), ("/zbin", "real", "linked")] {
        let base = edit(&base, Edit::Symlink { target: "usr/bin".into(), path: path("/zbin") });
        let source = w.files(&[(&format!("{name}/sh"), "linked"), ("/usr/bin/sh", "real"), ("/usr/bin/ls", "ls")]);
        let both = Fs::from(copy(&base, &source, "/", "/"));
        let sh = w.ops.read(&w.cx, &place(&both, "/usr/bin/sh")).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&sh), second, "after {first}");
        assert_eq!(w.ops.read(&w.cx, &place(&both, "/usr/bin/ls")).await.unwrap(), b"ls");
    }
    // Attributes are given to the directory, and the link stays what it is.
    let owned = edit(&w.files(&[("/bin/foo", "f")]), Edit::Chown { path: path("/bin"), owner: Owner("7:8".into()) });
    let listed = w.list(&Fs::from(copy(&base, &owned, "/", "/"))).await;
    assert!(listed.contains(&"usr/bin 755 7:8 <Directory>".to_owned()), "{listed:?}");
    assert!(listed.contains(&"bin 777 0:0 <Symlink>".to_owned()), "{listed:?}");
}

#[tokio::test]
async fn hard_links_stay_when_a_link_of_the_target_is_followed() {
    let w = world();
    let base = w.files(&[("/usr/bin/", ""), ("/bin -> /usr/bin", ""), ("/a/", "")]);
    let linked = w.linked(&["/a/one", "/bin/two", "/usr/bin/three"], "same").await;
    let copied = Fs::from(copy(&base, &Fs::known(linked), "/", "/"));
    let names = ["/a/one", "/usr/bin/two", "/usr/bin/three"];
    assert_eq!(w.inodes(&copied, &names).await, 1);
}

#[tokio::test]
async fn a_directory_takes_the_place_of_a_file() {
    let w = world();
    let old = w.files(&[("/x/old", "old"), ("/x/in/older", "")]);
    let removed = Edit::Remove { paths: vec!["x".into()], base: AbsPath::root(), what: Removal::Directory };
    let file = edit(&edit(&old, removed), write("/x", "a file"));
    let copied = Fs::from(copy(&file, &w.files(&[("/new", "new")]), "/", "/x"));
    assert_eq!(w.names(&copied).await, ["x/", "x/new"]);
    let later = edit(&copied, write("/x/later", ""));
    assert_eq!(w.names(&later).await, ["x/", "x/later", "x/new"]);
    // A file on the way stays an error.
    let below = Fs::from(copy(&file, &w.files(&[("/new", "new")]), "/", "/x/below"));
    assert!(w.error(&below).await.contains("is a file, not a directory"));
}
