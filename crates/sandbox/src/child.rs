//! The code that new processes run until they execute the sealed program of `sealed_program`, which
//! executes the command.
//!
//! They run on the memory of the engine while the thread that made them sleeps (`CLONE_VM |
//! CLONE_VFORK`), so this code makes raw system calls only, allocates nothing, takes no lock, has
//! no thread locals (and so no `errno`) and cannot panic. It writes only [`ChildFailure`] and the
//! slots of the plan.
//!
//! Pid 1 prepares the container, makes the process of the command and becomes the init program. The
//! command starts when the init program signals it, not earlier: until then pid 1 has the memory of
//! the engine, and a command that may read the memory of pid 1 would see it. No process executes a
//! file from here that a container may choose.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::kill_handle::KillHandle;
use crate::steps::{Action, Step};

const STACK_BYTES: usize = 64 * 1024;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const MOVE_MOUNT_F_EMPTY_PATH: isize = 4;
const OPEN_TREE_CLONE: c_int = 1;
const CLOSE_RANGE_CLOEXEC: isize = 4;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
/// The first descriptor that is no standard stream.
const FIRST_FILE: c_int = 3;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const LAST_CAPABILITY: isize = 63;
const KERNEL_SIGSET_BYTES: isize = 8;
const LAST_SIGNAL: isize = 64;

/// A system call. A failure returns its error number from the function. Strings end with a zero
/// byte, arrays with a null pointer, and pointers lead to live values of the size that the call
/// expects.
macro_rules! call {
    ($number:ident $(, $argument:expr)* $(,)?) => {{
        // SAFETY: as the macro says.
        let result = unsafe { system_call(libc::$number, &[$($argument as isize),*]) };
        if result < 0 {
            return Err(-result as c_int);
        }
        result
    }};
}

/// The stacks of pid 1 and of the command's process, which live at the same time.
pub(crate) struct Stacks {
    pid1: Vec<u128>,
    command: Vec<u128>,
}

impl Default for Stacks {
    fn default() -> Self {
        let one = || vec![0_u128; STACK_BYTES / size_of::<u128>()];
        Self { pid1: one(), command: one() }
    }
}

/// The plan of the new processes: all that they do.
pub(crate) struct Plan {
    /// Namespaces to make, as `CLONE_NEW…` flags.
    pub(crate) namespaces: c_int,
    /// The control group in which pid 1 and all its children start, or `None` for the engine's own.
    pub(crate) cgroup: Option<RawFd>,
    /// The steps of pid 1 that set up the container.
    pub(crate) setup: Vec<Step>,
    /// Descriptors of detached mounts between [`Action::OpenTree`] and [`Action::MoveMount`]. -1 is
    /// empty.
    pub(crate) slots: Vec<AtomicI32>,
    /// The system call filter.
    pub(crate) filter: Vec<libc::sock_filter>,
    /// The sealed program.
    pub(crate) program: RawFd,
    /// The steps before pid 1 becomes the init program. `None` when the command is pid 1 itself.
    pub(crate) init: Option<Init>,
    /// The steps of the command's process.
    pub(crate) command: Vec<Step>,
    /// The arguments with which the sealed program executes the command.
    pub(crate) args: Strings,
    /// The environment.
    pub(crate) env: Strings,
    /// The failure of a new process, if any.
    pub(crate) failure: ChildFailure,
    /// The PID of the command's process while it runs on the engine's memory, else 0. Written by
    /// the kernel.
    pub(crate) borrower: AtomicI32,
}

/// The init program.
pub(crate) struct Init {
    /// The steps of pid 1 after it made the command's process.
    pub(crate) steps: Vec<Step>,
    /// Its arguments.
    pub(crate) args: Strings,
}

/// Strings with the null-terminated array of pointers to them that `execveat` takes.
pub(crate) struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    /// Owns the strings.
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

/// The step in which a new process failed. Written by the process, read by the engine.
#[derive(Default)]
pub(crate) struct ChildFailure {
    stage: AtomicUsize,
    index: AtomicUsize,
    error: AtomicI32,
}

