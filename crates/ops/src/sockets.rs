//! Unix sockets in containers that are forwarded to sockets of clients.
//!
//! The engine listens on a socket file of its own, which is mounted in the container; each
//! connection is passed on to the client's socket. *Invariants.* When the container ends, its
//! sockets and all their connections end.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use rondel_events::{Emitter, Stream as Log};
use rondel_fault::{Attempt, Result};
use rondel_model::SocketRef;
use rondel_ports::dirs::TempDir;
use rondel_ports::streams::Sockets;
use rondel_streams::relay::{self, Relay};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::owner::Ids;

/// How many connections to one socket may be open at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;

/// Socket files of one container.
pub(crate) struct SocketFiles {
    folder: TempDir,
    listening: Vec<(SocketRef, UnixListener)>,
}

impl SocketFiles {
    /// No files yet. `folder` is removed with them.
    pub(crate) fn new(folder: TempDir) -> Self {
        Self { folder, listening: Vec::new() }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Listens on a new file that leads to `socket` and returns its name in the directory.
    pub(crate) fn add(&mut self, socket: &SocketRef, owner: Option<Ids>) -> Result<String> {
        let what = || "make a socket for a container".to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(self.folder.path(), flags, Mode::empty()).attempt(what)?;
        let name = self.listening.len().to_string();
        // The kernel limits the length of socket paths, and the directory's path may be longer.
        let path = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&folder));
        let listener = UnixListener::bind(path).attempt(what)?;
        listener.set_nonblocking(true).attempt(what)?;
        rustix::fs::chmodat(folder.as_fd(), &name, Mode::from_raw_mode(0o600), AtFlags::empty()).attempt(what)?;
        if let Some(ids) = owner {
            let (user, group) = (rustix::fs::Uid::from_raw(ids.uid), rustix::fs::Gid::from_raw(ids.gid));
            rustix::fs::chownat(folder.as_fd(), &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .attempt(what)?;
        }
        self.listening.push((socket.clone(), listener));
        Ok(name)
    }

    /// Serves the files until the guard is dropped.
    pub(crate) fn serve(mut self, sockets: &Arc<dyn Sockets>, events: &Emitter) -> Result<Serving> {
        let mut relays = Vec::new();
        for (socket, listener) in self.listening.drain(..) {
            let listener = tokio::net::UnixListener::from_std(listener).attempt(|| "serve a socket".into())?;
            let (sockets, events) = (sockets.clone(), events.clone());
            relays.push(Relay::start(listener, MAX_CONNECTIONS, move |near| {
                pass_on(near, socket.clone(), sockets.clone(), events.clone())
            }));
        }
        Ok(Serving { _relays: relays, _files: self })
    }
}

/// Sockets that are being served until this is dropped.
pub(crate) struct Serving {
    _relays: Vec<Relay>,
    _files: SocketFiles,
}

async fn pass_on(mut near: tokio::net::UnixStream, socket: SocketRef, sockets: Arc<dyn Sockets>, events: Emitter) {
    match sockets.connect(&socket).await {
        Ok(mut far) => {
            // An error of either side ends the connection, which both sides notice.
            let _ = relay::copy(&mut near, &mut far).await;
        }
        Err(fault) => events.log(Log::Note, format!("a connection to a socket of the client failed: {fault}\n")),
    }
}
