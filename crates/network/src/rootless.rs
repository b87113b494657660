//! Starts the engine of an ordinary user as root of a user namespace of its own.
//!
//! The process forks. The child continues in new user and mount namespaces as uid 0. The parent
//! writes the child's id maps, because only a process outside may, and then only passes on signals
//! and, at the end, the exit status. Each dies with the other. Session, process group and open
//! files are the child's too. The parent closes its files, so that a reader of the engine's output
//! sees the end of it.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::{Command, Stdio};

use rondel_fault::{Attempt, Fault, Result};
use rustix::mount::MountPropagationFlags;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

/// Set to `1` in the environment of an engine that runs in its own user namespace, and of the
/// programs that it starts.
pub const ROOTLESS_MARKER: &str = "RONDEL_ROOTLESS";

const RANGE: u8 = b'r';
const SINGLE: u8 = b's';
const READY: u8 = b'+';

/// The outcome of [`enter_user_namespace`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// Whether subordinate user and group ids are mapped. Without them, files of other users cannot
    /// be created.
    pub mapped_range: bool,
}

/// Continues in a new user namespace and mount namespace, as uid 0.
///
/// Returns in a child of the calling process. The calling process itself never returns: it ends as
/// the child ends. Must be called before the first thread is started.
///
/// # Errors
/// When the process has several threads, or the kernel does not let this user make namespaces.
pub fn enter_user_namespace() -> Result<Entered> {
    if threads()? != 1 {
        return Err(Fault::bug("cannot enter a user namespace: the process has several threads already"));
    }
    let user = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    let (ready_reader, ready_writer) = io::pipe().attempt(|| "make a pipe".to_owned())?;
    let (mapped_reader, mapped_writer) = io::pipe().attempt(|| "make a pipe".to_owned())?;
    let parent = std::process::id();
    let signals = block_signals();
    // SAFETY: the process has one thread, so the child may do everything that the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).attempt(|| "split the process".to_owned()),
        0 => {
            drop((ready_reader, mapped_writer));
            restore_signals(&signals);
            go_on(parent, ready_writer, mapped_reader)
        }
        child => {
            drop((ready_writer, mapped_reader));
            supervise(child, Ids { user, group }, ready_reader, mapped_writer)
        }
    }
}

/// The child's part.
fn go_on(parent: u32, mut ready: PipeWriter, mut mapped: PipeReader) -> Result<Entered> {
    const ATTEMPT: &str = "make a user namespace";
    const HINT: &str = "An administrator can allow it: `sysctl kernel.unprivileged_userns_clone=1`, \
        `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, `user.max_user_namespaces` above 0";
    let refused = |error: io::Error| Fault::environment(format!("cannot {ATTEMPT}")).caused_by(error).with_hint(HINT);
    die_with(parent)?;
    // SAFETY: the process has one thread; no memory or file descriptor stops being shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .map_err(|error| refused(error.into()))?;
    ready.write_all(&[READY]).attempt(|| "tell the parent process to map ids".to_owned())?;
    drop(ready);
    let mut answer = [0];
    mapped.read_exact(&mut answer).map_err(refused)?;
    let mapped_range = answer[0] == RANGE;
    become_root(mapped_range).map_err(refused)?;
    die_with(parent)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| refused(error.into()))?;
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var(ROOTLESS_MARKER, "1") };
    Ok(Entered { mapped_range })
}

fn become_root(mapped_range: bool) -> io::Result<()> {
    let check = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: plain system calls; an empty list needs no memory.
    unsafe {
        if mapped_range {
            check(libc::setgroups(0, std::ptr::null()))?;
        }
        check(libc::setresgid(0, 0, 0))?;
        check(libc::setresuid(0, 0, 0))
    }
}

fn die_with(parent: u32) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io::Error::from)
        .attempt(|| "tie the engine to its parent process".to_owned())?;
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(Fault::cancelled("the parent process is gone"))
    }
}

fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task").attempt(|| "read `/proc/self/task`".to_owned())?.count())
}

#[derive(Clone, Copy)]
struct Ids {
    user: u32,
    group: u32,
}

/// The parent's part.
fn supervise(child: libc::pid_t, ids: Ids, mut ready: PipeReader, mut mapped: PipeWriter) -> ! {
    let mut answer = [0];
    if ready.read_exact(&mut answer).is_ok() {
        let how = if map_range(child, ids) { Some(RANGE) } else { map_single(child, ids).ok().map(|()| SINGLE) };
        if let Some(how) = how {
            let _ = mapped.write_all(&[how]);
        }
    }
    drop((ready, mapped));
    // Not every C library has a function for it.
    // SAFETY: nothing in this process uses a file descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
    let _ = std::env::set_current_dir("/");
    relay(child)
}

/// Maps the subordinate id ranges of this user. Returns `false` when there are none or a step
/// fails.
fn map_range(child: libc::pid_t, ids: Ids) -> bool {
    let name = user_name(ids.user);
    let (users, groups) =
        (sub_ids("/etc/subuid", ids.user, name.as_deref()), sub_ids("/etc/subgid", ids.user, name.as_deref()));
    if users.is_empty() || groups.is_empty() {
        return false;
    }
    run_mapper("newgidmap", child, ids.group, &groups) && run_mapper("newuidmap", child, ids.user, &users)
}

