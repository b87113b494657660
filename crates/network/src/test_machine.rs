//! A machine for tests, made of two network namespaces: one is the machine, one is the world
//! outside. Needs root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rondel_ports::network::{Network, Networks};

use crate::netlink::{Family, Socket};
use crate::{Bridge, Options, interfaces, namespace};

pub(crate) const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const MACHINE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

/// A machine and the world behind its uplink.
pub(crate) struct Machine {
    /// The namespace of the world.
    pub(crate) world: OwnedFd,
    /// A directory for the test.
    pub(crate) folder: tempfile::TempDir,
}

/// Runs a test on a machine with one uplink of MTU 1400 to the world.
pub(crate) fn on_machine(test: impl FnOnce(&Machine) + Send) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    namespace::on_thread(|| {
        let world = namespace::on_thread(namespace::leave_for_new)?;
        let _machine = namespace::leave_for_new()?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), world.as_raw_fd());
        sh("ip link set lo up && ip link add up0 mtu 1400 type veth peer name up1 && ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up");
        sh(&format!("ip link set up1 netns {path} && ip route add default via 198.51.100.2"));
        namespace::inside(world.as_fd(), || {
            sh("ip link set lo up && ip addr add 198.51.100.2/24 dev up1 && ip link set up1 up");
            Ok(())
        })?;
        let folder = tempfile::tempdir()?;
        test(&Machine { world, folder });
        Ok(())
    })
    .unwrap();
}

impl Machine {
    pub(crate) fn bridge(&self, pool: usize) -> Bridge {
        let resolv_conf = self.folder.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.77\nsearch a.example\noptions ndots:2\n").unwrap();
        Bridge::new(Options { pool, resolv_conf, ..Options::new(self.folder.path(), false) })
    }
}

pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn connect(bridge: &Bridge) -> Network {
    block_on(bridge.connect()).unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A server that sends each caller its address.
pub(crate) fn server(address: Ipv4Addr) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(peer.ip().to_string().as_bytes());
        }
    });
    Ok(address)
}

pub(crate) fn ask_who_i_am(network: &Network, server: SocketAddr) -> std::io::Result<String> {
    namespace::inside(network.namespace.as_fd(), || {
        let mut text = String::new();
        TcpStream::connect_timeout(&server, TIMEOUT)?.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// Answers each question with itself, marked as an answer, on both protocols.
pub(crate) fn name_server(address: &str) {
    let (datagrams, streams) = (UdpSocket::bind((address, 53)).unwrap(), TcpListener::bind((address, 53)).unwrap());
    let mark = |packet: &mut [u8], at: usize| packet[at] |= 0x80;
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = datagrams.recv_from(&mut packet) {
            mark(&mut packet, 2);
            let _ = datagrams.send_to(&packet[..length], client);
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = streams.accept() {
            let mut packet = vec![0; QUESTION.len() + 2];
            stream.read_exact(&mut packet).unwrap();
            mark(&mut packet, 4);
            stream.write_all(&packet).unwrap();
        }
    });
}

pub(crate) fn ask_name(network: &Network, server: Ipv4Addr) -> Vec<u8> {
    namespace::inside(network.namespace.as_fd(), || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.send_to(QUESTION, (server, 53))?;
        let mut answer = vec![0; 512];
        let (length, _) = socket.recv_from(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    })
    .unwrap()
}

pub(crate) fn links_here() -> Vec<interfaces::Link> {
    interfaces::list(&mut Socket::open(Family::Route).unwrap()).unwrap()
}

pub(crate) fn own_links() -> Vec<String> {
    links_here().into_iter().map(|link| link.name).filter(|name| name != "lo" && name != "up0").collect()
}

pub(crate) fn wait_until(what: &str, check: impl Fn() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < TIMEOUT, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
