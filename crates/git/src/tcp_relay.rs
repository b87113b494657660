//! Relays for `git` to a service of the session, or to hosts outside: a port on this machine's
//! loopback whose connections the engine continues.
//!
//! *Invariants.* Only processes of the engine's own user are let in, and no other process of the
//! machine. A relay reaches the one host that it was made for, or, for a process in a container,
//! nothing of this machine. The port closes with the relay, and so does every connection that came
//! through it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::network::Dial;
use rondel_streams::relay::{self, Relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::egress::EgressConnector;

/// How many connections may be open at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// The kernel's list of the connections of this network namespace.
const CONNECTIONS: &str = "/proc/self/net/tcp";
/// The address on which relays listen.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// How a connection says where it leads.
#[derive(Clone)]
pub(crate) enum RelayProtocol {
    /// It says nothing: every connection leads to this port of the host.
    Port(u16, Dial),
    /// By SOCKS 5, and only to the host with this name.
    SocksToHost(String, Dial),
    /// By SOCKS 5, to every host that the egress rules allow.
    SocksToEgress(EgressConnector),
}

/// A port of loopback that leads to a host, until it is dropped.
pub(crate) struct TcpRelay {
    pub(crate) port: u16,
    _relay: Relay,
}

impl TcpRelay {
    /// Listens on a free port of loopback.
    pub(crate) async fn start(protocol: RelayProtocol) -> Result<Self> {
        let attempted = || "open a way to a service".to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.attempt(attempted)?;
        let port = listener.local_addr().attempt(attempted)?.port();
        let relay = Relay::start(listener, MAX_CONNECTIONS, move |near| carry(near, port, protocol.clone()));
        Ok(Self { port, _relay: relay })
    }
}

/// Carries one connection. When that fails the connection ends, which `git` reports.
async fn carry(near: TcpStream, port: u16, protocol: RelayProtocol) {
    let Ok(from) = near.peer_addr() else { return };
    if is_own(from, port).await
        && let Some((mut near, mut far)) = connect(near, protocol).await
    {
        let _ = relay::copy(&mut near, &mut far).await;
    }
}

/// Whether a process of the engine's own user connects from `from` to `port` of loopback.
async fn is_own(from: SocketAddr, port: u16) -> bool {
    let SocketAddr::V4(from) = from else { return false };
    let (to, user) = (SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), rustix::process::geteuid().as_raw());
    let listed = tokio::fs::read_to_string(Path::new(CONNECTIONS)).await.unwrap_or_default();
    user_of(&listed, from, to) == Some(user)
}

/// The user whose established connection leads from `from` to `to`. `None` also for a connection
/// that was closed, since the kernel shows no user for it.
fn user_of(listed: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    let shown = |end: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(end.ip().octets()), end.port());
    let (from, to) = (shown(from), shown(to));
    listed.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let same = words.next() == Some(&*from) && words.next() == Some(&*to) && words.next() == Some("01");
        words.nth(3).filter(|_| same)?.parse().ok()
    })
}

/// Opens the other side of a connection, after what its protocol says first.
async fn connect(mut near: TcpStream, protocol: RelayProtocol) -> Option<(TcpStream, TcpStream)> {
    let proxy = !matches!(protocol, RelayProtocol::Port(..));
    let far = match protocol {
        RelayProtocol::Port(port, dial) => tokio::task::spawn_blocking(move || dial(port)),
        RelayProtocol::SocksToHost(host, dial) => {
            let (name, port) = read_socks_request(&mut near).await.ok()??;
            if !name.eq_ignore_ascii_case(&host) {
                near.write_all(&socks_reply(2)).await.ok()?;
                return None;
            }
            tokio::task::spawn_blocking(move || dial(port))
        }
        RelayProtocol::SocksToEgress(connector) => {
            let (name, port) = read_socks_request(&mut near).await.ok()??;
            tokio::task::spawn_blocking(move || connector.connect(&name, port))
        }
    };
    let far = far.await.ok()?;
    if proxy {
        near.write_all(&socks_reply(if far.is_ok() { 0 } else { 5 })).await.ok()?;
    }
    let far = far.ok()?;
    far.set_nonblocking(true).ok()?;
    Some((near, TcpStream::from_std(far).ok()?))
}

