//! The handle by which a container is killed from any thread, at any moment of its life.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, pidfd_send_signal};

/// A container that will run, runs or has run.
pub(crate) struct KillHandle {
    /// Written by the kernel while it makes pid 1, before that process runs.
    pidfd: AtomicI32,
    /// Somebody asked for its end.
    killed: AtomicBool,
    /// Held by whoever kills or closes.
    user: Mutex<()>,
}

impl Default for KillHandle {
    fn default() -> Self {
        Self { pidfd: AtomicI32::new(-1), killed: AtomicBool::new(false), user: Mutex::new(()) }
    }
}

impl KillHandle {
    /// Kills every process of the container, now or as soon as it starts.
    pub(crate) fn kill(&self) {
        let _user = self.lock();
        // ORDER: we set the flag and then look for the process; the process is there before it looks at the flag. So one of both
        // sees the other, even when its start blocks.
        self.killed.store(true, Ordering::SeqCst);
        let fd = self.pidfd();
        if fd >= 0 {
            // SAFETY: the descriptor is closed by `close` only, which waits for the lock that we hold.
            let pidfd = unsafe { BorrowedFd::borrow_raw(fd) };
            // A process that has ended already cannot be signalled, and need not be.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Sends a signal to pid 1, which passes it on. A container that does not run yet, or no more, is not told.
    pub(crate) fn signal(&self, signal: Signal) {
        let _user = self.lock();
        let fd = self.pidfd();
        if fd >= 0 {
            // SAFETY: the descriptor is closed by `close` only, which waits for the lock that we hold.
            let pidfd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Whether somebody asked for its end. The new process itself asks this.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Where the kernel writes the pidfd.
    pub(crate) fn slot(&self) -> *mut RawFd {
        self.pidfd.as_ptr()
    }

    /// The pidfd, once there is a process.
    pub(crate) fn pidfd(&self) -> RawFd {
        self.pidfd.load(Ordering::SeqCst)
    }

    /// Closes the pidfd, after the process was waited for.
    pub(crate) fn close(&self) {
        let _user = self.lock();
        let fd = self.pidfd.swap(-1, Ordering::SeqCst);
        if fd >= 0 {
            // SAFETY: the kernel gave us this descriptor in `slot`, and the swap above makes us its only owner.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills the container when a future that waits for it is dropped.
pub(crate) struct KillOnDrop<'a>(pub(crate) &'a KillHandle);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.kill();
    }
}
