//! The steps of a new process as data: each is one system call or a few. Made by `layout` and
//! `run`, performed by `child`.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::RawFd;

/// A step of a new process.
pub(crate) struct Step {
    /// The system calls to make.
    pub(crate) action: Action,
    /// Whether a failure is ignored.
    pub(crate) optional: bool,
}

impl Step {
    /// A step that must succeed.
    pub(crate) fn required(action: Action) -> Self {
        Self { action, optional: false }
    }

    /// A step that may fail.
    pub(crate) fn optional(action: Action) -> Self {
        Self { action, optional: true }
    }
}

/// One action. Descriptors are numbers, because the process that uses them has a copy of the
/// descriptor table. Their owners outlive the process's use.
pub(crate) enum Action {
    /// `prctl(PR_SET_PDEATHSIG)`: die with the engine. Fails if the engine's pidfd, given here,
    /// shows that it has died already.
    SetParentDeathSignal(RawFd),
    /// Write `oom_score_adj`, in digits: the kernel prefers to kill this process and its children
    /// when the machine runs out of memory.
    OomScoreAdj(CString),
    /// `setrlimit(2)` for this process and its children.
    SetRlimit {
        /// The kernel's number of the resource.
        resource: u32,
        /// The soft and the hard limit.
        limits: [u64; 2],
    },
    /// `unshare(CLONE_NEWCGROUP)`: the process sees its own control group as the root.
    UnshareCgroups,
    /// `setns(2)`: join namespaces of a running container.
    JoinNamespaces {
        /// The pidfd of its first process.
        container: RawFd,
        /// The namespaces, as `CLONE_NEW…` flags.
        namespaces: i32,
    },
    /// `setns(2)`: join this network namespace.
    JoinNetwork(RawFd),
    /// Bring the loopback interface up.
    LoopbackUp,
    /// Make all mounts private, so that no mount event passes to or from the host.
    MakeMountsPrivate,
    /// `pivot_root(2)` to this detached mount.
    PivotRoot(RawFd),
    /// Detach the old root, the files of the host.
    DetachOldRoot,
    /// `move_mount(2)`: attach a detached mount whose descriptor is known.
    AttachMount {
        /// The mount.
        mount: RawFd,
        /// The target path.
        target: CString,
    },
    /// `open_tree(2)`: copy the mount at a path, detached, into a slot.
    OpenTree {
        /// The path.
        path: CString,
        /// The index of the slot.
        slot: usize,
    },
    /// `move_mount(2)`: attach the detached mount of a slot.
    MoveMount {
        /// The index of the slot.
        slot: usize,
        /// The target path.
        target: CString,
    },
    /// `mount(2)`.
    Mount {
        /// The source.
        source: CString,
        /// The target path.
        target: CString,
        /// The file system type. Empty for a bind or a remount.
        kind: CString,
        /// The flags.
        flags: u64,
        /// The options of the file system.
        data: CString,
    },
    /// Mount `sysfs`, or attach another mount instead when the kernel refuses.
    MountSysfs {
        /// The target path.
        target: CString,
        /// The flags.
        flags: u64,
        /// The detached mount to attach instead.
        instead: Option<RawFd>,
    },
    /// `umount2(MNT_DETACH)`: unmount lazily.
    Unmount(CString),
    /// Make a directory unless it exists. A new one gets the owner.
    MakeDirectory {
        /// The path of the parent directory. Magic links of `/proc` are not followed.
        parent: CString,
        /// Its name there.
        name: CString,
        /// User and group.
        owner: (u32, u32),
    },
    /// Set the host name.
    SetHostname(CString),
    /// `umask(2)`: the permission bits that new files do not get.
    Umask(u32),
    /// Reset the handlers of all signals to the default.
    ResetSignals,
    /// Wait for the signal of the init program, which it sends when it runs.
    AwaitInit,
    /// Unblock all signals.
    UnblockSignals,
    /// Close all descriptors but the standard streams and `except`. From then on no path below
    /// `/proc/self/fd` leads to a file of the engine.
    CloseDescriptors {
        /// The descriptors that stay open, ascending.
        except: Vec<RawFd>,
    },
    /// Clear `FD_CLOEXEC`, so that this descriptor survives the next exec.
    ClearCloseOnExec(RawFd),
    /// Set `FD_CLOEXEC` on all descriptors but the standard streams.
    SetCloseOnExec,
    /// Install the seccomp filter.
    Seccomp,
    /// Drop all other capabilities, also from the bounding set.
    LimitCapabilities(u64),
    /// `PR_SET_KEEPCAPS`: a change of user keeps the capabilities.
    KeepCapabilities,
    /// Raise these capabilities in every set, including the ambient one, so that executed programs
    /// have them too, with every user.
    RaiseAmbientCapabilities(u64),
    /// `setsid(2)`: lead a new session.
    Setsid,
    /// `dup3(2)`: make a descriptor a standard stream.
    SetStandardStream {
        /// The descriptor.
        from: RawFd,
        /// 0, 1 or 2.
        to: RawFd,
    },
    /// `TIOCSCTTY`: make standard input, a terminal, the controlling terminal of the session.
    SetControllingTerminal,
    /// Open a file as standard input. Magic links of `/proc` are not followed.
    OpenStdin(CString),
    /// `setgroups(2)`: set the supplementary groups.
    Setgroups(Vec<u32>),
    /// `setresgid(2)` and `setresuid(2)`: become this user and group.
    SetUser {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
    },
    /// `fchdir(2)`: set the working directory. Magic links of `/proc` are not followed.
    Chdir(CString),
}