/// Reads a SOCKS connect request (RFC 1928): host and port, or `None` if it is another command.
async fn read_socks_request(near: &mut TcpStream) -> std::io::Result<Option<(String, u16)>> {
    let mut head = [0; 2];
    near.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    near.read_exact(&mut methods).await?;
    if head[0] != 5 || !methods.contains(&0) {
        near.write_all(&[5, 0xff]).await?;
        return Ok(None);
    }
    near.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    near.read_exact(&mut request).await?;
    let host = match request {
        [5, 1, _, 1] => {
            let mut address = [0; 4];
            near.read_exact(&mut address).await?;
            Ipv4Addr::from(address).to_string()
        }
        [5, 1, _, 3] => {
            let mut name = vec![0; usize::from(near.read_u8().await?)];
            near.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        [5, 1, _, 4] => {
            let mut address = [0; 16];
            near.read_exact(&mut address).await?;
            Ipv6Addr::from(address).to_string()
        }
        _ => {
            near.write_all(&socks_reply(7)).await?;
            return Ok(None);
        }
    };
    Ok(Some((host, near.read_u16().await?)))
}

/// The reply of a SOCKS proxy with a code of RFC 1928.
fn socks_reply(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// Whether the host accepts connections on `port`.
pub(crate) async fn accepts(dial: &Dial, port: u16) -> Result<()> {
    let dial = dial.clone();
    let done = tokio::task::spawn_blocking(move || dial(port).map(drop)).await;
    done.unwrap_or_else(|e| Err(Fault::bug(format!("a connection panicked: {e}"))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondel_ports::egress::Egress;

    use super::*;

    #[test]
    fn users_are_found_by_their_connections() {
        let listed = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     7        0 1 1\n   \
            1: 0100007F:A000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n   \
            2: 0100007F:A001 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0 1\n";
        let check = |from: u16, want: Option<u32>| {
            let end = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            // The list has the byte order of this machine.
            let listed = listed.replace("0100007F", &format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1])));
            assert_eq!(user_of(&listed, end(from), end(0x1f90)), want);
        };
        check(0xa000, Some(1000));
        check(0xa001, None);
        check(0xa002, None);
    }

    /// A host whose ports all send their number and close.
    fn numbers() -> Dial {
        Arc::new(|port| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).attempt(|| "listen".into())?;
            let near = std::net::TcpStream::connect(listener.local_addr().attempt(|| "listen".into())?);
            let (mut far, _) = listener.accept().attempt(|| "accept".into())?;
            std::io::Write::write_all(&mut far, port.to_string().as_bytes()).attempt(|| "write".into())?;
            near.attempt(|| "connect".into())
        })
    }

    #[tokio::test]
    async fn a_port_leads_to_the_host() {
        let relay = TcpRelay::start(RelayProtocol::Port(9418, numbers())).await.expect("opens");
        let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await.expect("connects");
        let mut got = String::new();
        near.read_to_string(&mut got).await.expect("reads");
        assert_eq!(got, "9418");
        drop(relay);
    }

    #[tokio::test]
    async fn a_container_is_led_outside_alone() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let egress = |allowed: &str| Egress::new([allowed.parse().expect("a range")], Arc::new(|_| false));
        for (allowed, want) in [("127.0.0.1", 0), ("192.0.2.1", 5)] {
            let outside = EgressConnector::new(egress(allowed));
            let relay = TcpRelay::start(RelayProtocol::SocksToEgress(outside.clone())).await.expect("opens");
            let name = [&[3, 9][..], b"localhost"].concat();
            let mapped = [&[4][..], &Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets()].concat();
            for host in [vec![1, 127, 0, 0, 1], name, mapped] {
                let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await.expect("connects");
                let request = [&[5, 1, 0, 5, 1, 0][..], &host, &port.to_be_bytes()].concat();
                near.write_all(&request).await.expect("asks");
                let mut got = [0; 12];
                near.read_exact(&mut got).await.expect("reads");
                assert_eq!((got[0], got[1], got[3]), (5, 0, want), "{host:?}");
            }
            assert_eq!(outside.refusal().is_some(), want != 0);
        }
    }

    #[tokio::test]
    async fn a_proxy_leads_to_one_host_alone() {
        let relay = TcpRelay::start(RelayProtocol::SocksToHost("Web".into(), numbers())).await.expect("opens");
        for (name, want) in [("web", Some("8080")), ("other", None)] {
            let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await.expect("connects");
            let mut request = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(name.len()).expect("is short")];
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(&8080_u16.to_be_bytes());
            near.write_all(&request).await.expect("asks");
            let mut got = Vec::new();
            near.read_to_end(&mut got).await.expect("reads");
            assert_eq!(got[..2], [5, 0]);
            assert_eq!(got[3], if want.is_some() { 0 } else { 2 });
            assert_eq!(got.get(12..).map(String::from_utf8_lossy).as_deref(), Some(want.unwrap_or_default()));
        }
    }
}
