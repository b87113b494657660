//! Runs one container: prepares it from a `ProcessSpec`, starts it, waits for it and returns its
//! exit. Blocks the calling thread. Other threads stop the container with the `KillHandle`.
//!
//! Everything is prepared before the process exists. The process then performs a list of steps,
//! whose order matters for security: see the comments marked `ORDER`. `exec_in` uses some of the
//! steps too.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::process::{Entrance, Exit, Limit, OutputSink, ProcessSpec, ProcessStdin};

use crate::cgroup::{Cgroup, Cgroups};
use crate::child::{self, Init, Plan, Stacks, Stage, Strings};
use crate::enforced_limits::machine_kills;
use crate::host::Host;
use crate::kill_handle::KillHandle;
use crate::layout::{self, Layout};
use crate::output::{self, Ended, Stream};
use crate::program::{c_string, candidates, environment, explain, not_started};
use crate::sealed_program::{ReportPipe, SealedProgram};
use crate::steps::{Action, Step};
use crate::terminal::Terminal;
use crate::tree::ContainerPaths;
use crate::users::Identity;

const HOST_NAME_BYTES: usize = 64;
/// The exit code of a command that was killed by `SIGKILL`.
const KILLED: i32 = 128 + libc::SIGKILL;

/// A container that is ready to start. Fields are dropped in this order: first the descriptors that
/// the processes use, then the mount points.
struct Container {
    plan: Plan,
    streams: [Stream; 2],
    /// Ends of pipes and detached mounts that the new processes use.
    given: Vec<OwnedFd>,
    sealed: SealedProgram,
    report: ReportPipe,
    /// Files to try as the program, in order.
    candidates: Vec<CString>,
    tree: ContainerPaths,
    program: String,
    workdir: String,
}

/// Runs a container to its end.
///
/// # Errors
/// When the description is wrong, or the kernel refuses.
pub(crate) fn run(host: &Host, spec: ProcessSpec, handle: &KillHandle, stacks: &mut Stacks) -> Result<Exit> {
    // ORDER: held to the end. A network namespace is not reused as long as there is another handle
    // of it.
    let _network = spec.network.clone();
    let mut spec = spec;
    let started = spec.control.take().map(|control| control.started);
    let kills = machine_kills();
    let cgroup = host.limits.cgroups.as_ref().map(Cgroups::container).transpose()?;
    let Container { mut plan, streams, given, sealed, report, candidates, mut tree, program, workdir } =
        prepare(host, spec)?;
    plan.cgroup = cgroup.as_ref().map(Cgroup::handle);
    let pid = child::spawn(&plan, stacks, handle)
        .map_err(|error| Fault::environment("cannot make the namespaces of the container").caused_by(error))?;
    drop((given, sealed));
    // SAFETY: the kernel opened the descriptor in `spawn`. Only `close` below closes it.
    let pidfd = unsafe { BorrowedFd::borrow_raw(handle.pidfd()) };
    let outcome = match plan.failure.get() {
        None => {
            let tell = || -> Result<()> {
                if let Some(started) = started {
                    let process = pidfd.try_clone_to_owned().attempt(|| "hold the container".into())?;
                    // The receiver may be gone.
                    let _ = started.send(Entrance { process: Arc::new(process), pid });
                }
                Ok(())
            };
            output::watch(pidfd, streams, report, tell).and_then(|ended| match ended {
                Ended::Exit(exit) => Ok(Exit { limit: limit_reached(cgroup.as_ref(), kills, exit), ..exit }),
                Ended::NotExecuted(failure) => Err(explain(failure, &candidates, &program, &workdir, &mut tree)),
            })
        }
        Some((stage, index, error)) => {
            // The container ends by itself, unless the command ran already when the init program
            // failed to start.
            handle.kill();
            let _ = output::wait(pidfd);
            let step = |steps: &[Step]| refused(steps.get(index), &error);
            Err(match stage {
                Stage::Setup => step(&plan.setup),
                Stage::BeforeInit => step(plan.init.as_ref().map_or(&[], |init| &init.steps)),
                Stage::Command => step(&plan.command),
                Stage::Init => Fault::environment("cannot start the init program of the container").caused_by(error),
                Stage::Start => not_started(&candidates, &program, error),
            })
        }
    };
    handle.close();
    outcome
}

/// The limit that may be the reason for a command's exit, or `None`. `kills` is the machine's
/// number of out-of-memory kills before the command started.
fn limit_reached(cgroup: Option<&Cgroup<'_>>, kills: u64, exit: Exit) -> Option<Limit> {
    if exit.code == 0 {
        return None;
    }
    let own = cgroup.and_then(Cgroup::reached);
    own.or_else(|| (exit.code == KILLED && machine_kills() > kills).then_some(Limit::MachineMemory))
}

