//! Unix sockets that the clients of a session passed, by the key that names them everywhere else.
//!
//! *Invariants.* A key leads to the socket that a client of *this* session passed under it, or
//! nowhere: never to a socket of another session, and never to a path that a process chose.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::SocketRef;
use rondel_ports::BoxFuture;
use rondel_ports::streams::{Address, Machine, Sockets, Stream};

/// The sockets of a session, by key.
#[derive(Default)]
pub struct SocketStore {
    known: Mutex<HashMap<Digest, KnownSocket>>,
}

#[derive(Clone)]
struct KnownSocket {
    machine: Arc<dyn Machine>,
    path: PathBuf,
}

impl SocketStore {
    /// Records the socket at `path` of `machine` under `key` until the session ends.
    pub fn put(&self, key: Digest, machine: Arc<dyn Machine>, path: PathBuf) {
        lock(&self.known).insert(key, KnownSocket { machine, path });
    }

    /// Whether a client of the session passed the socket `key`.
    pub fn contains(&self, key: &Digest) -> bool {
        lock(&self.known).contains_key(key)
    }

    fn known(&self, socket: &SocketRef) -> Result<KnownSocket> {
        let found = lock(&self.known).get(&socket.key).cloned();
        found.ok_or_else(unknown)
    }
}

/// The error for a socket of another session.
pub fn unknown() -> Fault {
    // Clients match on the last words.
    Fault::user("the socket is not known in this session: no bound resource for session")
        .with_hint("ask for it again with `host.unixSocket`")
}

impl Sockets for SocketStore {
    fn find<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let KnownSocket { machine, path } = self.known(socket)?;
            machine.find_socket(&path).await
        })
    }

    fn connect<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<Stream>> {
        Box::pin(async move {
            let KnownSocket { machine, path } = self.known(socket)?;
            machine.dial(Address::Unix(path)).await
        })
    }
}
