//! Unix sockets that a session's clients gave, by the key that stands for them everywhere else.
//!
//! *Invariants.* A handle leads to the socket that a client of *this* session gave under it, or nowhere: never to another
//! session's, and never to a path that somebody made up.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::SocketRef;
use rondel_ports::BoxFuture;
use rondel_ports::streams::{Address, Machine, Sockets, Stream};

/// Sockets by key.
#[derive(Default)]
pub struct SocketStore {
    known: Mutex<HashMap<Digest, Known>>,
}

#[derive(Clone)]
struct Known {
    machine: Arc<dyn Machine>,
    path: PathBuf,
}

impl SocketStore {
    /// Remembers for as long as the session lives that `key` stands for the socket at `path` of `machine`.
    pub fn put(&self, key: Digest, machine: Arc<dyn Machine>, path: PathBuf) {
        lock(&self.known).insert(key, Known { machine, path });
    }

    /// Whether some client of the session gave it.
    pub fn has(&self, key: &Digest) -> bool {
        lock(&self.known).contains_key(key)
    }

    fn known(&self, socket: &SocketRef) -> Result<Known> {
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
            let Known { machine, path } = self.known(socket)?;
            machine.find_socket(&path).await
        })
    }

    fn connect<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<Stream>> {
        Box::pin(async move {
            let Known { machine, path } = self.known(socket)?;
            machine.dial(Address::Unix(path)).await
        })
    }
}
