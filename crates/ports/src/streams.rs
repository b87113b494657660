//! Streams of bytes between containers and the machine of a client.

use std::any::Any;
use std::path::Path;

use rondel_fault::Result;
pub use rondel_link::{Address, Protocol};
use rondel_model::SocketRef;
pub use rondel_streams::{ByteStream, Stream};
use tokio::sync::mpsc;

use crate::BoxFuture;

/// A port that is open on the machine of a client. It closes when this is dropped; streams that came from it go on.
pub struct Listening {
    /// The port.
    pub port: u16,
    /// A stream for every connection; of a UDP port one for every peer, with a packet ([`rondel_link::stream::Packet`]) for each
    /// datagram.
    pub connections: mpsc::Receiver<Stream>,
    /// Closes the port when it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Sockets, ports and the terminal of the machine on which a client runs; for a process in a container: those that it sees.
pub trait Machine: Send + Sync {
    /// Looks for a unix socket, without connecting to it.
    ///
    /// # Errors
    /// When there is none at `path`, or the client went away.
    fn find_socket<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>>;

    /// Connects to an address.
    ///
    /// # Errors
    /// When nobody answers there, or the client went away.
    fn dial(&self, to: Address) -> BoxFuture<'_, Result<Stream>>;

    /// Opens a port on all addresses of the machine; zero is any free one.
    ///
    /// # Errors
    /// When it is taken, or the client went away.
    fn listen(&self, port: u16, protocol: Protocol) -> BoxFuture<'_, Result<Listening>>;

    /// Takes the terminal of the client until the stream is dropped. What is written is shown, what is read are packets: what was
    /// typed, and sizes, of which the first packet is one.
    ///
    /// # Errors
    /// When the client has no terminal, or somebody has taken it.
    fn terminal(&self) -> BoxFuture<'_, Result<Stream>>;
}

/// Leads from handles to sockets of clients.
pub trait Sockets: Send + Sync {
    /// Whether the socket is there, without connecting to it.
    ///
    /// # Errors
    /// When it is not, or the session does not know it.
    fn find<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<()>>;

    /// Connects to the socket.
    ///
    /// # Errors
    /// When nobody listens on it, or the session does not know it.
    fn connect<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<Stream>>;
}