/// The error of a step that the kernel refused.
pub(crate) fn refused(step: Option<&Step>, error: &std::io::Error) -> Fault {
    let cause = std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0));
    match step {
        Some(Step { action, .. }) if action.is_user_error() => Fault::user(format!("cannot {action}")).caused_by(cause),
        Some(Step { action, .. }) => Fault::environment(format!("cannot {action}")).caused_by(cause),
        None => Fault::bug("a container failed in a step that it does not have").caused_by(cause),
    }
}

fn prepare(host: &Host, spec: ProcessSpec) -> Result<Container> {
    let ProcessSpec { root, mounts, args, mut env, workdir, user, hostname, insecure, no_init, network, .. } = spec;
    let program = args.first().cloned().ok_or_else(|| Fault::user("cannot run a command without a program"))?;
    let workdir = if workdir.starts_with('/') { workdir } else { format!("/{workdir}") };
    let hostname = checked_host_name(hostname)?;

    let root_descriptor = root.as_raw_fd();
    let mut layout = Layout::new(host, root, insecure)?;
    let mut stdin = spec.stdin;
    let terminal = match &stdin {
        ProcessStdin::Terminal(asked) => {
            let made = Terminal::new(layout::terminal_group(host), asked.columns, asked.rows)?;
            layout.terminals = Some(made.mount);
            Some((made.master, made.slave))
        }
        _ => None,
    };
    layout.system()?;
    // ORDER: before the mounts of the description, so that every path is the kernel's own.
    layout.masks()?;
    layout.names(&hostname, &spec.hosts, spec.resolv_conf.as_deref(), &mounts)?;
    for mount in mounts {
        layout.described(mount)?;
    }
    let identity = layout.identity(&user)?;
    layout.working_directory(&workdir, &identity)?;
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), identity.home.clone()));
    }
    let (tree, mut given, mount_steps, slots) = layout.finish()?;

    let network = network.as_ref().map(|namespace| namespace.as_raw_fd());
    let mut setup = vec![Step::required(Action::SetParentDeathSignal(host.engine.as_raw_fd()))];
    setup.extend(host.limits.first_steps());
    if host.cgroup_namespaces {
        // ORDER: after pid 1 is in the container's own group, which becomes the root of the
        // namespace.
        setup.push(Step::required(Action::UnshareCgroups));
    }
    setup.push(Step::required(network.map_or(Action::LoopbackUp, Action::JoinNetwork)));
    setup.extend([Action::MakeMountsPrivate, Action::Umask(0), Action::PivotRoot(root_descriptor)].map(Step::required));
    setup.extend(mount_steps);
    // ORDER: an ordinary user may mount `/proc` and `/sys` only while those of the host are in the
    // same mount namespace.
    setup.push(Step::required(Action::DetachOldRoot));
    setup.extend(
        [Action::SetHostname(c_string(hostname, "the host name")?), Action::Umask(0o022), Action::ResetSignals]
            .map(Step::required),
    );
    setup.push(Step::required(Action::SetCloseOnExec));
    if !insecure {
        setup.extend([Action::Seccomp, Action::LimitCapabilities(host.capabilities)].map(Step::required));
    }

    let slave = terminal.map(|(master, slave)| {
        hand_over(&mut stdin, master);
        slave
    });
    let (streams, input, mut command) = streams(host, &identity, stdin, [spec.stdout, spec.stderr], &mut given)?;
    if let Some(slave) = slave {
        command = on_terminal(&slave, &identity)?;
        given.push(slave);
    }
    if !no_init {
        // ORDER: while both are still the same user, so that init may send its signal.
        command.push(Step::required(Action::AwaitInit));
    }
    let directory = c_string(workdir.as_str(), "the working directory")?;
    let (sealed, report) = SealedProgram::new()?;
    let start = ProcessStart { directory, input, bound: no_init, insecure };
    command.extend(start_steps(host, &sealed, &identity, start));
    let candidates = candidates(&program, &env)?;
    let args = args.into_iter().map(|text| c_string(text, "an argument")).collect::<Result<_>>()?;
    let plan = Plan {
        namespaces: namespaces(network.is_none()),
        cgroup: None,
        setup,
        slots: (0..slots).map(|_| AtomicI32::new(-1)).collect(),
        filter: host.filter.clone(),
        init: (!no_init).then(|| init(host)),
        program: sealed.program(),
        command,
        args: sealed.arguments(&host.limits.oom_score, &candidates, args),
        env: Strings::new(environment(env)?),
        failure: child::ChildFailure::default(),
        borrower: AtomicI32::new(0),
    };
    Ok(Container { plan, streams, given, sealed, report, candidates, tree, program, workdir })
}

fn checked_host_name(name: String) -> Result<String> {
    let good = |byte: u8| byte.is_ascii_graphic();
    match name.as_str() {
        "" => Ok("localhost".into()),
        long if long.len() > HOST_NAME_BYTES => {
            Err(Fault::user(format!("cannot set the host name `{long}`: it is longer than {HOST_NAME_BYTES} bytes")))
        }
        text if text.bytes().all(good) => Ok(name),
        text => Err(Fault::user(format!("cannot set the host name {text:?}: it has characters that no host name has"))),
    }
}

