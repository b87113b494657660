//! What a container is, seen from inside it and from outside.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

use rondel_fault::Kind;
use rondel_ports::CancellationToken;
use rondel_ports::process::{Exit, ProcessMountSource, ProcessStdin, Processes};
use rondel_sandbox::{Sandbox, SandboxOptions};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use support::{Root, block_on, is_root, mount, output_of, processes_with, run, sandbox, sink};
use tokio::sync::oneshot;

const HELPER: &str = "RONDEL_SANDBOX_TEST_MARKER";

#[test]
fn exit_codes_and_signals() {
    let sandbox = sandbox();
    let root = Root::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
        ("kill -11 $$", 139),
    ] {
        for no_init in [false, true] {
            let mut spec = root.script(script);
            spec.no_init = no_init;
            // The kernel protects a pid 1 from signals of its own namespace.
            let code = if no_init && code > 128 && script.starts_with("kill") { 0 } else { code };
            assert_eq!(run(&sandbox, spec).unwrap().code, code, "{script}, no init: {no_init}");
        }
    }
}

#[test]
fn output_comes_live_and_complete() {
    let sandbox = sandbox();
    let root = Root::new();
    let outcome = run(&sandbox, root.script("echo out; echo err >&2; echo again")).unwrap();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\nagain\n", "err\n"));
    let outcome =
        run(&sandbox, root.script("yes 0123456789abcde | head -c 33554432; yes e | head -c 1048576 >&2")).unwrap();
    assert_eq!((outcome.code, outcome.stdout.len(), outcome.stderr.len()), (0, 33_554_432, 1_048_576));
}

