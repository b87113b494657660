//! Control groups on a directory that looks like the kernel's, and the start of a process in a real
//! control group if there is one.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::limits::Limits;

fn values() -> LimitValues {
    let chosen = Limits { cpu_weight: Some(50), ..Limits::default() };
    LimitValues::new(&chosen, 1000, 800)
}

/// A hierarchy in which `a/b` is the engine's group; `a` gives `given` to the groups in it.
fn hierarchy(available: &str, given: &str) -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    let own = top.path().join("a/b");
    fs::create_dir_all(&own).unwrap();
    for (group, given) in [(top.path().to_owned(), available), (top.path().join("a"), given), (own, given)] {
        fs::write(group.join("cgroup.controllers"), available).unwrap();
        fs::write(group.join("cgroup.subtree_control"), given).unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
    }
    top
}

/// The files of a directory with their content.
fn content(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| format!("{} {}", entry.file_name().to_str().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

/// Makes the files that the kernel makes in a new group.
fn with_files(folder: &Path, given: &str) {
    fs::write(folder.join("cgroup.controllers"), given).unwrap();
    fs::write(folder.join("cgroup.subtree_control"), given).unwrap();
}

#[test]
fn a_container_has_its_limits() {
    let top = hierarchy("cpu memory pids", "cpu memory pids");
    let folder = top.path().join("made");
    fs::create_dir(&folder).unwrap();
    let lock = open(&folder).unwrap();
    let groups = Cgroups {
        folder: folder.clone(),
        values: values(),
        controllers: vec!["memory", "pids", "cpu"],
        next: AtomicU64::new(0),
        left: Mutex::default(),
        _lock: lock,
    };
    groups.limit_all().unwrap();
    assert_eq!(content(&folder), ["memory.max 950", "pids.max 700"]);
    let group = groups.container().unwrap();
    assert_eq!(content(&group.path), ["cpu.weight 50", "memory.max 900", "memory.oom.group 1", "pids.max 400"]);
    assert_eq!(group.reached(), None);
    fs::write(group.path.join("memory.events"), "low 0\noom 1\noom_kill 0\n").unwrap();
    fs::write(group.path.join("pids.events"), "max 3\n").unwrap();
    assert_eq!(group.reached(), Some(Limit::Processes(400)));
    fs::write(group.path.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
    assert_eq!(group.reached(), Some(Limit::Memory(900)));
    let inside = groups.of_process("1:name=x:/\n0::/user/made/0/deeper\n").unwrap();
    let same = |one: &OwnedFd, other: &OwnedFd| {
        rustix::fs::fstat(one).unwrap().st_ino == rustix::fs::fstat(other).unwrap().st_ino
    };
    assert!(same(&inside, &group.handle));
    assert!(groups.of_process("0::/elsewhere/0\n").is_none());
}

#[test]
fn the_nearest_group_that_gives_controllers_is_used() {
    let top = hierarchy("memory pids", "");
    // A plain file is replaced by a write. The kernel would add to its content.
    let own = top.path().join("a/b");
    assert_eq!(enable(&own, &["memory", "pids"]).unwrap(), ["memory", "pids"]);
    fs::remove_file(own.join("cgroup.subtree_control")).unwrap();
    fs::create_dir(own.join("cgroup.subtree_control")).unwrap();
    assert!(enable(&own, &["memory"]).is_err(), "what cannot be read gives nothing");
    let reason = Cgroups::below(top.path(), &own, values()).err().unwrap();
    assert!(reason.contains("a/b"), "the nearest place is named: {reason}");
}

#[test]
fn without_controllers_there_is_a_reason() {
    let top = hierarchy("hugetlb cpu", "cpu");
    let reason = Cgroups::below(top.path(), &top.path().join("a/b"), values()).err();
    assert_eq!(reason.as_deref(), Some("control groups of version 2 limit neither memory nor processes here"));
}

#[test]
fn what_a_killed_engine_left_goes() {
    let top = hierarchy("memory", "memory");
    let (held, lock) = own_folder(top.path()).unwrap();
    let left = top.path().join("rondel-1");
    fs::create_dir_all(left.join("7")).unwrap();
    fs::create_dir(top.path().join("other")).unwrap();
    remove_left(top.path());
    assert!(held.exists() && !left.exists() && top.path().join("other").exists());
    drop(lock);
    remove_left(top.path());
    assert!(!held.exists());
}

#[test]
fn the_place_is_read_from_the_mounts() {
    let mounts =
        "21 1 0:2 / /proc rw - proc proc rw\n30 21 0:5 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
    let found = place(mounts, "3:pids:/x\n0::/user.slice/a.scope\n").unwrap();
    assert_eq!(found, ("/sys/fs/cgroup".into(), "/sys/fs/cgroup/user.slice/a.scope".into()));
    let bound = "30 21 0:5 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    assert_eq!(place(bound, "0::/docker/1\n").unwrap().1, Path::new("/sys/fs/cgroup"));
    assert_eq!(place("1 1 0:2 / / rw - ext4 x rw\n", "0::/\n"), None);
    assert_eq!(place(mounts, "3:pids:/x\n"), None);
}

#[test]
fn groups_of_the_engines_own_are_complete() {
    let top = hierarchy("memory pids", "memory pids");
    let own = top.path().join("a/b");
    // The kernel fills a new group at once. Here the test fills the directory before it is read
    // again.
    let (folder, _lock) = own_folder(&own).unwrap();
    with_files(&folder, "memory pids");
    assert_eq!(enable(&folder, &["memory", "pids"]).unwrap(), ["memory", "pids"]);
}

/// Runs `cat /proc/self/cgroup` on the host in a group of the machine, when this may make one.
#[test]
fn a_process_starts_in_its_group() {
    use std::io::Read;

    use crate::child::{Plan, Stacks, Strings};
    use crate::sealed_program::SealedProgram;
    use crate::steps::{Action, Step};

    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let Some((_, place)) = place(&mounts, &own) else { return };
    if !child::starts_in_cgroups() {
        return;
    }
    let Ok((folder, _lock)) = own_folder(&place) else { return };
    let group = open(&folder).unwrap();
    let (sealed, _report) = SealedProgram::new().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    let (cat, path) = (c"/bin/cat".to_owned(), c"/proc/self/cgroup".to_owned());
    let plan = Plan {
        namespaces: 0,
        cgroup: Some(group.as_raw_fd()),
        setup: vec![Step::required(Action::ClearCloseOnExec(sealed.writer()))],
        slots: Vec::new(),
        filter: Vec::new(),
        program: sealed.program(),
        init: None,
        command: vec![
            Step::required(Action::SetStandardStream { from: writer.as_raw_fd(), to: 1 }),
            Step::required(Action::UnblockSignals),
        ],
        args: sealed.arguments(c"0", std::slice::from_ref(&cat), vec![cat.clone(), path]),
        env: Strings::new(Vec::new()),
        failure: child::ChildFailure::default(),
        borrower: std::sync::atomic::AtomicI32::new(0),
    };
    let handle = crate::kill_handle::KillHandle::default();
    let pid = child::spawn(&plan, &mut Stacks::default(), &handle);
    drop((writer, sealed));
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    // SAFETY: the kernel opened the descriptor in `spawn`; it is closed by `close` below only.
    crate::output::wait(unsafe { std::os::fd::BorrowedFd::borrow_raw(handle.pidfd()) }).unwrap();
    handle.close();
    remove(&folder).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    assert!(pid.is_ok_and(|pid| pid > 0) && printed.contains(name), "{printed}");
}