fn namespaces(network: bool) -> libc::c_int {
    let always = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let network = if network { libc::CLONE_NEWNET } else { 0 };
    always | network
}

fn init(host: &Host) -> Init {
    let null = host.null.as_raw_fd();
    let steps = (0..3).map(|to| Step::required(Action::SetStandardStream { from: null, to })).collect();
    Init { steps, args: SealedProgram::init_arguments(&host.limits.oom_score) }
}

/// Makes the standard streams. Returns the engine's ends, the path of standard input if it is a
/// path, and the steps that set the streams up.
pub(crate) fn streams(
    host: &Host,
    identity: &Identity,
    stdin: ProcessStdin,
    sinks: [OutputSink; 2],
    given: &mut Vec<OwnedFd>,
) -> Result<([Stream; 2], Option<CString>, Vec<Step>)> {
    let [stdout, stderr] = sinks;
    let ((stdout, out), (stderr, err)) = (Stream::new(stdout, identity.user)?, Stream::new(stderr, identity.user)?);
    let mut input = host.null.as_raw_fd();
    let mut path = None;
    match stdin {
        ProcessStdin::Empty | ProcessStdin::Terminal(_) => {}
        ProcessStdin::Bytes(bytes) => {
            let file = output::input(&bytes, identity.user)?;
            input = file.as_raw_fd();
            given.push(file);
        }
        ProcessStdin::Path(text) => path = Some(c_string(text, "the path of standard input")?),
    }
    let mut steps = vec![Step::required(Action::Setsid)];
    steps.extend(
        [(input, 0), (out.as_raw_fd(), 1), (err.as_raw_fd(), 2)]
            .map(|(from, to)| Step::required(Action::SetStandardStream { from, to })),
    );
    given.extend([out, err]);
    Ok(([stdout, stderr], path, steps))
}

/// Hands the engine's side of a terminal to the caller that asked for it. If the caller is gone,
/// the terminal hangs up.
pub(crate) fn hand_over(stdin: &mut ProcessStdin, master: OwnedFd) {
    if let ProcessStdin::Terminal(asked) = std::mem::replace(stdin, ProcessStdin::Empty) {
        let _ = asked.master.send(master);
    }
}

/// The steps that make a terminal the standard streams of a process.
pub(crate) fn on_terminal(slave: &OwnedFd, identity: &Identity) -> Result<Vec<Step>> {
    rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(identity.user)), None)
        .attempt(|| "give the terminal to the user of the container".into())?;
    let mut steps = vec![Step::required(Action::Setsid)];
    steps.extend((0..3).map(|to| Step::required(Action::SetStandardStream { from: slave.as_raw_fd(), to })));
    steps.push(Step::required(Action::SetControllingTerminal));
    Ok(steps)
}

/// The start of a process: where and how it starts.
pub(crate) struct ProcessStart {
    /// Its working directory.
    pub(crate) directory: CString,
    /// The path of its standard input, if that is a path.
    pub(crate) input: Option<CString>,
    /// Whether the process must itself request to die with the engine.
    pub(crate) bound: bool,
    /// Whether it has every capability of the engine, with any user.
    pub(crate) insecure: bool,
}

/// The last steps of a process: working directory, user, descriptors, standard input.
pub(crate) fn start_steps(host: &Host, sealed: &SealedProgram, identity: &Identity, start: ProcessStart) -> Vec<Step> {
    let ProcessStart { directory, input, bound, insecure } = start;
    let groups = Action::Setgroups(identity.groups.clone());
    let engine = host.engine.as_raw_fd();
    let mut for_start = vec![sealed.program(), sealed.writer()];
    for_start.sort_unstable();
    let mut at_first = [&*for_start, &[engine]].concat();
    at_first.sort_unstable();
    let mut steps = vec![
        // ORDER: before any path of the container is opened, which must not lead to a file of the
        // engine.
        Step::required(Action::CloseDescriptors { except: at_first }),
        Step::required(Action::Chdir(directory)),
        if host.groups_denied { Step::optional(groups) } else { Step::required(groups) },
    ];
    steps.extend(host.limits.steps_of_process());
    let become_user = Action::SetUser { user: identity.user, group: identity.group };
    if insecure {
        steps.extend(
            [Action::KeepCapabilities, become_user, Action::RaiseAmbientCapabilities(host.every_capability)]
                .map(Step::required),
        );
    } else {
        steps.push(Step::required(become_user));
    }
    if bound {
        // ORDER: after the change of user, which clears it.
        steps.push(Step::required(Action::SetParentDeathSignal(engine)));
    }
    steps.push(Step::required(Action::CloseDescriptors { except: for_start }));
    steps.push(Step::required(Action::ClearCloseOnExec(sealed.writer())));
    // Standard input is opened as the user, relative to the working directory.
    steps.extend(input.map(|path| Step::required(Action::OpenStdin(path))));
    steps.push(Step::required(Action::UnblockSignals));
    steps
}
