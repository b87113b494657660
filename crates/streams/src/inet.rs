//! TCP and UDP ports on sockets that the caller made, for example in a network namespace.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rondel_link::Protocol;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Stream, datagrams};

/// How many accepted connections may wait for the caller. The kernel queues further ones.
const BACKLOG: usize = 64;
/// How many connections the kernel queues.
const QUEUE: u32 = 1024;

/// A listening port. It closes when the guard is dropped.
pub struct PortListener {
    /// The port.
    pub port: u16,
    /// One stream for every TCP connection, or for every UDP peer.
    pub connections: mpsc::Receiver<Stream>,
    /// Closes the port when it is dropped.
    pub guard: Serving,
}

/// A task that ends when this is dropped.
pub struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects `socket`, which does not block, to `address`.
///
/// # Errors
/// When the connection is refused or times out.
pub async fn connect(socket: OwnedFd, address: SocketAddr, protocol: Protocol) -> io::Result<Stream> {
    match protocol {
        Protocol::Tcp => {
            let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Protocol::Udp => {
            let socket = UdpSocket::from_std(socket.into())?;
            socket.connect(address).await?;
            Ok(Box::new(datagrams::of_connected(socket)))
        }
    }
}

/// Listens with `socket`, which does not block, on `port` of all addresses. Zero is any free port.
///
/// # Errors
/// When the port is taken.
pub fn listen(socket: OwnedFd, port: u16, protocol: Protocol) -> io::Result<PortListener> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let (sender, connections) = mpsc::channel(BACKLOG);
    let (port, serving) = match protocol {
        Protocol::Tcp => {
            let socket = TcpSocket::from_std_stream(socket.into());
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(QUEUE)?;
            let port = listener.local_addr()?.port();
            let serve = async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    if sender.send(Box::new(stream) as Stream).await.is_err() {
                        return;
                    }
                }
            };
            (port, tokio::spawn(serve))
        }
        Protocol::Udp => {
            rustix::net::bind(&socket, &address)?;
            let socket = UdpSocket::from_std(socket.into())?;
            let port = socket.local_addr()?.port();
            let serve = datagrams::accept(socket, move |peer| {
                let sender = sender.clone();
                async move { sender.send(Box::new(peer) as Stream).await.is_ok() }
            });
            (port, tokio::spawn(serve))
        }
    };
    Ok(PortListener { port, connections, guard: Serving(serving) })
}
