//! References to unix sockets of clients.

use rondel_digest::Digest;
use serde::{Deserialize, Serialize};

/// A reference to a unix socket of a client's machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SocketRef {
    /// Represents the socket in cache keys. The session also finds the socket by it.
    // IDENTITY: a keyed MAC of its path on the client's machine; a socket of a process in a
    // container is that process's own.
    pub key: Digest,
}
