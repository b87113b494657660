//! Starts a further process in a running container, as `docker exec` does.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicI32;

use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::process::{CommandSpec, Entrance, Exit, ProcessStdin};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::child::{self, Plan, Stacks, Stage, Strings};
use crate::host::Host;
use crate::kill_handle::KillHandle;
use crate::output::Ended;
use crate::program::{c_string, candidates, environment, not_started, refusal};
use crate::run::{ProcessStart, hand_over, on_terminal, refused, start_steps, streams};
use crate::sealed_program::SealedProgram;
use crate::steps::{Action, Step};
use crate::{output, terminal, users};

/// The most bytes of an account file that are read.
const ACCOUNT_FILE_LIMIT: u64 = 1 << 20;

/// Runs a command in a container to its end.
///
/// # Errors
/// When the container has ended, the description is wrong, or the kernel refuses.
pub(crate) fn run(
    host: &Host,
    entrance: &Entrance,
    spec: CommandSpec,
    handle: &KillHandle,
    stacks: &mut Stacks,
) -> Result<Exit> {
    let CommandSpec { args, mut env, workdir, user, insecure, mut stdin, stdout, stderr } = spec;
    let program = args.first().cloned().ok_or_else(|| Fault::user("cannot run a command without a program"))?;
    let root = root_of(entrance)?;
    let identity = users::find(&user, &text(&root, "etc/passwd")?, &text(&root, "etc/group")?)?;
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), identity.home.clone()));
    }
    let mut given = Vec::new();
    let terminal = match &stdin {
        ProcessStdin::Terminal(asked) => Some(terminal::further(&root, asked)?),
        _ => None,
    };
    let slave = terminal.map(|(master, slave)| {
        hand_over(&mut stdin, master);
        slave
    });
    let (streams, input, mut command) = streams(host, &identity, stdin, [stdout, stderr], &mut given)?;
    if let Some(slave) = slave {
        command = on_terminal(&slave, &identity)?;
        given.push(slave);
    }
    let (sealed, report) = SealedProgram::new()?;
    let start = ProcessStart { directory: c_string(workdir, "the working directory")?, input, bound: true, insecure };
    command.extend(start_steps(host, &sealed, &identity, start));
    let candidates = candidates(&program, &env)?;
    let args = args.into_iter().map(|text| c_string(text, "an argument")).collect::<Result<_>>()?;
    let membership = std::fs::read_to_string(format!("/proc/{}/cgroup", entrance.pid)).unwrap_or_default();
    let cgroup = host.limits.cgroups.as_ref().and_then(|cgroups| cgroups.of_process(&membership));
    let plan = Plan {
        namespaces: 0,
        cgroup: cgroup.as_ref().map(AsRawFd::as_raw_fd),
        setup: setup(host, entrance, insecure),
        slots: Vec::<AtomicI32>::new(),
        filter: host.filter.clone(),
        program: sealed.program(),
        init: None,
        command,
        args: sealed.arguments(&host.limits.oom_score, &candidates, args),
        env: Strings::new(environment(env)?),
        failure: child::ChildFailure::default(),
        borrower: AtomicI32::new(0),
    };
    in_pid_namespace(entrance, || child::spawn(&plan, stacks, handle))?;
    drop((given, sealed));
    // SAFETY: the kernel opened the descriptor in `spawn`. Only `close` below closes it.
    let pidfd = unsafe { BorrowedFd::borrow_raw(handle.pidfd()) };
    let outcome = match plan.failure.get() {
        None => output::watch(pidfd, streams, report, || Ok(())).and_then(|ended| match ended {
            Ended::Exit(exit) => Ok(exit),
            Ended::NotExecuted(failure) => {
                let error = std::io::Error::from_raw_os_error(failure.error);
                Err(refusal(candidates.get(failure.index), &program, &error))
            }
        }),
        Some((stage, index, error)) => {
            handle.kill();
            let _ = output::wait(pidfd);
            Err(match stage {
                Stage::Setup => refused(plan.setup.get(index), &error),
                Stage::Command => refused(plan.command.get(index), &error),
                _ => not_started(&candidates, &program, error),
            })
        }
    };
    handle.close();
    outcome
}

fn setup(host: &Host, entrance: &Entrance, insecure: bool) -> Vec<Step> {
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    if host.cgroup_namespaces {
        namespaces |= libc::CLONE_NEWCGROUP;
    }
    let container = entrance.process.as_raw_fd();
    let mut setup = vec![Step::required(Action::SetParentDeathSignal(host.engine.as_raw_fd()))];
    setup.extend(host.limits.first_steps());
    setup.extend(
        [
            Action::JoinNamespaces { container, namespaces },
            Action::Umask(0o022),
            Action::ResetSignals,
            Action::SetCloseOnExec,
        ]
        .map(Step::required),
    );
    if !insecure {
        setup.extend([Action::Seccomp, Action::LimitCapabilities(host.capabilities)].map(Step::required));
    }
    setup
}

/// Makes a process in the PID namespace of the container. All later children of the calling thread
/// are in it, too.
fn in_pid_namespace(entrance: &Entrance, make: impl FnOnce() -> std::io::Result<libc::pid_t>) -> Result<()> {
    enter(entrance.process.as_fd()).attempt(|| "enter the PID namespace of the container".into())?;
    make().map(drop).map_err(|error| Fault::environment("cannot make a process in the container").caused_by(error))
}

fn enter(namespace: BorrowedFd<'_>) -> std::io::Result<()> {
    // SAFETY: a plain system call. It only sets the PID namespace of this thread's next children.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Opens the root of the container. Its PID may be reused after its end, so this checks afterwards
/// that the process is still alive.
fn root_of(entrance: &Entrance) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", entrance.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).attempt(|| "open the root of the container".into());
    let mut polled = [PollFd::new(&entrance.process, PollFlags::IN)];
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        Ok(0) => root,
        _ => Err(Fault::user("the container has ended")),
    }
}

/// The content of an account file. Empty if there is none.
fn text(root: &OwnedFd, path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error).attempt(|| format!("open `/{path}` of the container")),
    };
    let mut bytes = Vec::new();
    let read = file.take(ACCOUNT_FILE_LIMIT).read_to_end(&mut bytes);
    read.attempt(|| format!("read `/{path}` of the container"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
