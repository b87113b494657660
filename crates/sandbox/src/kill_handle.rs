//! A handle that kills a container from any thread, at any moment of its life.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard};

use rondel_fault::lock;

use rustix::process::{Signal, pidfd_send_signal};

/// The handle of a container that will run, runs or has run.
pub(crate) struct KillHandle {
    /// Written by the kernel while it makes pid 1, before that process runs.
    pidfd: AtomicI32,
    /// Whether its end was requested.
    killed: AtomicBool,
    /// Held while the pidfd is used or closed.
    in_use: Mutex<()>,
}

impl Default for KillHandle {
    fn default() -> Self {
        Self { pidfd: AtomicI32::new(-1), killed: AtomicBool::new(false), in_use: Mutex::new(()) }
    }
}

impl KillHandle {
    /// Kills every process of the container, now or as soon as it starts.
    pub(crate) fn kill(&self) {
        let _in_use = self.lock();
        // ORDER: this sets the flag and then looks for the process. The process exists before it
        // looks at the flag. So one of the two sees the other, even when the start blocks.
        self.killed.store(true, Ordering::SeqCst);
        let fd = self.pidfd();
        if fd >= 0 {
            // SAFETY: only `close` closes the descriptor, and it waits for the lock that is held
            // here.
            let pidfd = unsafe { BorrowedFd::borrow_raw(fd) };
            // Fails only if the process has ended already.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Sends a signal to pid 1, which passes it on to the command. Has no effect before the
    /// container runs and after its end.
    pub(crate) fn signal(&self, signal: Signal) {
        let _in_use = self.lock();
        let fd = self.pidfd();
        if fd >= 0 {
            // SAFETY: only `close` closes the descriptor, and it waits for the lock that is held
            // here.
            let pidfd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Whether its end was requested. Called by the new process.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// The address to which the kernel writes the pidfd.
    pub(crate) fn slot(&self) -> *mut RawFd {
        self.pidfd.as_ptr()
    }

    /// The pidfd, or -1 while there is no process.
    pub(crate) fn pidfd(&self) -> RawFd {
        self.pidfd.load(Ordering::SeqCst)
    }

    /// Closes the pidfd, after the process was waited for.
    pub(crate) fn close(&self) {
        let _in_use = self.lock();
        let fd = self.pidfd.swap(-1, Ordering::SeqCst);
        if fd >= 0 {
            // SAFETY: the kernel wrote this descriptor to `slot`, and the swap above makes this the
            // only owner.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        lock(&self.in_use)
    }
}

/// Kills the container on drop, with the future that waits for it.
pub(crate) struct KillOnDrop<'a>(pub(crate) &'a KillHandle);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.kill();
    }
}
