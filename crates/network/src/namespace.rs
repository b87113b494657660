//! Runs work inside a network namespace, on a thread of its own.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Moves the calling thread into a new network namespace and returns a handle of it.
///
/// The thread keeps the namespace alive, so it must end soon and do nothing else.
pub(crate) fn leave_for_new() -> io::Result<OwnedFd> {
    // SAFETY: a network namespace is per thread; no memory or file descriptor stops being shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Runs `work` on a new thread inside `namespace` and waits for it.
pub(crate) fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_thread(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Runs `work` on a new thread and waits for it.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rondel-netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })
}