#[test]
fn output_arrives_before_the_end() {
    let (sandbox, root) = (sandbox(), Root::new());
    let mut spec = root.script("echo first; sleep 1000");
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    spec.stdout = Box::new(move |bytes| {
        sender.take().map(|sender| sender.send(bytes.to_vec()));
    });
    let cancel = CancellationToken::new();
    block_on(async {
        let run = sandbox.run(spec, cancel.clone());
        let first = async {
            assert_eq!(receiver.await.unwrap(), b"first\n");
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(run, first);
        assert_eq!(outcome.map_err(|fault| fault.kind()), Err(Kind::Cancelled));
    });
}

#[test]
fn background_processes_do_not_hold_the_output() {
    assert_eq!(output_of("sleep 1000 & setsid sleep 1000 & echo done", |_, _| {}), "done\n");
}

#[test]
fn standard_input() {
    assert_eq!(output_of("wc -c", |_, _| {}), "0\n");
    let large = vec![b'x'; 3 << 20];
    assert_eq!(output_of("wc -c", |_, spec| spec.stdin = ProcessStdin::Bytes(large)), "3145728\n");
    assert_eq!(output_of("cat", |_, spec| spec.stdin = ProcessStdin::Bytes(b"text".to_vec())), "text");
    assert_eq!(
        output_of("cat /dev/stdin; echo > /dev/stdout", |_, spec| {
            spec.stdin = ProcessStdin::Bytes(b"mine".to_vec());
            spec.user = "web".into();
        }),
        "mine\n"
    );
    let content = || ProcessMountSource::Content { bytes: b"mounted".to_vec(), mode: 0o644, owner: String::new() };
    for path in ["/data/in", "in"] {
        let text = output_of("cat", |_, spec| {
            spec.stdin = ProcessStdin::Path(path.into());
            spec.workdir = "/data".into();
            spec.mounts.push(mount("/data/in", content()));
        });
        assert_eq!(text, "mounted");
    }
    let root = Root::new();
    let mut spec = root.script("cat");
    spec.stdin = ProcessStdin::Path("/none".into());
    let fault = run(&sandbox(), spec).unwrap_err();
    assert_eq!(fault.to_string(), "cannot open `/none` as standard input: No such file or directory (os error 2)");
    assert_eq!(fault.kind(), Kind::User);
}

#[test]
fn users() {
    let all = "uid=33(web) gid=34(web) groups=4(log),8(mail),34(web)";
    for (user, id, home) in [
        ("", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
        ("root", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
        ("web", all, "/home/web"),
        ("33", all, "/home/web"),
        ("web:mail", "uid=33(web) gid=8(mail) groups=8(mail)", "/home/web"),
        ("1234", "uid=1234 gid=0(root) groups=0(root)", "/"),
        ("1234:567", "uid=1234 gid=567 groups=567", "/"),
    ] {
        let printed = output_of("id; echo $HOME", |_, spec| spec.user = user.into());
        let (found, found_home) = printed.trim().split_once('\n').unwrap();
        assert_eq!(found_home, home, "`{user}`");
        assert!(found.starts_with(id), "`{user}` is {found}");
    }
    let text = output_of("echo $HOME", |_, spec| spec.env.push(("HOME".into(), "/mine".into())));
    assert_eq!(text, "/mine\n");
}

#[test]
fn wrong_descriptions_are_refused_by_name() {
    type Change = fn(&mut rondel_ports::process::ProcessSpec);
    let cases: &[(&[&str], Change, &str)] = &[
        (&["nothing-here"], |_| {}, "exec: \"nothing-here\": executable file not found in $PATH"),
        (&["/bin/none"], |_| {}, "exec: \"/bin/none\": no such file or directory"),
        (&["/etc/passwd"], |_| {}, "exec: \"/etc/passwd\": permission denied"),
        (&["/script"], |_| {}, "exec: \"/script\": its interpreter `/bin/bash` does not exist in the container"),
        (
            &["script"],
            |spec| spec.env[0].1 = "/:/bin".into(),
            "exec: \"//script\": its interpreter `/bin/bash` does not exist in the container",
        ),
        (&["/noise"], |_| {}, "exec: \"/noise\": exec format error"),
        (&["true"], |spec| spec.env[0].1 = "/none".into(), "exec: \"true\": executable file not found in $PATH"),
        (
            &["true"],
            |spec| spec.user = "who".into(),
            "unable to find user `who`: it is not in `/etc/passwd` of the container",
        ),
        (
            &["true"],
            |spec| spec.workdir = "/etc/passwd".into(),
            "cannot use `/etc/passwd` as working directory: it is a file",
        ),
        (&["tr\0ue"], |_| {}, "the program has a zero byte at 2"),
        (&["true", "a\0"], |_| {}, "an argument has a zero byte at 1"),
        (&[], |_| {}, "cannot run a command without a program"),
        (
            &["true"],
            |spec| spec.hostname = "a b".into(),
            "cannot set the host name \"a b\": it has characters that no host name has",
        ),
        (
            &["true"],
            |spec| {
                spec.mounts.push(mount(
                    "/etc",
                    ProcessMountSource::Content { bytes: vec![], mode: 0o600, owner: String::new() },
                ))
            },
            "cannot mount `/etc` in the container: cannot mount a file on `/etc`: a directory is there",
        ),
        (
            &["true"],
            |spec| {
                spec.mounts
                    .push(mount("/x", ProcessMountSource::Content { bytes: vec![], mode: 0o600, owner: "who".into() }))
            },
            "cannot mount `/x` in the container: unable to find user `who`: it is not in `/etc/passwd` of the container",
        ),
    ];
    let sandbox = sandbox();
    for (args, change, message) in cases {
        let root = Root::new();
        for (name, text) in [("script", "#!/bin/bash\n"), ("noise", "noise")] {
            fs::write(root.lower().join(name), text).unwrap();
            fs::set_permissions(root.lower().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut spec = root.spec(args);
        change(&mut spec);
        let fault = run(&sandbox, spec).unwrap_err();
        assert_eq!((fault.to_string().as_str(), fault.kind()), (*message, Kind::User));
        assert_eq!(root.changes(), [""; 0], "{message}");
    }
}

#[test]
fn the_working_directory_is_made_for_the_user() {
    let text = output_of("echo $PWD; stat -c '%u:%g' . ..", |_, spec| {
        spec.workdir = "/made/here".into();
        spec.user = "web".into();
    });
    assert_eq!(text, "/made/here\n33:34\n33:34\n");
    assert_eq!(output_of("pwd", |_, spec| spec.workdir = "/home/web".into()), "/home/web\n");
}

#[test]
fn capabilities() {
    let script = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t'";
    let none = "0000000000000000";
    let default = "00000000a80425fb";
    let text = output_of(script, |_, _| {});
    assert_eq!(text, format!("CapInh:{none}\nCapPrm:{default}\nCapEff:{default}\nCapBnd:{default}\nCapAmb:{none}\n"));
    let text = output_of(script, |_, spec| spec.user = "web".into());
    assert_eq!(text, format!("CapInh:{none}\nCapPrm:{none}\nCapEff:{none}\nCapBnd:{default}\nCapAmb:{none}\n"));
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let permitted = own.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
    for (user, no_init) in [("", false), ("web", false), ("web", true)] {
        let text = output_of(script, |_, spec| {
            spec.insecure = true;
            spec.no_init = no_init;
            spec.user = user.into();
        });
        let all = ["Inh", "Prm", "Eff"].map(|set| format!("Cap{set}:{permitted}\n")).concat();
        assert_eq!(text, format!("{all}CapBnd:{bounding}\nCapAmb:{permitted}\n"), "user `{user}`");
    }
    assert!(output_of("grep CapEff /proc/1/status", |_, _| {}).contains(default), "pid 1 has no more than the command");
}

#[test]
fn containers_die_before_the_engine() {
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let expected = (own + 500).min(1000);
    let script = "cat /proc/1/oom_score_adj /proc/self/oom_score_adj";
    for user in ["", "web"] {
        let text = output_of(script, |_, spec| spec.user = user.into());
        assert_eq!(text, format!("{expected}\n{expected}\n"), "user `{user}`");
    }
    assert_eq!(fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(), own.to_string());
}

#[test]
fn limits_of_processes_and_files() {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let lower = rustix::process::Rlimit { current: Some(512), maximum: own.maximum };
    let limits = rondel_sandbox::Limits {
        memory: Some(rondel_ports::cache::Size::Bytes(1 << 30)),
        processes: Some(1000),
        ..Default::default()
    };
    let sandbox =
        Sandbox::new(SandboxOptions { limits, open_files: Some(lower), ..SandboxOptions::default() }).unwrap();
    let root = Root::new();
    let script = "ulimit -Sn; cat /sys/fs/cgroup/pids.max 2>/dev/null || ulimit -u; cat /sys/fs/cgroup/memory.max 2>/dev/null || ulimit -d";
    let outcome = run(&sandbox, root.script(script)).unwrap();
    // In control groups the memory is in bytes, and else in units of 1024.
    assert!(["512\n1000\n1073741824\n", "512\n1000\n1048576\n"].contains(&outcome.stdout.as_str()), "{outcome:?}");
    let grab = "dd if=/dev/zero of=/dev/null bs=2000M count=1";
    assert_ne!(run(&sandbox, root.script(grab)).unwrap().code, 0, "more memory than allowed");
}

#[test]
fn the_filter_refuses() {
    let script = "grep -E '^Seccomp:' /proc/self/status; mkdir -p /tmp/m; mount -t tmpfs none /tmp/m 2>&1; unshare -U true 2>&1; echo > /proc/sys/kernel/hostname";
    let root = Root::new();
    let outcome = run(&sandbox(), root.script(script)).unwrap();
    assert!(outcome.stdout.starts_with("Seccomp:\t2\n"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("mount: permission denied"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("unshare: unshare(0x10000000): Operation not permitted"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    let text = output_of(
        "grep -E '^Seccomp:' /proc/self/status; mount -t tmpfs none /tmp; echo 1 > /tmp/x; cat /tmp/x",
        |_, spec| spec.insecure = true,
    );
    assert_eq!(text, "Seccomp:\t0\n1\n");
}

#[test]
fn kernel_files_are_masked() {
    let script = "for f in kcore keys timer_list; do test -e /proc/$f && cat /proc/$f; done; ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | tr -d '\\n'; \
                  for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/x /proc/irq/x; do (echo x > $f) 2>/dev/null && echo wrote $f; done; true";
    assert_eq!(output_of(script, |_, _| {}), "");
}

#[test]
fn devices() {
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; head -c 4 /dev/zero | wc -c; \
                  echo x > /dev/null; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x > /dev/shm/x; ls -d /dev/pts /dev/mqueue; \
                  test -b /dev/sda -o -b /dev/vda && echo disk; true";
    let expected =
        "4\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/dev/mqueue\n/dev/pts\n";
    assert_eq!(output_of(script, |_, _| {}), expected);
    let text = output_of("ls /dev | wc -l", |_, spec| spec.insecure = true);
    assert!(text.trim().parse::<usize>().unwrap() > 15, "{text}");
}

#[test]
fn init_is_pid_1_and_reaps() {
    let text =
        output_of("echo $$; head -c 6 /proc/1/cmdline; echo; cat /proc/1/comm; readlink /proc/1/fd/1", |_, _| {});
    assert_eq!(text, "2\n/.init\n.init\n/dev/null\n");
    let script = "i=0; while [ $i -lt 20 ]; do (sh -c 'true & exec true' &) ; i=$((i+1)); done; \
                  until [ \"$(grep -l '^PPid:.1$' /proc/[0-9]*/status 2>/dev/null | wc -l)\" = 1 ]; do :; done; grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    assert_eq!(output_of(script, |_, _| {}), "0\n");
    assert_eq!(output_of("echo $$", |_, spec| spec.no_init = true), "1\n");
    let root = Root::new();
    let outcome =
        run(&sandbox(), root.script("trap 'echo told; exit 7' TERM; kill -TERM 1; while :; do :; done")).unwrap();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (7, "told\n"));
}

#[test]
fn a_run_that_changes_nothing_leaves_nothing() {
    let root = Root::new();
    for directory in ["proc", "sys", "dev"] {
        fs::remove_dir(root.lower().join(directory)).unwrap();
    }
    let volume = tempfile::tempdir().unwrap();
    let before = fs::metadata(volume.path()).unwrap().modified().unwrap();
    let mut spec = root.script("cat /etc/hosts /etc/resolv.conf /a/b/c /volume/x/y");
    spec.resolv_conf = Some("nameserver 10.0.0.1\n".into());
    let content = || ProcessMountSource::Content { bytes: b"c\n".to_vec(), mode: 0o444, owner: "web".into() };
    spec.mounts.push(mount("/a/b/c", content()));
    spec.mounts.push(mount("/volume", ProcessMountSource::Bind { path: volume.path().into(), read_only: false }));
    spec.mounts.push(mount("/volume/x/y", content()));
    spec.mounts.push(mount("/scratch", ProcessMountSource::Temp { size: None }));
    spec.hosts.push(([10, 0, 0, 2].into(), "friend".into()));
    let outcome = run(&sandbox(), spec).unwrap();
    assert_eq!(outcome.stderr, "");
    assert_eq!(
        outcome.stdout,
        "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.2\tfriend\nnameserver 10.0.0.1\nc\nc\n"
    );
    assert_eq!(root.changes(), [""; 0]);
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0);
    assert_eq!(fs::metadata(volume.path()).unwrap().modified().unwrap(), before);
    run(&sandbox(), root.script("mkdir /new; echo x > /etc/new")).unwrap();
    assert_eq!(root.changes(), ["etc", "etc/new", "new"]);
}

#[test]
fn names() {
    assert_eq!(
        output_of("hostname; cat /etc/hostname", |_, spec| spec.hostname = "some.name".into()),
        "some.name\nsome.name\n"
    );
    let text =
        output_of("cat /etc/resolv.conf", |root, _| fs::write(root.lower().join("etc/resolv.conf"), "own\n").unwrap());
    assert_eq!(text, "own\n");
    let text = output_of("cat /etc/resolv.conf", |root, spec| {
        symlink("../run/systemd/resolve/stub-resolv.conf", root.lower().join("etc/resolv.conf")).unwrap();
        spec.resolv_conf = Some("ours\n".into());
    });
    assert_eq!(text, "ours\n");
}

#[test]
fn masks_cannot_be_turned_around() {
    let probe = "for p in /proc /realproc; do for f in $p/keys $p/kcore; do test -s $f && echo $f has a content; done; \
                 (: >> $p/sys/kernel/core_pattern) 2>/tmp/said && echo $p/sys is writable; done; true";
    // A `/dev` of the user in which what hides a file is a link to one of the kernel's settings.
    let text = output_of(probe, |root, spec| {
        let dev = root.lower().join("own-dev");
        fs::create_dir(&dev).unwrap();
        symlink("/proc/sys/kernel/core_pattern", dev.join("null")).unwrap();
        spec.mounts.push(mount("/dev", ProcessMountSource::Bind { path: dev, read_only: false }));
    });
    assert_eq!(text, "");
    // A `/proc` that is a link, through a directory that is mounted over afterwards.
    let text = output_of(probe, |root, spec| {
        let lower = root.lower();
        for folder in ["d", "realproc", "fake/p/sys/kernel"] {
            fs::create_dir_all(lower.join(folder)).unwrap();
        }
        fs::remove_dir(lower.join("proc")).unwrap();
        symlink("/d/p", lower.join("proc")).unwrap();
        symlink("/realproc", lower.join("d/p")).unwrap();
        spec.mounts.push(mount("/d", ProcessMountSource::Bind { path: lower.join("fake"), read_only: true }));
    });
    assert_eq!(text, "");
    let root = Root::new();
    let mut spec = root.script("true");
    spec.mounts.push(mount("/proc/self/fd/9", ProcessMountSource::Temp { size: None }));
    let fault = run(&sandbox(), spec).unwrap_err();
    assert!(fault.full_message().contains("cannot mount on `/proc/self/fd/9`: it is inside of `/proc`"), "{fault:?}");
}

#[test]
fn files_of_the_engine_are_out_of_reach() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("canary"), "of the host").unwrap();
    let file = fs::File::open(host.path().join("canary")).unwrap();
    let directory = fs::File::open(host.path()).unwrap();
    let (sandbox, root) = (sandbox(), Root::new());
    let links = |number: i32| ["self", "1", "thread-self"].map(|who| format!("/proc/{who}/fd/{number}"));
    let numbers = [std::os::fd::AsRawFd::as_raw_fd(&file), std::os::fd::AsRawFd::as_raw_fd(&directory)];
    let paths = numbers.into_iter().flat_map(links).chain(["/proc/self/exe".to_owned(), "/link".to_owned()]);
    symlink(format!("/proc/self/fd/{}", numbers[1]), root.lower().join("link")).unwrap();
    for path in paths {
        for no_init in [false, true] {
            let mut as_input = root.script("cat");
            (as_input.stdin, as_input.no_init) = (ProcessStdin::Path(path.clone()), no_init);
            let mut as_directory = root.script("cat canary ../canary");
            (as_directory.workdir, as_directory.no_init) = (path.clone(), no_init);
            let mut as_program = root.spec(&[&path]);
            as_program.no_init = no_init;
            for spec in [as_input, as_directory, as_program] {
                assert!(run(&sandbox, spec).is_err(), "`{path}` was reached, no init: {no_init}");
            }
        }
    }
}

#[test]
fn only_given_devices_work_and_nobody_changes_them() {
    // To what they are anyway: a failure of this test must not harm the machine.
    let script = "for d in full null; do chmod 666 /dev/$d 2>/dev/null && echo changed $d; done; chmod 666 /proc/self/fd/0 2>/dev/null && echo changed stdin; \
                  for place in / /dev/ /bind/; do mknod ${place}zero2 c 1 5 2>/dev/null; (head -c 1 ${place}zero2 >/dev/null) 2>/dev/null && echo $place works; \
                  rm -f ${place}zero2; done; echo x > /dev/null; head -c 2 /dev/zero | wc -c";
    let host = tempfile::tempdir().unwrap();
    let text = output_of(script, |root, spec| {
        for name in ["mknod", "head", "rm"] {
            let link = root.lower().join("bin").join(name);
            if !link.is_symlink() {
                symlink("busybox", link).unwrap();
            }
        }
        spec.mounts.push(mount("/bind", ProcessMountSource::Bind { path: host.path().into(), read_only: false }));
    });
    assert_eq!(text, "2\n");
}

#[test]
fn nobody_in_a_container_sees_a_process_with_the_engines_memory() {
    let (sandbox, root) = (sandbox(), Root::new());
    // Stops whatever appears beside itself, and looks at what it runs, which takes the same permission as its memory.
    let spy = "me=$$; echo ready; while :; do for p in /proc/[0-9]*; do n=${p#/proc/}; test $n = 1 -o $n = $me && continue; \
               kill -STOP $n 2>/dev/null || continue; e=$(readlink $p/exe 2>/dev/null); case \"$e\" in ''|/bin/busybox) ;; *) echo saw $e;; esac; \
               kill -CONT $n; done; done";
    let mut spec = root.script(spy);
    let (output, received) = sink();
    let (sender, started) = oneshot::channel();
    let (_signals, signals) = tokio::sync::mpsc::unbounded_channel();
    spec.stdout = output;
    spec.control = Some(rondel_ports::process::ProcessControl { started: sender, signals });
    let cancel = CancellationToken::new();
    block_on(async {
        let running = sandbox.run(spec, cancel.clone());
        let checks = async {
            let entrance = started.await.unwrap();
            for _ in 0..60 {
                let check = rondel_ports::process::CommandSpec {
                    args: vec!["true".into()],
                    env: vec![("PATH".into(), support::PATH.into())],
                    workdir: "/".into(),
                    user: String::new(),
                    insecure: false,
                    stdin: ProcessStdin::Empty,
                    stdout: Box::new(|_| {}),
                    stderr: Box::new(|_| {}),
                };
                let limit = std::time::Duration::from_secs(20);
                // A check that stays stopped is killed with the container.
                if tokio::time::timeout(limit, sandbox.enter(entrance.clone(), check, CancellationToken::new()))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            cancel.cancel();
        };
        let _ = tokio::join!(running, checks);
    });
    let seen = String::from_utf8_lossy(&received.lock().unwrap()).into_owned();
    // The program that starts commands is not the engine.
    let others: Vec<&str> = seen.lines().filter(|line| *line != "saw /memfd:.init (deleted)").collect();
    assert_eq!(others, ["ready"]);
}

#[test]
fn mounts_of_every_kind() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "host\n").unwrap();
    let detached = || {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(rustix::fs::CWD, host.path(), flags).unwrap()
    };
    let bind = |path: &str, read_only| ProcessMountSource::Bind { path: host.path().join(path), read_only };
    let script = "cat /bind/file /ro/file /one /detached/file; echo new > /bind/made; cat /detached/made; \
                  for d in /ro /detached-ro; do (echo x > $d/no) 2>/dev/null && echo wrote; done; (echo x > /one) 2>/dev/null && echo wrote; \
                  echo t > /temp/t; cat /temp/t; dd if=/dev/zero of=/temp/big bs=1024 count=200 2>/dev/null || echo full; \
                  stat -c '%a %u %g %s' /secret /bind/nested; cat /secret; cat /dev/shm/deep/x; cat /bind/nested";
    let content =
        |text: &str, mode, owner: &str| ProcessMountSource::Content { bytes: text.into(), mode, owner: owner.into() };
    let text = output_of(script, |_, spec| {
        spec.mounts = vec![
            mount("/bind", bind("", false)),
            mount("/ro", bind("", true)),
            mount("/one", bind("file", true)),
            mount("/detached", ProcessMountSource::Detached { mount: detached(), read_only: false }),
            mount("/detached-ro", ProcessMountSource::Detached { mount: detached(), read_only: true }),
            mount("/temp", ProcessMountSource::Temp { size: Some(128 * 1024) }),
            mount("/secret", content("hush\n", 0o400, "web:mail")),
            mount("/dev/shm/deep/x", content("x\n", 0o444, "")),
            mount("/bind/nested", content("n\n", 0o644, "")),
        ];
    });
    assert_eq!(text, "host\nhost\nhost\nhost\nnew\nt\nfull\n400 33 8 5\n644 0 0 2\nhush\nx\nn\n");
    assert_eq!(fs::read_to_string(host.path().join("made")).unwrap(), "new\n");
    assert!(!host.path().join("nested").exists());
}

#[test]
fn mount_targets_stay_inside() {
    for target in ["/target/x", "/up/x", "/target/../target/x"] {
        let text = output_of("cat /etc/x /target/x", |root, spec| {
            symlink("/etc", root.lower().join("target")).unwrap();
            symlink("../../../../../etc", root.lower().join("up")).unwrap();
            spec.mounts.push(mount(
                target,
                ProcessMountSource::Content { bytes: b"in\n".to_vec(), mode: 0o644, owner: String::new() },
            ));
        });
        assert_eq!(text, "in\nin\n");
        assert!(!std::path::Path::new("/etc/x").exists());
    }
}

#[test]
fn the_network_is_its_own() {
    let text = output_of("ls /sys/class/net; ip addr show lo | grep -c 'UP,LOWER_UP'", |_, _| {});
    assert!(text.lines().any(|line| line == "lo") && text.ends_with("1\n") && !text.contains("eth"), "{text}");
}

#[test]
fn nothing_of_the_host_leaks() {
    let text = output_of("ls /proc/self/fd | wc -l; set -- /proc/[0-9]*; echo $#; env | sort", |_, _| {});
    // 0, 1, 2 and the descriptor of `ls` itself; init and the shell.
    assert_eq!(text, "4\n2\nHOME=/root\nPATH=/bin:/sbin\nPWD=/\nSHLVL=1\n");
    let text = output_of("cat /proc/self/mountinfo | grep -c -v -E ' /(proc|sys|dev|etc)?' || true", |_, _| {});
    assert_eq!(text, "0\n");
}

#[test]
fn cancellation_kills_everything() {
    let (sandbox, root) = (sandbox(), Root::new());
    let marker = format!("86400.{}1", std::process::id());
    for drop_it in [false, true] {
        let mut spec = root.script(&format!("(setsid sleep {marker} &) ; trap '' TERM; echo up; sleep {marker}"));
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        spec.stdout = Box::new(move |_| {
            sender.take().map(|sender| sender.send(()));
        });
        let cancel = CancellationToken::new();
        let pids = block_on(async {
            let mut run = sandbox.run(spec, cancel.clone());
            tokio::select! {
                _ = &mut run => panic!("it ended early"),
                up = receiver => up.unwrap(),
            }
            let pids = processes_with(&marker);
            if drop_it {
                let handles: Vec<_> =
                    pids.iter().filter_map(|pid| pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()).collect();
                drop(run);
                handles.iter().for_each(wait_for_end);
            } else {
                cancel.cancel();
                assert_eq!(run.await.map_err(|fault| fault.kind()), Err(Kind::Cancelled));
            }
            pids
        });
        assert!(!pids.is_empty());
        assert_eq!(processes_with(&marker), [0; 0]);
    }
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert_eq!(
        block_on(sandbox.run(root.script("true"), cancelled)).map_err(|fault| fault.kind()),
        Err(Kind::Cancelled)
    );
}

fn wait_for_end(process: &std::os::fd::OwnedFd) {
    let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ended, 1, "the process lives on");
}

#[test]
fn a_cancelled_start_ends() {
    let (sandbox, root) = (sandbox(), Root::new());
    fs::write(root.lower().join("etc/marker"), "").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.lower().join("fifo"), rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    let mut spec = root.script("cat");
    spec.stdin = ProcessStdin::Path("/fifo".into());
    let cancel = CancellationToken::new();
    // Opening the pipe blocks until somebody writes, and nobody will.
    let outcome = block_on(async {
        let run = sandbox.run(spec, cancel.clone());
        tokio::join!(run, async { cancel.cancel() }).0
    });
    assert_eq!(outcome.map_err(|fault| fault.kind()), Err(Kind::Cancelled));
}

#[test]
fn many_at_once() {
    let (sandbox, root) = (sandbox(), Root::new());
    let roots: Vec<Root> = (0..50).map(|_| Root::new()).collect();
    let expected: Vec<i32> = (0..50).collect();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let threads: Vec<_> = roots
            .iter()
            .enumerate()
            .map(|(code, root)| {
                let sandbox = &sandbox;
                scope.spawn(move || run(sandbox, root.script(&format!("exit {code}"))).unwrap().code)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(codes, expected);
    drop(root);
}

#[test]
fn a_killed_engine_leaves_no_process() {
    let marker = format!("86400.{}2", std::process::id());
    // What the helper cannot remove any more goes with this.
    let home = tempfile::tempdir().unwrap();
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_that_runs_a_container", "--nocapture"])
        .env(HELPER, &marker)
        .env("TMPDIR", home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("container is up")));
    // A process that is just executing its program has no command line for a moment.
    let found = (0..1000).find_map(|_| {
        let found = processes_with(&marker);
        if found.len() >= 4 {
            return Some(found);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        None
    });
    let found = found.expect("two containers of two processes each");
    let handles: Vec<_> =
        found.iter().map(|pid| pidfd_open(Pid::from_raw(*pid).unwrap(), PidfdFlags::empty()).unwrap()).collect();
    helper.kill().unwrap();
    helper.wait().unwrap();
    handles.iter().for_each(wait_for_end);
    assert_eq!(processes_with(&marker), [0; 0]);
    sandbox().clean_up().unwrap();
}

/// Does nothing, except for the test above, which starts it as a process of its own.
#[test]
fn helper_that_runs_a_container() {
    let Ok(marker) = std::env::var(HELPER) else { return };
    let (sandbox, root, other) = (sandbox(), Root::new(), Root::new());
    let start = |root: &Root, no_init| {
        let mut spec = root.script(&format!("sleep {marker} & echo up; wait; sleep {marker}"));
        spec.no_init = no_init;
        let (sink, _) = sink();
        spec.stderr = sink;
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        spec.stdout = Box::new(move |_| {
            sender.take().map(|sender| sender.send(()));
        });
        (spec, receiver)
    };
    let ((first, first_up), (second, second_up)) = (start(&root, false), start(&other, true));
    block_on(async {
        let up = async {
            first_up.await.unwrap();
            second_up.await.unwrap();
            use std::io::Write;
            std::io::stdout().write_all(b"\ncontainer is up\n").unwrap();
        };
        let (first, second, ()) = tokio::join!(
            sandbox.run(first, CancellationToken::new()),
            sandbox.run(second, CancellationToken::new()),
            up
        );
        assert_eq!((first.unwrap(), second.unwrap()), (Exit { code: 0, limit: None }, Exit { code: 0, limit: None }));
    });
}

#[test]
fn a_given_network_is_entered() {
    let namespace = std::sync::Arc::new(std::os::fd::OwnedFd::from(fs::File::open("/proc/self/ns/net").unwrap()));
    let inode = rustix::fs::fstat(&*namespace).unwrap().st_ino;
    if is_root() {
        let text = output_of("readlink /proc/self/ns/net", |_, spec| spec.network = Some(namespace));
        assert_eq!(text, format!("net:[{inode}]\n"));
    } else {
        // The namespace of the host is not the user's; one made in the user namespace of the tests would be.
        let root = Root::new();
        let mut spec = root.script("true");
        spec.network = Some(namespace);
        let owned = run(&sandbox(), spec).map(|outcome| outcome.code).map_err(|fault| fault.message().to_owned());
        assert!(
            owned == Ok(0) || owned == Err("cannot enter the network namespace of the container".into()),
            "{owned:?}"
        );
    }
}

#[test]
fn unmapped_users_are_told() {
    if is_root() {
        return;
    }
    let root = Root::new();
    let mut spec = root.script("true");
    spec.user = "4000000000".into();
    let fault = run(&sandbox(), spec).unwrap_err();
    assert!(fault.to_string().contains("user 4000000000 is not mapped"), "{fault}");
    assert!(fs::metadata("/").unwrap().uid() != 0);
}
