//! Socket relays: each connection of a listener is carried to another socket.
//!
//! *Invariants.* A relay ends when its value is dropped, and with it every connection that it
//! carries. The number of connections at a time is bounded; further ones wait in the listener's
//! queue.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Stream;

/// How many bytes may wait in each direction of a connection.
const BUFFER_BYTES: usize = 64 << 10;

/// A source of connections.
pub trait Listener: Send + 'static {
    /// One connection.
    type Connection: Send + 'static;

    /// The next connection, or `None` when there will be no more. Dropping the future loses none.
    fn next(&mut self) -> impl Future<Output = Option<Self::Connection>> + Send;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    async fn next(&mut self) -> Option<TcpStream> {
        self.accept().await.ok().map(|(connection, _)| connection)
    }
}

impl Listener for UnixListener {
    type Connection = UnixStream;

    async fn next(&mut self) -> Option<UnixStream> {
        self.accept().await.ok().map(|(connection, _)| connection)
    }
}

impl Listener for mpsc::Receiver<Stream> {
    type Connection = Stream;

    async fn next(&mut self) -> Option<Stream> {
        self.recv().await
    }
}

/// A relay in the background. It ends when this is dropped, with all its connections.
pub struct Relay {
    _serving: JoinSet<()>,
}

impl Relay {
    /// Hands every connection of `listener` to `carry`, until the listener ends or this is dropped.
    /// At most `max_connections` are open at a time; further ones wait. Must be called within a
    /// runtime.
    pub fn start<L, C, F>(listener: L, max_connections: usize, carry: C) -> Self
    where
        L: Listener,
        C: Fn(L::Connection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, max_connections, carry));
        Self { _serving: serving }
    }
}

async fn serve<L, C, F>(mut listener: L, max_connections: usize, carry: C)
where
    L: Listener,
    C: Fn(L::Connection) -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.next(), if open.len() < max_connections => {
                let Some(connection) = connection else { return };
                open.spawn(carry(connection));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Copies bytes in both directions until both sides have ended.
///
/// # Errors
/// When one side breaks off. Both connections are to be dropped then.
pub async fn copy<A, B>(near: &mut A, far: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    tokio::io::copy_bidirectional_with_sizes(near, far, BUFFER_BYTES, BUFFER_BYTES).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::Notify;

    use super::*;

    fn connection() -> (DuplexStream, Stream) {
        let (near, far) = tokio::io::duplex(64);
        (near, Box::new(far))
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_and_all_end_with_the_relay() {
        let (sender, listener) = mpsc::channel(4);
        let release = Arc::new(Notify::new());
        let waiting = release.clone();
        let relay = Relay::start(listener, 1, move |mut connection: Stream| {
            let release = waiting.clone();
            async move {
                let _ = connection.write_all(b"x").await;
                release.notified().await;
            }
        });
        let ((mut one, first), (mut two, second)) = (connection(), connection());
        for stream in [first, second] {
            assert!(sender.send(stream).await.is_ok(), "the relay takes connections");
        }
        assert_eq!(one.read_u8().await.ok(), Some(b'x'));
        assert_eq!(sender.capacity(), 3, "the second one waits");
        release.notify_one();
        assert_eq!(two.read_u8().await.ok(), Some(b'x'));
        drop(relay);
        assert_eq!(two.read(&mut [0]).await.ok(), Some(0), "it ends with the relay");
    }
}
