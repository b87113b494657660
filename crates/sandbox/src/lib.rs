//! The sandbox: runs processes in containers with bare system calls. Implements
//! [`rondel_ports::process::Processes`].
//!
//! A run uses the files in this order: `run` (one container from its description to its exit),
//! `layout` (mounts as a list of steps), `tree` (paths inside the container, mount points that
//! leave no trace), `users`, `program`, `child` (the only code that runs in the new process),
//! `sealed_program` (the program that executes the command), `output` (streams, waiting, killing).
//! `exec_in` starts a further process in a running container. `limits`, `enforced_limits` and
//! `cgroup` limit the resources of containers.
//!
//! # Invariants
//! * Everything is prepared before the new process exists. It shares the memory of the engine, so
//!   it makes raw system calls only: no allocation, no locks, no panics. It performs a list of
//!   steps that were made beforehand. When a step fails, its index and the error number say what
//!   was attempted on what.
//! * A container never outlives the thread that started it, and so never the engine: pid 1 asks for
//!   `SIGKILL` when that thread ends. So each thread of the pool watches one container, to its end.
//! * No path of a container is followed outside of it: before the start, paths are resolved
//!   component by component below the mounts that will be there. After it, the root is the
//!   container's. Files of the engine that a new process still has are closed before it opens any
//!   path. Magic links of `/proc` are never followed.
//! * Masks over parts of the kernel are mounted before the mounts of the description, and from the
//!   engine's own files.
//! * No process of a container can look into a process that runs on the engine's memory. Such a
//!   process executes only the sealed program of [`sealed_program`], which executes the command. So
//!   when the kernel resolves the command, `/proc/self/exe` is that program and never the engine.
//! * A container can open only the devices that it is given, and cannot change them.
//! * A container never has more capabilities, limits or ids than the engine itself.
//! * When the machine runs out of memory, the kernel kills a container rather than the engine.
//! * Deliberately absent: images, networks, snapshots, the clock.

mod cgroup;
mod child;
mod enforced_limits;
mod exec_in;
mod host;
mod kill_handle;
mod layout;
mod limits;
mod mounts;
mod output;
mod pool;
mod program;
mod run;
mod sealed_program;
mod seccomp;
mod seccomp_table;
mod steps;
mod terminal;
mod tree;
mod users;

use std::num::NonZeroUsize;
use std::sync::Arc;

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::process::{CommandSpec, Entrance, Exit, ProcessControl, ProcessSpec, Processes};
use rondel_ports::{BoxFuture, CancellationToken};
pub use rustix::process::Rlimit;
use rustix::process::{DumpableBehavior, Signal};
use tokio::sync::{mpsc, oneshot};

use crate::cgroup::Cgroups;
use crate::enforced_limits::EnforcedLimits;
use crate::host::Host;
use crate::kill_handle::{KillHandle, KillOnDrop};
pub use crate::limits::Limits;
use crate::pool::Pool;

/// The options of a [`Sandbox`].
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// How many idle threads stay ready for the next container. Each thread watches one container
    /// at a time.
    pub idle_threads: NonZeroUsize,
    /// The resource limits of one container.
    pub limits: Limits,
    /// The limit of open files of containers. `None` is the engine's own.
    pub open_files: Option<Rlimit>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self { idle_threads: NonZeroUsize::MIN.saturating_add(7), limits: Limits::default(), open_files: None }
    }
}

/// Runs processes in containers of its own making.
pub struct Sandbox {
    host: Arc<Host>,
    pool: Arc<Pool>,
}

impl Sandbox {
    /// Examines the host once: capabilities, mapped ids, `/proc` and `/dev`.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the kernel refuses a file in memory.
    pub fn new(options: SandboxOptions) -> Result<Self> {
        // A further process in a container runs on the engine's memory until it executes its
        // program, and other processes of the container see it already.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .attempt(|| "keep the engine's memory to itself".into())?;
        let limits = EnforcedLimits::detect(&options.limits, options.open_files);
        Ok(Self { host: Arc::new(Host::detect(limits)?), pool: Arc::new(Pool::new(options.idle_threads.get())) })
    }