fn run_mapper(program: &str, child: libc::pid_t, own: u32, ranges: &[(u32, u32)]) -> bool {
    let mut command = Command::new(program);
    command.arg(child.to_string()).args(["0".to_owned(), own.to_string(), "1".to_owned()]);
    let mut inside = 1u32;
    for (start, count) in ranges {
        command.args([inside.to_string(), start.to_string(), count.to_string()]);
        inside = inside.saturating_add(*count);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Maps id 0 to this user and nothing else. An existing group map stays.
fn map_single(child: libc::pid_t, ids: Ids) -> io::Result<()> {
    let file = |name: &str| format!("/proc/{child}/{name}");
    if fs::read_to_string(file("gid_map"))?.is_empty() {
        fs::write(file("setgroups"), "deny")?;
        fs::write(file("gid_map"), format!("0 {} 1", ids.group))?;
    }
    fs::write(file("uid_map"), format!("0 {} 1", ids.user))
}

fn sub_ids(path: &str, user: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    parse_sub_ids(&fs::read_to_string(path).unwrap_or_default(), user, name)
}

/// Start and length of each range of a user, who is listed by name or by number.
fn parse_sub_ids(text: &str, user: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let number = user.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0 && (Some(owner) == name || owner == number)).then_some((start, count))
    };
    text.lines().filter_map(range).collect()
}

/// The name of a user: of `/etc/passwd`, or of another source of names that this machine has, which
/// `getent` asks. The C library would load a plug-in for it, and a static binary cannot.
fn user_name(user: u32) -> Option<String> {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in_passwd(&known, user).or_else(|| {
        let mut getent = Command::new("getent");
        getent.args(["passwd", &user.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        name_in_passwd(&String::from_utf8(getent.output().ok()?.stdout).ok()?, user)
    })
}

/// The name of a user in lines of the form of `/etc/passwd`.
fn name_in_passwd(text: &str, user: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user)).then(|| name.to_owned())
    })
}

/// Passes signals on and ends as the child ends.
fn relay(child: libc::pid_t) -> ! {
    // SAFETY: system calls on values of this frame. `_exit` is meant: destructors and buffers
    // belong to the child.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        loop {
            if let Some(status) = ended(child) {
                end_like(status);
            }
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigwaitinfo(&all, &mut info);
            let from_terminal = info.si_code == libc::SI_KERNEL;
            if signal > 0 && signal != libc::SIGCHLD && !from_terminal {
                libc::kill(child, signal);
            }
        }
    }
}

/// Looks whether the child has ended and returns its wait status. When a terminal has stopped the
/// child, this process stops too, so that a shell sees it; the shell continues both. A child that
/// was stopped by itself is also continued by itself, and this process goes on.
fn ended(child: libc::pid_t) -> Option<libc::c_int> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG | libc::WUNTRACED) } {
            0 => return None,
            found if found == child && libc::WIFSTOPPED(status) => {
                if libc::WSTOPSIG(status) == libc::SIGSTOP {
                    continue;
                }
                // SAFETY: plain system calls.
                unsafe {
                    libc::raise(libc::SIGSTOP);
                    libc::kill(child, libc::SIGCONT);
                }
            }
            found if found == child => return Some(status),
            _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            _ => return Some(0),
        }
    }
}

fn end_like(status: libc::c_int) -> ! {
    // SAFETY: system calls on values of this frame. `_exit` is meant: destructors and buffers
    // belong to the child.
    unsafe {
        if !libc::WIFSIGNALED(status) {
            libc::_exit(libc::WEXITSTATUS(status));
        }
        let signal = libc::WTERMSIG(status);
        libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::_exit(128 + signal)
    }
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets live in this frame.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set is valid for the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "other:100000:65536\nann:165536:65536\n1001:300000:10\nann:bad:1\nann:5:0\n\n";
        for (user, name, expected) in [
            (1001, Some("ann"), vec![(165_536, 65_536), (300_000, 10)]),
            (1001, None, vec![(300_000, 10)]),
            (7, Some("bob"), vec![]),
        ] {
            assert_eq!(parse_sub_ids(text, user, name), expected, "{user} {name:?}");
        }
    }

    #[test]
    fn a_user_has_the_name_of_the_first_line_with_the_number() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\n# comment\nann:x:1001:7::/home/ann:/bin/sh\nbob:x:1001:7:::\nlast:x:7";
        for (user, expected) in [(0, Some("root")), (1001, Some("ann")), (7, Some("last")), (8, None)] {
            assert_eq!(name_in_passwd(text, user).as_deref(), expected, "{user}");
        }
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receive.recv());
        assert!(enter_user_namespace().unwrap_err().message().contains("threads"));
        drop(send);
        assert!(other.join().unwrap().is_err());
    }
}

#[cfg(test)]
#[path = "rootless_tests.rs"]
mod process_tests;
