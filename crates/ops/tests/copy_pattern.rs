//! Files that patterns pick, over the real store.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rondel_model::op::{CopyPattern, Edit};
use rondel_model::{AbsPath, Fs, ModeChange, Owner};
use support::*;

fn gather(base: &Fs, source: &Fs, paths: &[&str], target: &str) -> CopyPattern {
    CopyPattern {
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

fn done(op: CopyPattern) -> Fs {
    Fs::from(op)
}

#[tokio::test]
async fn what_is_picked() {
    let w = world();
    let files = [("/d/a.txt", "a"), ("/d/b.md", "b"), ("/d/in/c.txt", "c"), ("/f", "f"), ("/link -> d", "")];
    let source = w.files(&files);
    let check = async |paths: &[&str], target: &str, change: &dyn Fn(&mut CopyPattern), want: &[&str]| {
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
    let exclude = |op: &mut CopyPattern| op.exclude = vec!["*.txt".into()];
    check(&["d"], "/x", &exclude, &["x", "x/b.md", "x/in", "x/in/c.txt"]).await;
    let ignore = |op: &mut CopyPattern| op.ignore = vec!["d".into(), "!d/in".into()];
    check(&["d"], "/x", &ignore, &["x", "x/in", "x/in/c.txt"]).await;
    check(&["."], "/", &ignore, &["d", "d/in", "d/in/c.txt", "f", "link"]).await;
    let parents = |op: &mut CopyPattern| op.parents = true;
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

#[tokio::test]
async fn an_archive_stays_in_its_directory() {
    let w = world();
    let mut builder = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, name: &str, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        let content: &[u8] = if kind == tar::EntryType::Regular { b"x" } else { b"" };
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    };
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    entry(Symlink, "lnk", "/etc");
    entry(Regular, "lnk/x", "");
    entry(Symlink, "up", "../../../..");
    entry(Regular, "up/y", "");
    entry(Symlink, "one", "two");
    entry(Symlink, "two", "/etc/in");
    entry(Directory, "one/deep", "");
    entry(Regular, "one/deep/z", "");
    entry(Link, "hard", "lnk/x");
    // A directory goes where a link of the target leads, inside of what is unpacked into.
    entry(Directory, "bin", "");
    entry(Regular, "bin/tool", "");
    let archive = builder.into_inner().unwrap();
    let contents = archive.as_slice().into();
    let file = Edit::WriteFile { path: AbsPath::new("/a.tar"), contents, permissions: 0o644, owner: None };
    let source = edit(&Fs::scratch(), file);
    let base = w.files(&[("/etc/passwd", ""), ("/d/e/bin -> /usr/bin", ""), ("/d/e/usr/bin/", ""), ("/usr/bin/", "")]);
    let mut op = gather(&base, &source, &["a.tar"], "/d/e/");
    op.unpack = true;
    let names = w.names(&done(op)).await;
    let files: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
    let inside = ["bin", "etc/in/deep/z", "etc/x", "hard", "lnk", "one", "two", "up", "usr/bin/tool", "y"];
    let inside: Vec<String> = inside.iter().map(|name| format!("d/e/{name}")).chain(["etc/passwd".into()]).collect();
    assert_eq!(files, inside);
}
