//! A handle on a unix socket of a client. What is said over it is never here.

use rondel_digest::Digest;
use serde::{Deserialize, Serialize};

/// A handle on a unix socket of a client's machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SocketRef {
    /// What stands for the socket in cache keys, and the handle under which a session finds it.
    // IDENTITY: a keyed MAC of its path on the client's machine; a socket of a process in a container is that process's own.
    pub key: Digest,
}