/// The stage in which a new process failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A step of [`Plan::setup`].
    Setup,
    /// A step of [`Init::steps`].
    BeforeInit,
    /// Executing the init program, or making the command's process.
    Init,
    /// A step of [`Plan::command`].
    Command,
    /// Executing the sealed program for the command.
    Start,
}

const STAGES: [Stage; 5] = [Stage::Setup, Stage::BeforeInit, Stage::Init, Stage::Command, Stage::Start];

impl ChildFailure {
    /// The stage, the index in it and the error, or `None` if nothing failed.
    pub(crate) fn get(&self) -> Option<(Stage, usize, io::Error)> {
        let stage = STAGES.get(self.stage.load(Ordering::SeqCst).checked_sub(1)?)?;
        Some((
            *stage,
            self.index.load(Ordering::SeqCst),
            io::Error::from_raw_os_error(self.error.load(Ordering::SeqCst)),
        ))
    }

    fn set(&self, stage: Stage, index: usize, error: c_int) {
        self.index.store(index, Ordering::SeqCst);
        self.error.store(error, Ordering::SeqCst);
        self.stage.store((stage as usize).wrapping_add(1), Ordering::SeqCst);
    }
}

struct ChildStart<'a> {
    plan: &'a Plan,
    handle: &'a KillHandle,
    command_stack: *mut c_void,
}

/// Makes pid 1. Returns its PID once both new processes have executed the sealed program or one has
/// failed, which `plan.failure` says. The kernel writes the pidfd to `handle`.
///
/// # Errors
/// When the kernel makes no process.
pub(crate) fn spawn(plan: &Plan, stacks: &mut Stacks, handle: &KillHandle) -> io::Result<libc::pid_t> {
    let start = ChildStart { plan, handle, command_stack: stacks.command.as_mut_ptr_range().end.cast() };
    let stack = stacks.pid1.as_mut_ptr_range().end.cast();
    let flags = plan.namespaces | libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let every_signal = u64::MAX;
    let mut before = 0_u64;
    let set_mask = libc::SIG_SETMASK as isize;
    // SAFETY: both sets are eight bytes, the size given. A handler of the engine must not run on
    // the memory that the new processes share. `start` and both stacks outlive their use: the
    // kernel resumes this thread only when pid 1 has executed a program or ended, and `wait_for`
    // returns when the command's process has.
    unsafe {
        system_call(
            libc::SYS_rt_sigprocmask,
            &[set_mask, &raw const every_signal as isize, &raw mut before as isize, KERNEL_SIGSET_BYTES],
        );
        let argument = (&raw const start).cast_mut().cast();
        let outcome = match plan.cgroup {
            None => {
                let pid = libc::clone(pid1_main, stack, flags, argument, handle.slot());
                if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
            }
            Some(cgroup) => {
                let bottom = stacks.pid1.as_mut_ptr() as u64;
                let size = size_of_val(stacks.pid1.as_slice()) as u64;
                let described = CloneArguments {
                    flags: (flags & !libc::SIGCHLD) as u64 | CLONE_INTO_CGROUP,
                    pidfd: handle.slot() as u64,
                    exit_signal: libc::SIGCHLD as u64,
                    stack: bottom,
                    stack_size: size,
                    cgroup: cgroup as u64,
                    ..CloneArguments::default()
                };
                let pid = clone3_with_stack(&described, pid1_main, argument);
                if pid < 0 { Err(io::Error::from_raw_os_error(-pid as c_int)) } else { Ok(pid as libc::pid_t) }
            }
        };
        wait_for(&plan.borrower);
        system_call(libc::SYS_rt_sigprocmask, &[set_mask, &raw const before as isize, 0, KERNEL_SIGSET_BYTES]);
        outcome
    }
}

/// The kernel's `clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Whether the kernel, and a seccomp filter of the engine's own, allow `clone3`, which starts
/// processes in control groups.
pub(crate) fn starts_in_cgroups() -> bool {
    // SAFETY: without arguments of a valid size the kernel makes no process and returns `EINVAL`.
    unsafe { system_call(libc::SYS_clone3, &[0, 0]) == -(libc::EINVAL as isize) }
}

