//! Unix sockets of clients' machines as values of the API.

use std::path::PathBuf;

use rondel_model::{AbsPath, SocketRef};
use rondel_session::Client;

/// The socket at the path `shown` of a client. Its machine has it at `real`.
pub fn socket_at(client: &Client, shown: &AbsPath, real: PathBuf) -> SocketRef {
    // IDENTITY: a path names the same socket in all sessions of a machine. For a process in a
    // container it names a socket of that container.
    let owner = if client.origin.is_none() { "" } else { &*client.id };
    let named = rondel_digest::of("socket/v1", &(owner, shown.as_str()));
    let key = client.services.mac(named.as_bytes());
    client.session.sockets.put(key, client.machine.clone(), real);
    SocketRef { key }
}
