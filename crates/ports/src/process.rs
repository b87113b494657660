//! Running a process in a container.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rondel_fault::Result;
use tokio::sync::{mpsc, oneshot};

use crate::{BoxFuture, CancellationToken};

/// Everything that is needed to run one process. The root and every tree mount are detached mounts,
/// which move into the process's mount namespace.
pub struct ProcessSpec {
    /// The root of the container: a detached, writable mount.
    pub root: OwnedFd,
    /// What is mounted below it, in order.
    pub mounts: Vec<ProcessMount>,
    /// The command line, never empty. The program is looked up in the `PATH` of `env` inside the
    /// container.
    pub args: Vec<String>,
    /// The environment, complete.
    pub env: Vec<(String, String)>,
    /// The working directory inside; made (owned by the user) when missing.
    pub workdir: String,
    /// The user as written: `name`, `name:group`, `uid`, `uid:gid`; empty is root. Names are those
    /// of the container.
    pub user: String,
    /// The host name.
    pub hostname: String,
    /// All capabilities of the engine and no seccomp profile.
    pub insecure: bool,
    /// The process is pid 1 itself: no init reaps for it.
    pub no_init: bool,
    /// The network namespace. `None` means a new one with loopback only.
    pub network: Option<Arc<OwnedFd>>,
    /// The text of `/etc/resolv.conf`. `None` leaves the file of the container alone.
    pub resolv_conf: Option<String>,
    /// Lines of `/etc/hosts` beside the usual ones.
    pub hosts: Vec<(Ipv4Addr, String)>,
    /// Standard input.
    pub stdin: ProcessStdin,
    /// Start notification and signals of a long-running process. `None` if the caller only waits
    /// for the exit.
    pub control: Option<ProcessControl>,
    /// Receives standard output, in pieces as they come, from a blocking thread.
    pub stdout: OutputSink,
    /// Receives standard error, likewise.
    pub stderr: OutputSink,
}

/// The engine's side of a process that runs for long.
pub struct ProcessControl {
    /// Is told when the program runs.
    pub started: oneshot::Sender<Entrance>,
    /// Signals for the program, by their numbers.
    pub signals: mpsc::UnboundedReceiver<i32>,
}

/// The way into a container that runs.
#[derive(Clone)]
pub struct Entrance {
    /// Its first process: it names the container's namespaces, and stays the same process even when
    /// its number is used again.
    pub process: Arc<OwnedFd>,
    /// The number of that process as the engine sees it.
    pub pid: i32,
}

/// A further process in a container that runs. It sees what the container sees.
pub struct CommandSpec {
    /// The command line, never empty.
    pub args: Vec<String>,
    /// The environment, complete.
    pub env: Vec<(String, String)>,
    /// The working directory inside.
    pub workdir: String,
    /// The user as written; empty is root.
    pub user: String,
    /// All capabilities of the engine and no seccomp profile.
    pub insecure: bool,
    /// Standard input.
    pub stdin: ProcessStdin,
    /// Receives standard output.
    pub stdout: OutputSink,
    /// Receives standard error.
    pub stderr: OutputSink,
}

/// Receives output in pieces.
pub type OutputSink = Box<dyn FnMut(&[u8]) + Send>;

/// Standard input of a process.
pub enum ProcessStdin {
    /// End of file at once.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A path inside the container, resolved after the mounts.
    Path(String),
    /// A terminal of the container, which is also its standard output and error, and controls the
    /// process. The sinks receive nothing then.
    Terminal(ProcessTerminal),
}

/// A terminal that a process is given.
pub struct ProcessTerminal {
    /// Columns at first.
    pub columns: u16,
    /// Rows at first.
    pub rows: u16,
    /// Is given the other side of it, which does not block: what is written there was typed, what
    /// is read is shown.
    pub master: oneshot::Sender<OwnedFd>,
}

/// One thing mounted in a container.
pub struct ProcessMount {
    /// The absolute path inside; made when missing, as a directory or file as the source asks.
    pub target: String,
    /// What.
    pub source: ProcessMountSource,
}

/// What is mounted.
pub enum ProcessMountSource {
    /// A detached mount of a directory or a file.
    Detached {
        /// The mount.
        mount: OwnedFd,
        /// Writes fail.
        read_only: bool,
    },
    /// A directory or file of the host, bound.
    Bind {
        /// The path on the host.
        path: PathBuf,
        /// Writes fail.
        read_only: bool,
    },
    /// A file system in memory.
    Temp {
        /// Its size in bytes.
        size: Option<u64>,
    },
    /// A file with this content, in memory: it touches no disk.
    Content {
        /// The content.
        bytes: Vec<u8>,
        /// The permission bits.
        mode: u32,
        /// The owner as written; empty is root.
        owner: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The limit that the container reached while it ran, which may be why it ended so. `None`: no
    /// limit, as far as is known.
    pub limit: Option<Limit>,
}

/// A limit of what a container may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory of the container.
    Memory(u64),
    /// Processes and threads of the container at once.
    Processes(u64),
    /// The memory of the machine.
    MachineMemory,
}

/// Runs processes in containers.
pub trait Processes: Send + Sync {
    /// Runs one process to its end. When `cancel` fires, or the future is dropped, every process of
    /// the container is killed. When it returns, no process, mount or namespace of the container is
    /// left, and both sinks have received everything.
    ///
    /// # Errors
    /// When the process cannot be started: an unknown user, a missing program (kind `User`, the
    /// message names it), a kernel that refuses; or `Cancelled`.
    fn run(&self, spec: ProcessSpec, cancel: CancellationToken) -> BoxFuture<'_, Result<Exit>>;

    /// Runs a further process in a container that runs, to its end. When `cancel` fires, or the
    /// future is dropped, it is killed; what it started itself ends with the container.
    ///
    /// # Errors
    /// When the container has ended, or the process cannot be started; or `Cancelled`.
    fn enter(&self, entrance: Entrance, spec: CommandSpec, cancel: CancellationToken) -> BoxFuture<'_, Result<Exit>>;

    /// Removes what an earlier run of the engine left behind when it was killed: processes,
    /// cgroups.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    fn clean_up(&self) -> Result<()>;
}
