//! What a new process does, one system call or a few at a time, as data. Made by `layout` and `run`, performed by `child`.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::RawFd;

/// A step of a new process.
pub(crate) struct Step {
    /// What it does.
    pub(crate) action: Action,
    /// A failure does not matter.
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

/// One act. Descriptors are numbers, because the process that uses them has a copy of the table; their owners outlive it.
pub(crate) enum Action {
    /// Die when the engine does; it has died already when its pidfd, given here, says so.
    SetParentDeathSignal(RawFd),
    /// Make the kernel prefer this process, and what it starts, when it has to kill one for want of
    /// memory; in digits.
    OomScoreAdj(CString),
    /// Limit a resource of this process and what it starts.
    SetRlimit {
        /// The kernel's number of the resource.
        resource: u32,
        /// The soft and the hard limit.
        limits: [u64; 2],
    },
    /// See the own control group as the root of all.
    UnshareCgroups,
    /// Enter namespaces of a container.
    JoinNamespaces {
        /// The pidfd of its first process.
        container: RawFd,
        /// Which, as `CLONE_NEW…` flags.
        namespaces: i32,
    },
    /// Enter this network namespace.
    JoinNetwork(RawFd),
    /// Bring the loopback interface up.
    LoopbackUp,
    /// Cut the mount namespace off from that of the host.
    MakeMountsPrivate,
    /// Make this detached mount the root.
    PivotRoot(RawFd),
    /// Forget the old root.
    DetachOldRoot,
    /// Attach a detached mount.
    AttachMount {
        /// The mount.
        mount: RawFd,
        /// Where.
        target: CString,
    },
    /// Copy the mount at a path into a slot, detached.
    OpenTree {
        /// The path.
        path: CString,
        /// The index of the slot.
        slot: usize,
    },
    /// Attach what a slot has.
    MoveMount {
        /// The index of the slot.
        slot: usize,
        /// Where.
        target: CString,
    },
    /// `mount(2)`.
    Mount {
        /// The source.
        source: CString,
        /// Where.
        target: CString,
        /// The file system, empty for a bind or a remount.
        kind: CString,
        /// The flags.
        flags: u64,
        /// Options of the file system.
        data: CString,
    },
    /// Mount `/sys`, or attach something instead when the kernel refuses.
    MountSysfs {
        /// Where.
        target: CString,
        /// The flags.
        flags: u64,
        /// A detached mount.
        instead: Option<RawFd>,
    },
    /// Unmount lazily.
    Unmount(CString),
    /// Make a directory that may exist already; a new one gets the owner.
    MakeDirectory {
        /// The path of the directory in which it is made; no link of `/proc` is followed to what a
        /// process has.
        parent: CString,
        /// Its name there.
        name: CString,
        /// User and group.
        owner: (u32, u32),
    },
    /// Set the host name.
    SetHostname(CString),
    /// Set the permission bits that new files do not get.
    Umask(u32),
    /// Default reactions to every signal.
    ResetSignals,
    /// Wait until the init program runs and says so.
    AwaitInit,
    /// Receive every signal.
    UnblockSignals,
    /// Close everything but the standard streams, and what is given. From then on the process knows nothing of the engine's files,
    /// which paths below `/proc/self/fd` would lead to.
    CloseDescriptors {
        /// What stays open, ascending.
        except: Vec<RawFd>,
    },
    /// Let this descriptor survive the next exec.
    ClearCloseOnExec(RawFd),
    /// Nothing but the standard streams survives an exec.
    SetCloseOnExec,
    /// Install the system call filter.
    Seccomp,
    /// Keep these capabilities only.
    LimitCapabilities(u64),
    /// A change of user takes no capability away.
    KeepCapabilities,
    /// Have these capabilities in every set, so that programs which are executed have them too,
    /// whatever user runs them.
    RaiseAmbientCapabilities(u64),
    /// Lead a new session.
    Setsid,
    /// Make a descriptor a standard stream.
    SetStandardStream {
        /// The descriptor.
        from: RawFd,
        /// 0, 1 or 2.
        to: RawFd,
    },
    /// Make standard input, a terminal, the one that controls the session.
    SetControllingTerminal,
    /// Open a file as standard input; no link of `/proc` is followed to what a process has.
    OpenStdin(CString),
    /// Set the supplementary groups.
    Setgroups(Vec<u32>),
    /// Become this user and group.
    SetUser {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
    },
    /// Set the working directory; no link of `/proc` is followed to what a process has.
    Chdir(CString),
}

impl Action {
    /// Whether a failure is the fault of whoever described the process.
    pub(crate) fn is_user_error(&self) -> bool {
        matches!(self, Self::MakeDirectory { .. } | Self::OpenStdin(_) | Self::Chdir(_))
    }
}

/// What is attempted, to follow `cannot`.
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
