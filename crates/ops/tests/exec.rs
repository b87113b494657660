//! Processes: keys, caching, mounts, output, over the real store and a toy that runs a little language.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rondel_events::Outcome;
use rondel_fault::{Detail, Kind};
use rondel_model::exec::{Expect, Mount, MountSource, Scope, ScopeRecord, Sharing, Stdin};
use rondel_model::op::{ExecOutput, FsOp};
use rondel_model::{AbsPath, ExecOp, Fs, Owner};
use rondel_ops::{ExecResult, HostTrust, Options};
use support::*;

fn path(text: &str) -> AbsPath {
    AbsPath::new(text)
}

async fn run(w: &World, op: &ExecOp) -> Arc<ExecResult> {
    w.ops.exec(&w.cx, &Arc::new(op.clone())).await.unwrap_or_else(|e| panic!("{e:?}"))
}

fn mount(target: &str, source: MountSource) -> Mount {
    Mount { target: path(target), source }
}

fn cache(name: &str, sharing: Sharing) -> MountSource {
    MountSource::Cache { volume: name.into(), source: None, sharing, owner: None, read_only: false }
}

fn directory(fs: &Fs, at: &str) -> MountSource {
    MountSource::Directory { fs: fs.clone(), path: path(at), read_only: false, owner: None }
}

fn output(op: &ExecOp) -> Fs {
    Fs::new(FsOp::Exec { exec: Arc::new(op.clone()), output: ExecOutput::Rootfs })
}