    /// Warnings about resource limits that this machine cannot enforce.
    pub fn warnings(&self) -> Vec<String> {
        let limits = &self.host.limits;
        let (memory, processes) = limits.cgroups.as_ref().map_or((false, false), Cgroups::limits);
        // The kernel limits the number of processes of an ordinary user, but not of root.
        let lacking = match (memory, processes || !self.host.users.is_full()) {
            (true, true) => return Vec::new(),
            (false, true) => "memory",
            (true, false) => "processes",
            (false, false) => "memory and processes",
        };
        let reason = limits.reason.as_deref().unwrap_or("the control groups of this machine do not count them");
        vec![format!("containers have no limit of {lacking}: {reason}")]
    }
}

impl Processes for Sandbox {
    fn run(&self, mut spec: ProcessSpec, cancel: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(async move {
            let what = spec.args.first().cloned().unwrap_or_default();
            let cancelled = || Fault::cancelled(format!("the run of `{what}` was cancelled"));
            if cancel.is_cancelled() {
                return Err(cancelled());
            }
            let mut signals = None;
            spec.control = spec.control.map(|ProcessControl { started, signals: wanted }| {
                let (_, none) = mpsc::unbounded_channel();
                signals = Some(wanted);
                ProcessControl { started, signals: none }
            });
            let handle = Arc::new(KillHandle::default());
            let (sender, mut receiver) = oneshot::channel();
            let (host, run_handle) = (Arc::clone(&self.host), Arc::clone(&handle));
            self.pool.submit(Box::new(move |stacks| {
                // The receiver is gone when the future was dropped. The outcome is not needed then.
                let _ = sender.send(run::run(&host, spec, &run_handle, stacks));
            }))?;
            let _guard = KillOnDrop(&handle);
            loop {
                tokio::select! {
                    outcome = &mut receiver => {
                        return outcome.unwrap_or_else(|_| Err(Fault::bug(format!("the thread that ran `{what}` ended early"))));
                    }
                    () = cancel.cancelled() => {
                        handle.kill();
                        let _ = receiver.await;
                        return Err(cancelled());
                    }
                    signal = next(&mut signals) => match signal.map(Signal::from_named_raw) {
                        Some(Some(signal)) => handle.signal(signal),
                        Some(None) => {}
                        None => signals = None,
                    },
                }
            }
        })
    }

    fn enter(&self, entrance: Entrance, spec: CommandSpec, cancel: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(async move {
            let what = spec.args.first().cloned().unwrap_or_default();
            let handle = Arc::new(KillHandle::default());
            let (sender, mut receiver) = oneshot::channel();
            let (host, run_handle) = (Arc::clone(&self.host), Arc::clone(&handle));
            // The thread stays in the container's PID namespace from then on: an ordinary user's
            // thread cannot leave it again.
            std::thread::Builder::new()
                .name("rondel-enter".into())
                .spawn(move || {
                    let mut stacks = child::Stacks::default();
                    let _ = sender.send(exec_in::run(&host, &entrance, spec, &run_handle, &mut stacks));
                })
                .attempt(|| format!("start a thread for `{what}`"))?;
            let _guard = KillOnDrop(&handle);
            tokio::select! {
                outcome = &mut receiver => outcome
                    .unwrap_or_else(|_| Err(Fault::bug(format!("the thread that ran `{what}` ended early")))),
                () = cancel.cancelled() => {
                    handle.kill();
                    let _ = receiver.await;
                    Err(Fault::cancelled(format!("the run of `{what}` was cancelled")))
                }
            }
        })
    }

    fn clean_up(&self) -> Result<()> {
        // ORDER: the kernel killed the containers of an earlier engine when it ended (see the
        // second invariant). Their mounts and namespaces ended with their last process.
        Ok(())
    }
}

/// The next signal for the program. Never completes without a sender.
async fn next(signals: &mut Option<mpsc::UnboundedReceiver<i32>>) -> Option<i32> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.pool.close();
    }
}
