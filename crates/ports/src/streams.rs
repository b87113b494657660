//! Streams of bytes between containers and the machine of a client.

use std::any::Any;
use std::path::Path;

use rondel_fault::Result;
pub use rondel_link::{Address, Protocol};
use rondel_model::SocketRef;
pub use rondel_streams::{ByteStream, Stream};
use tokio::sync::mpsc;

use crate::BoxFuture;

/// A port that is open on the client's machine. Dropping it closes the port. Streams that it
/// accepted go on.
pub struct Listening {
    /// The port.
    pub port: u16,
    /// Accepted streams: one for every TCP connection, one for every UDP peer. A UDP stream carries
    /// one packet ([`rondel_link::stream::Packet`]) per datagram.
    pub connections: mpsc::Receiver<Stream>,
    /// Closes the port when it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Sockets, ports and the terminal of the client's machine. For a process in a container: those
/// that the process sees.
pub trait Machine: Send + Sync {
    /// Checks that a unix socket exists, without connecting to it.
    ///
    /// # Errors
    /// When there is none at `path`, or the client disconnected.
    fn find_socket<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>>;

    /// Connects to an address.
    ///
    /// # Errors
    /// When the connection is refused, or the client disconnected.
    fn dial(&self, to: Address) -> BoxFuture<'_, Result<Stream>>;

    /// Opens a port on all addresses of the machine; zero is any free one.
    ///
    /// # Errors
    /// When the port is in use, or the client disconnected.
    fn listen(&self, port: u16, protocol: Protocol) -> BoxFuture<'_, Result<Listening>>;

    /// Takes the terminal of the client until the stream is dropped. Written bytes are shown. Read
    /// packets are typed input and terminal sizes. The first packet is a size.
    ///
    /// # Errors
    /// When the client has no terminal, or it is taken.
    fn terminal(&self) -> BoxFuture<'_, Result<Stream>>;
}

/// Connects socket handles to sockets of clients.
pub trait Sockets: Send + Sync {
    /// Checks that the socket exists, without connecting to it.
    ///
    /// # Errors
    /// When it is not, or the session does not know it.
    fn find<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<()>>;

    /// Connects to the socket.
    ///
    /// # Errors
    /// When the connection is refused, or the session does not know the socket.
    fn connect<'a>(&'a self, socket: &'a SocketRef) -> BoxFuture<'a, Result<Stream>>;
}