#[tokio::test]
async fn evaluated_once_and_remembered() {
    let w = world();
    let op = exec(&w.files(&[("/in", "x")]), &["write", "/out", "y", ";", "print", "done"]);
    let fs = output(&op);
    let all = futures_util::future::join_all((0..20).map(|_| w.ops.tree(&w.cx, &fs))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(w.processes.count(), 1);
    assert_eq!(&*run(&w, &op).await.stdout, "done");
    let again = w.restarted();
    assert_eq!(&*run(&again, &op).await.stdout, "done");
    assert_eq!(w.names(&fs).await, ["in", "out"]);
    assert_eq!(w.processes.count(), 1);
    assert_eq!(again.ops.stats().execs_run.load(Ordering::Relaxed), 0);
    assert_eq!(again.ops.stats().execs_cached.load(Ordering::Relaxed), 1);
    assert_eq!(w.events.outcomes(), [Outcome::Done, Outcome::Cached]);
}

#[tokio::test]
async fn equal_bytes_stop_the_rebuild() {
    let w = world();
    let consumer = |upstream: &ExecOp| exec(&output(upstream), &["cat", "/o"]);
    let first = exec(&Fs::scratch(), &["write", "/o", "same"]);
    let second = ExecOp { salt: Some("again".into()), ..first.clone() };
    let third = exec(&Fs::scratch(), &["write", "/o", "different"]);
    run(&w, &consumer(&first)).await;
    assert_eq!(w.processes.count(), 2);
    run(&w, &consumer(&second)).await;
    assert_eq!(w.processes.count(), 3);
    assert_eq!(&*run(&w, &consumer(&third)).await.stdout, "different");
    assert_eq!(w.processes.count(), 5);
}

#[tokio::test]
async fn what_counts_for_the_key() {
    let w = world();
    let base = || {
        let mut op = exec(&Fs::scratch(), &["true"]);
        op.mounts = vec![mount("/c", cache("v", Sharing::Shared)), mount("/d", directory(&Fs::scratch(), "/"))];
        op
    };
    let view = rondel_version::ENGINE;
    let scope = |record: Option<u64>, module: &str| {
        let record = record.map(|record| ScopeRecord(Arc::new(record)));
        Some(Scope { view, module: Some(rondel_digest::Digest::of_bytes(module.as_bytes())), record })
    };
    let check = async |counts: bool, change: &dyn Fn(&mut ExecOp)| {
        run(&w.restarted(), &base()).await;
        let before = w.processes.count();
        let mut op = base();
        change(&mut op);
        run(&w.restarted(), &op).await;
        let ran = w.processes.count() - before;
        // What counts ran now, or in an earlier line of the table; what does not count never runs.
        assert!(counts || ran == 0);
        assert!(!counts || ran == 1);
    };
    w.secrets.set(&secret("a"), b"plain");
    check(false, &|_| {}).await;
    let volatile = |value: &str| vec![("V".to_owned(), value.to_owned())];
    check(true, &|op| op.volatile_env = volatile("1")).await;
    let before = w.processes.count();
    run(&w.restarted(), &ExecOp { volatile_env: volatile("2"), ..base() }).await;
    assert_eq!(w.processes.count(), before, "the value of a volatile variable must not count");
    check(true, &|op| op.args.push(";".into())).await;
    check(true, &|op| op.env = vec![("A".into(), "1".into())]).await;
    check(true, &|op| op.env = vec![("A".into(), "2".into())]).await;
    check(true, &|op| op.secret_env = vec![("A".into(), secret("a"))]).await;
    check(true, &|op| op.workdir = path("/w")).await;
    check(true, &|op| op.user = "7".into()).await;
    check(true, &|op| op.stdin = Stdin::Text("x".into())).await;
    check(true, &|op| op.redirect_stdout = Some(path("/o"))).await;
    check(true, &|op| op.redirect_stderr = Some(path("/o"))).await;
    check(false, &|op| op.expect = Expect::Any).await;
    check(true, &|op| op.insecure = true).await;
    check(true, &|op| op.no_init = true).await;
    check(true, &|op| op.salt = Some("s".into())).await;
    check(true, &|op| op.mounts[0] = mount("/c", cache("w", Sharing::Shared))).await;
    check(true, &|op| op.mounts[0] = mount("/other", cache("v", Sharing::Shared))).await;
    check(true, &|op| drop(op.mounts.pop())).await;
    check(true, &|op| op.mounts[1] = mount("/d", directory(&w.files(&[("/x", "x")]), "/"))).await;
    check(true, &|op| op.scope = scope(Some(1), "m")).await;
    check(true, &|op| op.scope = scope(None, "n")).await;
    let count = w.processes.count();
    for record in [Some(2), Some(3), None] {
        let mut op = base();
        op.scope = scope(record, "m");
        run(&w.restarted(), &op).await;
    }
    assert_eq!(w.processes.count(), count, "engine records and tokens must not count");
}

#[tokio::test]
async fn failures_are_not_remembered() {
    let w = world();
    let op = exec(&Fs::scratch(), &["print", "out", ";", "warn", "err", ";", "exit", "3"]);
    for round in 1..=2 {
        let fault = w.ops.exec(&w.cx, &Arc::new(op.clone())).await.unwrap_err();
        let command = "print out ; warn err ; exit 3";
        let want = format!("process \"{command}\" did not complete successfully: exit code: 3");
        assert_eq!(fault.to_string(), want);
        let Some(Detail::Exec(failure)) = fault.detail() else { panic!("{fault:?}") };
        assert_eq!((failure.exit_code, &*failure.stdout, &*failure.stderr), (3, "out", "err"));
        assert_eq!(w.processes.count(), round);
    }
    let any = ExecOp { expect: Expect::Any, ..op.clone() };
    assert_eq!(run(&w, &any).await.exit_code, 3);
    assert_eq!(run(&w.restarted(), &any).await.exit_code, 3);
    assert_eq!(w.processes.count(), 3);
    assert!(w.ops.exec(&w.cx, &Arc::new(op)).await.is_err());
    assert_eq!(w.processes.count(), 4);
    let missing = w.ops.exec(&w.cx, &Arc::new(exec(&Fs::scratch(), &["nonsense"]))).await.unwrap_err();
    assert_eq!(missing.to_string(), "exec: `nonsense`: not found");
    let empty = w.ops.exec(&w.cx, &Arc::new(exec(&Fs::scratch(), &[]))).await.unwrap_err();
    assert_eq!(empty.to_string(), "no command has been set");
}

#[tokio::test]
async fn trees_are_mounted_and_kept() {
    let w = world();
    let tree = w.files(&[("/sub/f", "1"), ("/other", "o"), ("/l -> sub", "")]);
    let mut op = exec(
        &w.files(&[("/etc/passwd", "ann:x:7:8::/:/bin/sh\n")]),
        &["cat", "/m/f", ";", "write", "/m/g", "2", ";", "append", "/file", "+", ";", "cat", "/file"],
    );
    op.mounts = vec![
        mount("/m", directory(&tree, "/l")),
        mount("/file", MountSource::File { fs: tree.clone(), path: path("/other"), owner: None }),
        mount("/ro", MountSource::Directory { fs: tree.clone(), path: path("/sub"), read_only: true, owner: None }),
        mount(
            "/owned",
            MountSource::Directory {
                fs: tree.clone(),
                path: path("/sub"),
                read_only: false,
                owner: Some(Owner("ann".into())),
            },
        ),
        mount("/tmp", MountSource::Temp { size: Some(4000) }),
    ];
    let result = run(&w, &op).await;
    assert_eq!(&*result.stdout, "1o+");
    assert_eq!(
        w.list_snapshot(&result.mounts[&path("/m")]).await,
        ["l 777 0:0 <Symlink>", "other 644 0:0 o", "sub 755 0:0 <Directory>", "sub/f 644 0:0 1", "sub/g 644 0:0 2",]
    );
    assert!(w.list_snapshot(&result.mounts[&path("/file")]).await.contains(&"other 644 0:0 o+".to_owned()));
    assert!(w.list_snapshot(&result.mounts[&path("/owned")]).await.contains(&"sub/f 644 7:8 1".to_owned()));
    assert_eq!(result.mounts[&path("/ro")], w.ops.tree(&w.cx, &tree).await.unwrap());
    assert_eq!(result.rootfs, w.ops.tree(&w.cx, &op.rootfs).await.unwrap());
    assert_eq!(
        w.processes.last().mounts,
        [
            "/m detached ro=false",
            "/file detached ro=false",
            "/ro detached ro=true",
            "/owned detached ro=false",
            "/tmp temp Some(4000)",
        ]
    );
    op.mounts = vec![mount("/m", directory(&tree, "/other"))];
    let fault = w.ops.exec(&w.cx, &Arc::new(op)).await.unwrap_err();
    assert_eq!(fault.to_string(), "cannot mount `/m`: path /other is a file, not a directory");
}

#[tokio::test]
async fn volumes_outlive_processes() {
    let w = world();
    let seed = w.files(&[("/seed/s", "seeded")]);
    let with = |args: &[&str], source: MountSource| {
        let mut op = exec(&Fs::scratch(), args);
        op.mounts = vec![mount("/c", source)];
        op
    };
    run(&w, &with(&["append", "/c/f", "1"], cache("v", Sharing::Shared))).await;
    let second = with(&["append", "/c/f", "2", ";", "cat", "/c/f"], cache("v", Sharing::Locked));
    assert_eq!(&*run(&w, &second).await.stdout, "12");
    let seeded = || MountSource::Cache {
        volume: "s".into(),
        source: Some(place(&seed, "/seed")),
        sharing: Sharing::Shared,
        owner: Some(Owner("5:6".into())),
        read_only: false,
    };
    assert_eq!(&*run(&w, &with(&["append", "/c/s", "+", ";", "cat", "/c/s"], seeded())).await.stdout, "seeded+");
    assert_eq!(
        &*run(&w, &with(&["append", "/c/s", "+", ";", "cat", "/c/s", ";", "true"], seeded())).await.stdout,
        "seeded++"
    );
    let records = w.store.records(i64::MAX).unwrap();
    let seeded_volume = records.iter().find(|record| record.description.starts_with("s ")).unwrap();
    let folder = w.dir.path().join("state/volumes").join(&seeded_volume.id);
    use std::os::unix::fs::MetadataExt;
    let stat = std::fs::metadata(folder.join("s")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (5, 6));
    let shown = |read_only| {
        let source =
            MountSource::Cache { volume: "v".into(), source: None, sharing: Sharing::Shared, owner: None, read_only };
        with(&["cat", "/c/f"], source)
    };
    for read_only in [false, true] {
        run(&w, &shown(read_only)).await;
        assert_eq!(w.processes.last().mounts, [format!("/c detached ro={read_only}")], "they have keys of their own");
    }
}

#[tokio::test]
async fn another_source_or_owner_is_another_volume() {
    let w = world();
    let account = "ann:x:5:6::/:\n";
    let root = w.files(&[("/etc/passwd", account)]);
    let (seed, more) = (w.files(&[("/a/f", "seed"), ("/b/f", "other")]), w.files(&[("/a/f", "seed"), ("/more", "x")]));
    let runs = std::cell::Cell::new(0);
    let say = async |source: Option<(&Fs, &str)>, owner: &str, sharing: Sharing| {
        runs.set(runs.get() + 1);
        let mut op = exec(&root, &["append", "/c/f", "+", ";", "cat", "/c/f"]);
        op.salt = Some(runs.get().to_string());
        op.mounts = vec![mount(
            "/c",
            MountSource::Cache {
                volume: "v".into(),
                source: source.map(|(fs, at)| place(fs, at).isolated()),
                sharing,
                owner: Some(Owner(owner.into())).filter(|_| !owner.is_empty()),
                read_only: false,
            },
        )];
        run(&w, &op).await.stdout.to_string()
    };
    let shared = Sharing::Shared;
    assert_eq!(say(None, "", shared).await, "+");
    assert_eq!(say(None, "5:6", shared).await, "+");
    // A name is who it is in the container.
    assert_eq!(say(None, "ann", shared).await, "++");
    assert_eq!(say(None, "0:0", shared).await, "++");
    assert_eq!(say(Some((&seed, "/a")), "", shared).await, "seed+");
    assert_eq!(say(Some((&seed, "/b")), "", shared).await, "other+");
    // What lies beside the source does not count, and how it is shared says nothing about which one it is.
    assert_eq!(say(Some((&more, "/a")), "", Sharing::Locked).await, "seed++");
    assert_eq!(say(Some((&seed, "/a")), "5:6", shared).await, "seed+");
    assert_eq!(say(None, "", Sharing::Locked).await, "+++");
    // Each has a key of its own, though nothing else differs.
    let keyed = |owner: &str| {
        let mut op = exec(&root, &["true"]);
        let mut source = cache("k", shared);
        if let MountSource::Cache { owner: own, .. } = &mut source {
            *own = Some(Owner(owner.into()));
        }
        op.mounts = vec![mount("/c", source)];
        op
    };
    let before = w.processes.count();
    for owner in ["1:1", "2:2", "1:1"] {
        run(&w.restarted(), &keyed(owner)).await;
    }
    assert_eq!(w.processes.count() - before, 2);
}

#[tokio::test]
async fn output_goes_where_it_is_told() {
    let w = world();
    let tree = w.files(&[("/in/text", "from a file")]);
    let mut op = exec(&Fs::scratch(), &["stdin", ";", "warn", "oops"]);
    op.mounts = vec![mount("/m", directory(&tree, "/in"))];
    op.stdin = Stdin::File(path("/m/text"));
    op.redirect_stdout = Some(path("/m/out"));
    op.redirect_stderr = Some(path("/var/log/err"));
    let result = run(&w, &op).await;
    assert_eq!((&*result.stdout, &*result.stderr, &*result.combined), ("from a file", "oops", "from a fileoops"));
    assert!(w.list_snapshot(&result.mounts[&path("/m")]).await.contains(&"in/out 644 0:0 from a file".to_owned()));
    assert!(w.list_snapshot(&result.rootfs).await.contains(&"var/log/err 644 0:0 oops".to_owned()));
    assert_eq!(w.events.logged(), "from a fileoops");
}

#[tokio::test]
async fn secrets_reach_the_process_and_nothing_else() {
    let w = world();
    let token = secret("token");
    w.secrets.set(&token, b"hunter2-and-more\n");
    let mut op = exec(
        &Fs::scratch(),
        &["env", "TOKEN", ";", "cat", "/s", ";", "print", "hunt", "er2-and", "-more", ";", "warn", "hunter2-and-more"],
    );
    op.secret_env = vec![("TOKEN".into(), token.clone())];
    op.mounts = vec![mount("/s", MountSource::Secret { secret: token.clone(), owner: None, mode: 0o400 })];
    op.redirect_stdout = Some(path("/out"));
    let result = run(&w, &op).await;
    assert_eq!((&*result.stdout, &*result.stderr), ("*********", "***"));
    assert_eq!(w.list_snapshot(&result.rootfs).await, ["out 644 0:0 *********"]);
    assert!(!w.events.logged().contains("hunter2"));
    assert!(w.processes.last().env.contains(&("TOKEN".into(), "hunter2-and-more\n".into())));
    assert_eq!(w.processes.last().mounts, ["/s content 400 "]);
    op.args = ["warn", "hunter2-and-more", ";", "exit", "1"].map(String::from).to_vec();
    let fault = w.ops.exec(&w.cx, &Arc::new(op)).await.unwrap_err();
    assert!(!format!("{fault:?} {:?}", fault.detail()).contains("hunter2"), "{fault:?}");
    let unknown = secret("unknown");
    let mut op = exec(&Fs::scratch(), &["true"]);
    op.secret_env = vec![("X".into(), unknown)];
    assert_eq!(w.ops.exec(&w.cx, &Arc::new(op)).await.unwrap_err().to_string(), "secret not found");
}

#[tokio::test]
async fn the_environment() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("extra.crt"), "pem").unwrap();
    let trust = HostTrust { bundle: Some("/host/bundle".into()), added: true, extra_dir: Some(host.path().into()) };
    let w = world_with(Options { trust, proxies: vec![("HTTP_PROXY".into(), "p".into())], watch: None });
    let mut op = exec(&Fs::scratch(), &["true"]);
    op.env = vec![("A".into(), "1".into()), ("CURL_CA_BUNDLE".into(), "mine".into())];
    op.volatile_env = vec![("A".into(), "2".into())];
    op.scope = Some(Scope { view: rondel_version::ENGINE, module: None, record: Some(ScopeRecord(Arc::new(7))) });
    run(&w, &op).await;
    let env: std::collections::HashMap<_, _> = w.processes.last().env.into_iter().collect();
    let check = |name: &str, want: &str| assert_eq!(env.get(name).map(String::as_str), Some(want));
    check("A", "2");
    check("CURL_CA_BUNDLE", "mine");
    check("SSL_CERT_FILE", "/dev/.rondel-ca.crt");
    check("HTTP_PROXY", "p");
    check("SESSION_TOKEN", "token-0");
    check("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let extra = format!("/usr/local/share/ca-certificates bind {}", host.path().display());
    assert_eq!(w.processes.last().mounts, ["/dev/.rondel-ca.crt bind /host/bundle", &extra]);
    let own = w.files(&[("/usr/local/share/ca-certificates/own.crt", "pem")]);
    run(&w, &exec(&own, &["true"])).await;
    assert_eq!(w.processes.last().mounts, ["/dev/.rondel-ca.crt bind /host/bundle"]);
}