/// `clone3` with a stack for the new process, which runs `function` on it. Returns the PID, or the
/// negative error number.
///
/// # Safety
/// As for `clone`: the arguments are valid, and the stack lives as long as the new process uses it.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_with_stack(
    described: &CloneArguments,
    function: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> isize {
    let result;
    // SAFETY: the new process starts behind the call with the same registers and an empty stack,
    // calls the function and ends; it never comes back to the code after the label. The stack is
    // aligned as its bottom and size are.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f",
            "xor ebp, ebp", "mov rdi, r13", "call r12", "mov edi, eax", "mov eax, {exit}", "syscall", "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") described, in("rsi") size_of::<CloneArguments>(),
            in("r12") function, in("r13") argument,
            out("rcx") _, out("r11") _,
        );
    }
    result
}

/// `clone3` with a stack for the new process, which runs `function` on it. Returns the PID, or the
/// negative error number.
///
/// # Safety
/// As for `clone`: the arguments are valid, and the stack lives as long as the new process uses it.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_with_stack(
    described: &CloneArguments,
    function: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> isize {
    let result;
    // SAFETY: the new process starts behind the call with the same registers and an empty stack,
    // calls the function and ends; it never comes back to the code after the label. The stack is
    // aligned as its bottom and size are.
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f",
            "mov x29, xzr", "mov x0, x10", "blr x9", "mov x8, {exit}", "svc 0", "brk 1",
            "2:",
            exit = const libc::SYS_exit,
            in("x8") libc::SYS_clone3,
            inlateout("x0") described => result, in("x1") size_of::<CloneArguments>(),
            in("x9") function, in("x10") argument,
        );
    }
    result
}

/// Waits until the process that borrows the engine's memory has executed a program or ended. The
/// kernel then writes zero (`CLONE_CHILD_CLEARTID`) and wakes this thread.
fn wait_for(borrower: &AtomicI32) {
    loop {
        let process = borrower.load(Ordering::SeqCst);
        if process == 0 {
            return;
        }
        // SAFETY: the number is alive and of the size that the kernel reads.
        unsafe {
            system_call(libc::SYS_futex, &[borrower.as_ptr() as isize, libc::FUTEX_WAIT as isize, process as isize, 0])
        };
    }
}

