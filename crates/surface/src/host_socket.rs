//! Unix sockets of clients' machines, as values of a session.

use std::path::PathBuf;

use rondel_model::{AbsPath, SocketRef};
use rondel_session::Client;

/// The socket at the path `shown` of a client, which is at `real` for its machine.
pub fn socket_at(client: &Client, shown: &AbsPath, real: PathBuf) -> SocketRef {
    // IDENTITY: sessions on the same machine mean the same by a path. What a process in a container
    // means by it is its own.
    let owner = if client.origin.is_none() { "" } else { &*client.id };
    let named = rondel_digest::of("socket/v1", &(owner, shown.as_str()));
    let key = client.services.mac(named.as_bytes());
    client.session.sockets.put(key, client.machine.clone(), real);
    SocketRef { key }
}