#[tokio::test]
async fn authorities_that_images_know_are_given_to_those_without_any() {
    let trust = HostTrust { bundle: Some("/host/bundle".into()), added: false, extra_dir: None };
    let w = world_with(Options { trust, proxies: Vec::new(), watch: None });
    let variables = |w: &World| w.processes.last().env.iter().filter(|(name, _)| name.contains("CA")).count();
    run(&w, &exec(&Fs::scratch(), &["true"])).await;
    assert_eq!(w.processes.last().mounts, ["/dev/.rondel-ca.crt bind /host/bundle"]);
    assert!(variables(&w) > 0);
    for bundle in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"] {
        let image = w.files(&[(bundle, "pem")]);
        run(&w, &exec(&image, &["true"])).await;
        assert_eq!((w.processes.last().mounts.len(), variables(&w)), (0, 0), "{bundle}");
    }
}

#[tokio::test]
async fn who_waits_no_more_stops_the_process() {
    let w = world();
    let mut op = exec(&Fs::scratch(), &["wait"]);
    op.mounts = vec![mount("/c", cache("v", Sharing::Locked))];
    let (ops, cx, waiting) = (w.ops.clone(), w.cx.clone(), Arc::new(op.clone()));
    let task = tokio::spawn(async move { ops.exec(&cx, &waiting).await });
    w.processes.started.notified().await;
    task.abort();
    op.args = vec!["true".into()];
    // The lock of the volume is free only when the first process is gone.
    run(&w, &op).await;
    assert_eq!(w.processes.killed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_limit_that_was_reached_is_told_and_its_result_not_kept() {
    let w = world();
    let mut op = exec(&Fs::scratch(), &["starve", ";", "exit", "3"]);
    let fault = w.ops.exec(&w.cx, &Arc::new(op.clone())).await.unwrap_err();
    let expected = "exit code: 3 (out of memory: its limit is 2.0 GB)";
    assert!(fault.to_string().ends_with(expected) && !fault.hints().is_empty(), "{fault}");
    op.expect = Expect::Any;
    run(&w, &op).await;
    let later = w.restarted();
    run(&later, &op).await;
    assert_eq!(later.processes.count(), 3, "it ran again");
}

#[tokio::test]
async fn an_upstream_failure_is_told_as_it_is() {
    let w = world();
    let failing = exec(&Fs::scratch(), &["exit", "2"]);
    let fault = w.ops.tree(&w.cx, &edit(&output(&failing), write("/x", "y"))).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::User);
    assert!(matches!(fault.detail(), Some(Detail::Exec(failure)) if failure.exit_code == 2));
}

#[tokio::test]
async fn mount_points_are_there_and_never_kept() {
    let w = world();
    let own = w.files(&[("/etc/hosts", "own"), ("/sys -> etc", "")]);
    for (base, args, printed, kept) in [
        (&own, &["cat", "/etc/hosts", ";", "cat", "/sys/hostname"][..], "own", None),
        (&Fs::scratch(), &["cat", "/etc/hostname"], "", None),
        (&Fs::scratch(), &["write", "/proc/seen", "x", ";", "write", "/new", ""], "", Some("new proc/ proc/seen")),
    ] {
        let op = exec(base, args);
        let result = run(&w, &op).await;
        assert_eq!(&*result.stdout, printed, "{args:?}");
        match kept {
            None => assert_eq!(result.rootfs, w.ops.tree(&w.cx, base).await.unwrap(), "{args:?}"),
            Some(names) => assert_eq!(w.names(&output(&op)).await.join(" "), names),
        }
    }
}
