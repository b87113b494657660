//! The name service for containers, which listens on the bridge. It answers names of services in
//! the container's group, and forwards other queries to the host's name servers.
//!
//! Forwarded packets are not parsed beyond their ID. Nothing is cached. Queries over TCP are all
//! forwarded. The host's `resolv.conf` is read for each query, so that names keep working when the
//! machine changes networks. Queries from outside the bridge are dropped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::dns_query::DnsQuery;
use crate::interfaces::Subnet;
use crate::network_policy::{NameAnswer, NetworkPolicy};
use crate::resolv_conf::ResolvConf;

const PORT: u16 = 53;
const MAX_CONCURRENT: usize = 256;
const MAX_MESSAGE_BYTES: usize = 65_535;
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
const LAST_SERVER_TIMEOUT: Duration = Duration::from_secs(5);
const TCP_TIMEOUT: Duration = Duration::from_secs(30);
const HEADER: usize = 12;

/// Sockets on the bridge, opened in the bridge's namespace.
pub(crate) struct Sockets(UdpSocket, TcpListener);

impl Sockets {
    /// Binds both protocols.
    ///
    /// # Errors
    /// When another program listens there already.
    pub(crate) fn bind(address: Ipv4Addr) -> io::Result<Self> {
        let datagrams = UdpSocket::bind((address, PORT))?;
        let streams = TcpListener::bind((address, PORT))?;
        datagrams.set_nonblocking(true)?;
        streams.set_nonblocking(true)?;
        Ok(Self(datagrams, streams))
    }
}

/// The running name service. It ends when this is dropped.
pub(crate) struct Forwarder {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts the service. Sockets to the host's name servers belong to the namespace of the
    /// calling thread.
    pub(crate) fn start(
        sockets: Sockets,
        clients: Subnet,
        policy: Arc<NetworkPolicy>,
        settings: PathBuf,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("rondel-dns".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serve(sockets, clients, policy, settings) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(sockets: Sockets, clients: Subnet, policy: Arc<NetworkPolicy>, settings: PathBuf) -> io::Result<()> {
    let datagrams = Arc::new(tokio::net::UdpSocket::from_std(sockets.0)?);
    let streams = tokio::net::TcpListener::from_std(sockets.1)?;
    let settings: Arc<Path> = settings.into();
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut question = vec![0; MAX_MESSAGE_BYTES];
    loop {
        tokio::select! {
            received = datagrams.recv_from(&mut question) => {
                let Ok((length, client)) = received else { continue };
                if let Some(answer) = known(&policy, client, &question[..length]) {
                    let _ = datagrams.send_to(&answer, client).await;
                    continue;
                }
                let Some(permit) = admit(clients, client, &permits) else { continue };
                let (question, datagrams, settings) = (question[..length].to_vec(), datagrams.clone(), settings.clone());
                tokio::spawn(async move {
                    if let Some(answer) = answer(&question, &settings).await {
                        let _ = datagrams.send_to(&answer, client).await;
                    }
                    drop(permit);
                });
            }
            accepted = streams.accept() => {
                let Ok((stream, client)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let Some(permit) = admit(clients, client, &permits) else { continue };
                let settings = settings.clone();
                tokio::spawn(async move {
                    let _ = timeout(TCP_TIMEOUT, converse(stream, &settings)).await;
                    drop(permit);
                });
            }
        }
    }
}

fn admit(clients: Subnet, client: SocketAddr, permits: &Arc<Semaphore>) -> Option<tokio::sync::OwnedSemaphorePermit> {
    match client.ip() {
        IpAddr::V4(address) if clients.overlaps(Subnet::new(address, 32)) => permits.clone().try_acquire_owned().ok(),
        _ => None,
    }
}

/// The answer to a query for a name of ours, or `None` for every other packet.
fn known(policy: &NetworkPolicy, client: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
    let IpAddr::V4(asker) = client.ip() else { return None };
    let question = DnsQuery::read(packet)?;
    match policy.resolve(asker, &question.name) {
        NameAnswer::Address(address) => Some(question.address(packet, address)),
        NameAnswer::NoSuchName => Some(question.nothing(packet)),
        NameAnswer::Forward => None,
    }
}

/// The first answer of the host's name servers, or `SERVFAIL` if none answers. `None` if the packet
/// is no query.
async fn answer(question: &[u8], settings: &Path) -> Option<Vec<u8>> {
    if question.len() < HEADER {
        return None;
    }
    let servers = ResolvConf::read(settings).nameservers;
    for (index, server) in servers.iter().enumerate() {
        let limit = if index + 1 == servers.len() { LAST_SERVER_TIMEOUT } else { SERVER_TIMEOUT };
        if let Ok(Ok(answer)) = timeout(limit, ask(question, *server)).await {
            return Some(answer);
        }
    }
    Some(server_failure(question))
}

async fn ask(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= HEADER && answer[..2] == question[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// The answer `SERVFAIL` without any record.
fn server_failure(question: &[u8]) -> Vec<u8> {
    const RESPONSE: u8 = 0x80;
    const SERVER_FAILURE: u8 = 2;
    let mut answer = vec![0; HEADER];
    answer[..2].copy_from_slice(&question[..2]);
    answer[2] = question[2] & 0x79 | RESPONSE;
    answer[3] = 0x80 | SERVER_FAILURE;
    answer
}

async fn converse(mut client: tokio::net::TcpStream, settings: &Path) -> io::Result<()> {
    for server in ResolvConf::read(settings).nameservers {
        if let Ok(Ok(mut upstream)) = timeout(SERVER_TIMEOUT, tokio::net::TcpStream::connect(server)).await {
            tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
            return Ok(());
        }
    }
    Ok(())
}