extern "C" fn pid1_main(start: *mut c_void) -> c_int {
    // SAFETY: `spawn` hands over a `ChildStart` that outlives this function.
    let ChildStart { plan, handle, command_stack } = unsafe { &*start.cast::<ChildStart<'_>>() };
    if handle.is_killed() || !perform_all(&plan.setup, plan, Stage::Setup) {
        return 1;
    }
    let Some(init) = &plan.init else { return command_main(start) };
    let flags = libc::CLONE_VM | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let (none, borrower) = (ptr::null_mut::<c_void>(), plan.borrower.as_ptr());
    // SAFETY: the second stack is not in use. The thread that sleeps in `spawn` keeps everything
    // alive until the kernel has cleared `borrower`, which it sets before this call returns.
    let pid = unsafe { libc::clone(command_main, *command_stack, flags, start, borrower, none, borrower) };
    if pid < 0 {
        plan.failure.set(Stage::Init, 0, libc::EAGAIN);
        return 1;
    }
    if perform_all(&init.steps, plan, Stage::BeforeInit)
        && let Err(error) = execute(plan.program, &init.args, &[ptr::null()])
    {
        plan.failure.set(Stage::Init, 1, error);
    }
    1
}

extern "C" fn command_main(start: *mut c_void) -> c_int {
    // SAFETY: as in `pid1_main`.
    let plan = unsafe { (*start.cast::<ChildStart<'_>>()).plan };
    if perform_all(&plan.command, plan, Stage::Command)
        && let Err(error) = execute(plan.program, &plan.args, &plan.env.pointers)
    {
        plan.failure.set(Stage::Start, 0, error);
    }
    1
}

fn execute(program: RawFd, args: &Strings, env: &[*const c_char]) -> Result<(), c_int> {
    call!(SYS_execveat, program, c"".as_ptr(), args.pointers.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH);
    Ok(())
}

fn perform_all(steps: &[Step], plan: &Plan, stage: Stage) -> bool {
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = perform(&step.action, plan)
            && !step.optional
        {
            plan.failure.set(stage, index, error);
            return false;
        }
    }
    true
}

fn perform(action: &Action, plan: &Plan) -> Result<(), c_int> {
    let here = libc::AT_FDCWD;
    let nothing = ptr::null::<c_char>();
    match action {
        Action::SetParentDeathSignal(engine) => return die_with_engine(*engine),
        Action::OomScoreAdj(digits) => return oom_score(digits),
        Action::SetRlimit { resource, limits } => {
            call!(SYS_prlimit64, 0, *resource, limits.as_ptr(), ptr::null_mut::<u64>());
        }
        Action::UnshareCgroups => {
            call!(SYS_unshare, libc::CLONE_NEWCGROUP);
        }
        Action::JoinNamespaces { container, namespaces } => {
            call!(SYS_setns, *container, *namespaces);
        }
        Action::JoinNetwork(namespace) => {
            call!(SYS_setns, *namespace, libc::CLONE_NEWNET);
        }
        Action::LoopbackUp => return loopback_up(),
        Action::MakeMountsPrivate => {
            call!(SYS_mount, nothing, c"/".as_ptr(), nothing, libc::MS_REC | libc::MS_PRIVATE, nothing);
        }
        Action::PivotRoot(mount) => return change_root(*mount),
        Action::DetachOldRoot => {
            // The old root lies on top of the new one. No path from the root leads there, but `.`
            // does.
            call!(SYS_umount2, c".".as_ptr(), libc::MNT_DETACH);
            call!(SYS_chdir, c"/".as_ptr());
        }
        Action::AttachMount { mount, target } => attach(*mount, target)?,
        Action::OpenTree { path, slot } => {
            let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC;
            let mount = call!(SYS_open_tree, here, path.as_ptr(), flags);
            if let Some(slot) = plan.slots.get(*slot) {
                slot.store(mount as c_int, Ordering::SeqCst);
            }
        }
        Action::MoveMount { slot, target } => {
            let mount = plan.slots.get(*slot).map_or(-1, |slot| slot.load(Ordering::SeqCst));
            attach(mount, target)?;
            call!(SYS_close, mount);
        }
        Action::Mount { source, target, kind, flags, data } => {
            let kind = if kind.is_empty() { nothing } else { kind.as_ptr() };
            let data = if data.is_empty() { nothing } else { data.as_ptr() };
            call!(SYS_mount, source.as_ptr(), target.as_ptr(), kind, *flags, data);
        }
        Action::MountSysfs { target, flags, instead } => {
            if let Err(error) = mount_sysfs(target, *flags) {
                return instead.map_or(Err(error), |mount| attach(mount, target));
            }
        }
        Action::Unmount(path) => {
            call!(SYS_umount2, path.as_ptr(), libc::MNT_DETACH);
        }
        Action::MakeDirectory { parent, name, owner } => return directory(parent, name, *owner),
        Action::SetHostname(name) => {
            call!(SYS_sethostname, name.as_ptr(), name.count_bytes());
        }
        Action::Umask(mask) => {
            call!(SYS_umask, *mask);
        }
        Action::ResetSignals => default_signals(),
        Action::AwaitInit => {
            let signal = 1_u64 << (libc::SIGUSR1 - 1);
            call!(SYS_rt_sigtimedwait, &raw const signal, 0, 0, KERNEL_SIGSET_BYTES);
        }
        Action::UnblockSignals => {
            let none = 0_u64;
            call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null_mut::<u64>(), KERNEL_SIGSET_BYTES);
        }
        Action::CloseDescriptors { except } => return close_files(except),
        Action::ClearCloseOnExec(descriptor) => {
            call!(SYS_fcntl, *descriptor, libc::F_SETFD, 0);
        }
        Action::SetCloseOnExec => {
            call!(SYS_close_range, FIRST_FILE, u32::MAX, CLOSE_RANGE_CLOEXEC);
        }
        Action::Seccomp => {
            let filter = libc::sock_fprog { len: plan.filter.len() as u16, filter: plan.filter.as_ptr().cast_mut() };
            call!(SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter);
        }
        Action::LimitCapabilities(keep) => return capabilities(*keep),
        Action::KeepCapabilities => {
            call!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        }
        Action::RaiseAmbientCapabilities(all) => return every_capability(*all),
        Action::Setsid => {
            call!(SYS_setsid);
        }
        Action::SetStandardStream { from, to } => {
            call!(SYS_dup3, *from, *to, 0);
        }
        Action::SetControllingTerminal => {
            call!(SYS_ioctl, 0, libc::TIOCSCTTY, 0);
        }
        Action::OpenStdin(path) => {
            let file = open(path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY)?;
            call!(SYS_dup3, file, 0, 0);
            call!(SYS_close, file);
        }
        Action::Setgroups(groups) => {
            call!(SYS_setgroups, groups.len(), groups.as_ptr());
        }
        Action::SetUser { user, group } => {
            call!(SYS_setresgid, *group, *group, *group);
            call!(SYS_setresuid, *user, *user, *user);
        }
        Action::Chdir(path) => {
            let directory = open(path, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
            call!(SYS_fchdir, directory);
            call!(SYS_close, directory);
        }
    }
    Ok(())
}

/// Opens a path of the container that its user wrote. `/proc/self/fd/…` and `/proc/self/exe` are
/// files of the engine while the process runs on its memory, so magic links are refused (`ELOOP`).
fn open(path: &CStr, flags: c_int) -> Result<isize, c_int> {
    // The kernel's `open_how`: flags, mode, how paths are resolved.
    let how = [flags as u64, 0, RESOLVE_NO_MAGICLINKS];
    Ok(call!(SYS_openat2, libc::AT_FDCWD, path.as_ptr(), how.as_ptr(), size_of_val(&how)))
}

/// Closes every descriptor but the standard streams and `except`, which ascend.
fn close_files(except: &[RawFd]) -> Result<(), c_int> {
    let mut from = FIRST_FILE;
    for kept in except {
        if *kept > from {
            call!(SYS_close_range, from, kept.wrapping_sub(1), 0);
        }
        from = kept.wrapping_add(1);
    }
    call!(SYS_close_range, from, u32::MAX, 0);
    Ok(())
}

fn attach(mount: RawFd, target: &CStr) -> Result<(), c_int> {
    call!(SYS_move_mount, mount, c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH);
    Ok(())
}

fn mount_sysfs(target: &CStr, flags: u64) -> Result<(), c_int> {
    let kind = c"sysfs".as_ptr();
    call!(SYS_mount, kind, target.as_ptr(), kind, flags, ptr::null::<c_char>());
    Ok(())
}

/// The new root is mounted on top of the old one, so it needs no directory of the host.
fn change_root(mount: RawFd) -> Result<(), c_int> {
    attach(mount, c"/")?;
    call!(SYS_fchdir, mount);
    call!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr());
    Ok(())
}

fn die_with_engine(engine: RawFd) -> Result<(), c_int> {
    call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
    let mut poll = libc::pollfd { fd: engine, events: libc::POLLIN, revents: 0 };
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let ended = call!(SYS_ppoll, &raw mut poll, 1, &raw const at_once, ptr::null::<u64>(), KERNEL_SIGSET_BYTES);
    if ended > 0 { Err(libc::ESRCH) } else { Ok(()) }
}

/// Uses the host's `/proc`, because the container's is not mounted yet.
fn oom_score(digits: &CStr) -> Result<(), c_int> {
    let path = c"/proc/self/oom_score_adj";
    let file = call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
    call!(SYS_write, file, digits.as_ptr(), digits.count_bytes());
    call!(SYS_close, file);
    Ok(())
}

fn loopback_up() -> Result<(), c_int> {
    let socket = call!(SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    call!(SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw const request);
    call!(SYS_close, socket);
    Ok(())
}

/// Other containers may change a shared directory while this runs, so `parent` is opened anew and
/// checked.
fn directory(parent: &CStr, name: &CStr, owner: (u32, u32)) -> Result<(), c_int> {
    let parent = open(parent, libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
    let made = make_directory(parent, name);
    if made.is_ok() {
        call!(SYS_fchownat, parent, name.as_ptr(), owner.0, owner.1, libc::AT_SYMLINK_NOFOLLOW);
    }
    call!(SYS_close, parent);
    if made == Err(libc::EEXIST) { Ok(()) } else { made }
}

fn make_directory(parent: isize, name: &CStr) -> Result<(), c_int> {
    call!(SYS_mkdirat, parent, name.as_ptr(), 0o755);
    Ok(())
}

/// Signals that the engine ignores would be ignored by the container as well.
fn default_signals() {
    let mut signal = 1;
    while signal <= LAST_SIGNAL {
        // `SIGKILL` and `SIGSTOP` cannot be changed.
        let _ = default_signal(signal);
        signal += 1;
    }
}

fn default_signal(signal: isize) -> Result<(), c_int> {
    // 32 zero bytes are the kernel's action "default, no flags".
    let default = [0_u64; 4];
    call!(SYS_rt_sigaction, signal, &raw const default, 0, KERNEL_SIGSET_BYTES);
    Ok(())
}

fn drop_from_bounding_set(capability: isize) -> Result<(), c_int> {
    call!(SYS_prctl, libc::PR_CAPBSET_DROP, capability);
    Ok(())
}

fn capabilities(keep: u64) -> Result<(), c_int> {
    let mut capability = 0;
    while capability <= LAST_CAPABILITY {
        if (keep >> capability) & 1 == 0 {
            match drop_from_bounding_set(capability) {
                // `EINVAL` is the first capability that the kernel does not know.
                Err(libc::EINVAL) => break,
                other => other?,
            }
        }
        capability += 1;
    }
    set_capabilities(keep, 0)
}

fn every_capability(all: u64) -> Result<(), c_int> {
    set_capabilities(all, all)?;
    let mut capability = 0;
    while capability <= LAST_CAPABILITY {
        if (all >> capability) & 1 == 1 {
            call!(SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0);
        }
        capability += 1;
    }
    Ok(())
}

/// Sets the effective and permitted sets to `own`, and the inheritable one to `inheritable`.
fn set_capabilities(own: u64, inheritable: u64) -> Result<(), c_int> {
    let header = [CAPABILITY_VERSION_3, 0];
    let [low, high] = [0, 32].map(|shift| [(own >> shift) as u32, (inheritable >> shift) as u32]);
    let sets = [low[0], low[0], low[1], high[0], high[0], high[1]];
    call!(SYS_capset, &raw const header, &raw const sets);
    Ok(())
}

fn six(arguments: &[isize]) -> [isize; 6] {
    let mut six = [0; 6];
    for (to, from) in six.iter_mut().zip(arguments) {
        *to = *from;
    }
    six
}

/// A system call. A failure returns the negative error number.
///
/// # Safety
/// The arguments must be as the call requires.
#[cfg(target_arch = "x86_64")]
unsafe fn system_call(number: c_long, arguments: &[isize]) -> isize {
    let [a, b, c, d, e, f] = six(arguments);
    let result;
    // SAFETY: the registers are those of the kernel's convention. The caller guarantees the rest.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// A system call. A failure returns the negative error number.
///
/// # Safety
/// The arguments must be as the call requires.
#[cfg(target_arch = "aarch64")]
unsafe fn system_call(number: c_long, arguments: &[isize]) -> isize {
    let [a, b, c, d, e, f] = six(arguments);
    let result;
    // SAFETY: the registers are those of the kernel's convention. The caller guarantees the rest.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, options(nostack));
    }
    result
}