impl Action {
    /// Whether a failure is the user's fault: the step follows from a path of the process's
    /// description.
    pub(crate) fn is_user_error(&self) -> bool {
        matches!(self, Self::MakeDirectory { .. } | Self::OpenStdin(_) | Self::Chdir(_))
    }
}

/// What the action attempts, to follow `cannot` in an error.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetParentDeathSignal(_) => f.write_str("bind the life of the container to the engine"),
            Self::OomScoreAdj(_) => f.write_str("set the out-of-memory score of the container"),
            Self::SetRlimit { resource, .. } => write!(f, "set the resource limit {resource} of the container"),
            Self::UnshareCgroups => f.write_str("make the namespace of control groups"),
            Self::JoinNamespaces { .. } => f.write_str("enter the namespaces of the container"),
            Self::JoinNetwork(_) => f.write_str("enter the network namespace of the container"),
            Self::LoopbackUp => f.write_str("bring up the loopback interface of the container"),
            Self::MakeMountsPrivate => f.write_str("make the mounts of the container private"),
            Self::PivotRoot(_) => f.write_str("change to the root of the container"),
            Self::DetachOldRoot => f.write_str("unmount the files of the host"),
            Self::AttachMount { target, .. } | Self::MoveMount { target, .. } => {
                write!(f, "mount on `{}`", text(target))
            }
            Self::OpenTree { path, .. } => write!(f, "copy the mount of the file `{}`", text(path)),
            Self::Mount { target, kind, .. } if kind.is_empty() => write!(f, "bind or remount `{}`", text(target)),
            Self::Mount { target, kind, .. } => write!(f, "mount `{}` on `{}`", text(kind), text(target)),
            Self::MountSysfs { target, .. } => write!(f, "mount `sysfs` on `{}`", text(target)),
            Self::Unmount(path) => write!(f, "unmount `{}`", text(path)),
            Self::MakeDirectory { parent, name, .. } => {
                write!(f, "make the working directory `{}/{}`", text(parent).trim_end_matches('/'), text(name))
            }
            Self::SetHostname(name) => write!(f, "set the host name `{}`", text(name)),
            Self::Umask(_) => f.write_str("set the file mode mask"),
            Self::ResetSignals => f.write_str("reset the reactions to signals"),
            Self::AwaitInit => f.write_str("wait for the init program"),
            Self::UnblockSignals => f.write_str("unblock signals"),
            Self::CloseDescriptors { .. } => f.write_str("close the files of the engine"),
            Self::ClearCloseOnExec(_) => f.write_str("hand over the pipe for the start of the command"),
            Self::SetCloseOnExec => f.write_str("mark descriptors to be closed"),
            Self::Seccomp => f.write_str("install the system call filter"),
            Self::LimitCapabilities(_) => f.write_str("drop capabilities"),
            Self::KeepCapabilities | Self::RaiseAmbientCapabilities(_) => f.write_str("hand over capabilities"),
            Self::Setsid => f.write_str("make a session"),
            Self::SetStandardStream { to, .. } => write!(f, "set up standard stream {to}"),
            Self::SetControllingTerminal => f.write_str("make the terminal that of the session"),
            Self::OpenStdin(path) => write!(f, "open `{}` as standard input", text(path)),
            Self::Setgroups(groups) => write!(f, "set the supplementary groups {groups:?}"),
            Self::SetUser { user, group } => write!(f, "become user {user} and group {group}"),
            Self::Chdir(path) => write!(f, "change to the working directory `{}`", text(path)),
        }
    }
}

fn text(string: &CStr) -> std::borrow::Cow<'_, str> {
    string.to_string_lossy()
}
