//! Streams between this machine and the engine: dialled, accepted, or the terminal's.
//!
//! *Invariants.* Every stream ends with the client: ports close, connections break. Each stream is
//! a connection of its own to the engine, so that the kernel paces it.

use std::collections::HashMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use rondel_fault::{Fault, Result, lock};
use rondel_link::{Address, Answer, Protocol, STREAM, TICKET_HEADER};
use rondel_streams::{datagrams, unix};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};

use crate::endpoint::Endpoint;

/// The buffer in each direction of a stream, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A stream to the engine.
pub type Stream = BufReader<rondel_streams::Stream>;
/// Shows a stream of the engine on the terminal of this process, until it ends.
pub type ShowTerminal = Arc<dyn Fn(Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The streams of one client.
pub(crate) struct Streams {
    endpoint: Endpoint,
    terminal: Option<ShowTerminal>,
    /// The holder of this lock uses the terminal.
    terminal_lock: Arc<tokio::sync::Mutex<()>>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    all: JoinSet<()>,
    listening: HashMap<String, AbortHandle>,
    ended: bool,
}

/// Ends every stream of a client when it is dropped.
pub(crate) struct EndOnDrop(pub(crate) Arc<Streams>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let mut tasks = self.0.tasks();
        tasks.ended = true;
        tasks.all.abort_all();
    }
}

impl Streams {
    pub(crate) fn new(endpoint: Endpoint, terminal: Option<ShowTerminal>) -> Arc<Self> {
        Arc::new(Self { endpoint, terminal, terminal_lock: Arc::default(), tasks: Mutex::default() })
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        lock(&self.tasks)
    }

    /// Runs `work` until it ends or the client does.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut tasks = self.tasks();
        while tasks.all.try_join_next().is_some() {}
        (!tasks.ended).then(|| tasks.all.spawn(work))
    }

    /// The answer to [`rondel_link::Question::Socket`].
    pub(crate) async fn find_socket(&self, path: &Path) -> Answer {
        match tokio::fs::metadata(path).await {
            Ok(found) if found.file_type().is_socket() => Answer::Done,
            Ok(_) => Answer::Failed("it is no socket".into()),
            Err(e) => Answer::Failed(plain(&e)),
        }
    }

    /// The answer to [`rondel_link::Question::Dial`].
    pub(crate) async fn dial(self: &Arc<Self>, ticket: &str, to: Address) -> Answer {
        let dialled = match to {
            Address::Unix(path) => unix::connect(path).await.map(|near| self.join(ticket, near)),
            Address::Port { host, port, protocol: Protocol::Tcp } => {
                TcpStream::connect((host.as_str(), port)).await.map(|near| {
                    let _ = near.set_nodelay(true);
                    self.join(ticket, near)
                })
            }
            Address::Port { host, port, protocol: Protocol::Udp } => {
                udp(&host, port).await.map(|near| self.join(ticket, datagrams::of_connected(near)))
            }
        };
        match dialled {
            Ok(joining) => done(joining.await),
            Err(e) => Answer::Failed(plain(&e)),
        }
    }

    /// Carries bytes between `near` and the stream that `ticket` names.
    fn join(
        self: &Arc<Self>,
        ticket: &str,
        mut near: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        let (streams, ticket) = (self.clone(), ticket.to_owned());
        Box::pin(async move {
            let mut far = streams.open(&ticket).await?;
            streams.spawn(async move {
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER_BYTES, BUFFER_BYTES).await;
            });
            Ok(())
        })
    }

    /// The answer to [`rondel_link::Question::Listen`].
    pub(crate) async fn listen(self: &Arc<Self>, ticket: String, port: u16, protocol: Protocol) -> Answer {
        let opened = match protocol {
            Protocol::Tcp => self.listen_tcp(&ticket, port).await,
            Protocol::Udp => self.listen_udp(&ticket, port).await,
        };
        match opened {
            Ok((port, Some(task))) => {
                self.tasks().listening.insert(ticket, task);
                Answer::Port(port)
            }
            Ok((_, None)) => Answer::Failed("the client is ending".into()),
            Err(e) => Answer::Failed(plain(&e)),
        }
    }

    async fn listen_tcp(self: &Arc<Self>, ticket: &str, port: u16) -> std::io::Result<(u16, Option<AbortHandle>)> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let port = listener.local_addr()?.port();
        let (streams, ticket) = (Arc::downgrade(self), ticket.to_owned());
        let task = self.spawn(async move {
            loop {
                let near = match listener.accept().await {
                    Ok((near, _)) => near,
                    // The peer went away, or this process has too many files open for now.
                    Err(_) => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        continue;
                    }
                };
                let Some(streams) = streams.upgrade() else { return };
                let _ = near.set_nodelay(true);
                let joining = streams.join(&ticket, near);
                // If the engine does not wait for the stream, the connection ends.
                streams.spawn(async move { drop(joining.await) });
            }
        });
        Ok((port, task))
    }

    async fn listen_udp(self: &Arc<Self>, ticket: &str, port: u16) -> std::io::Result<(u16, Option<AbortHandle>)> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let port = socket.local_addr()?.port();
        let (streams, ticket) = (Arc::downgrade(self), ticket.to_owned());
        let task = self.spawn(datagrams::accept(socket, move |near| {
            let joining = streams.upgrade().map(|streams| (streams.join(&ticket, near), streams));
            std::future::ready(match joining {
                Some((joining, streams)) => streams.spawn(async move { drop(joining.await) }).is_some(),
                None => false,
            })
        }));
        Ok((port, task))
    }

    /// Closes the port that `ticket` opened.
    pub(crate) fn release(&self, ticket: &str) {
        if let Some(task) = self.tasks().listening.remove(ticket) {
            task.abort();
        }
    }

    /// The answer to [`rondel_link::Question::Terminal`]. While the terminal is in use, further
    /// questions wait.
    pub(crate) async fn terminal(self: &Arc<Self>, ticket: &str) -> Answer {
        let Some(show) = self.terminal.clone() else { return Answer::Failed("the client has no TTY".into()) };
        let terminal_lock = self.terminal_lock.clone().lock_owned().await;
        match self.open(ticket).await {
            Ok(stream) => {
                self.spawn(async move {
                    show(stream).await;
                    drop(terminal_lock);
                });
                Answer::Done
            }
            Err(fault) => Answer::Failed(fault.full_message()),
        }
    }

    /// The engine's end of a stream.
    async fn open(&self, ticket: &str) -> Result<Stream> {
        let connection = self.endpoint.open(None).await?;
        self.endpoint.upgrade(connection.stream, STREAM, &[(TICKET_HEADER, ticket)], "").await
    }
}

async fn udp(host: &str, port: u16) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let address = { tokio::net::lookup_host((host, port)).await? }.find(std::net::SocketAddr::is_ipv4);
    let address = address.ok_or_else(|| std::io::Error::other(format!("`{host}` has no IPv4 address")))?;
    socket.connect(address).await?;
    Ok(socket)
}

fn done(result: Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(fault) => Answer::Failed(Fault::full_message(&fault)),
    }
}

/// The text of `e` without the error number, with a lower case first letter.
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
