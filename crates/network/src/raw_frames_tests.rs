//! What a container does with raw frames, which it may send: its own traffic is all that it can
//! affect. Needs root.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rondel_ports::network::{Network, Networks};

use crate::interfaces::{CONTAINER_LINK, hardware_address};
use crate::test_machine::{
    MACHINE, TIMEOUT, WORLD, ask_who_i_am, block_on, connect, links_here, on_machine, server, sh, wait_until,
};
use crate::{Bridge, Options, namespace};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 1);
const EVERYBODY: [u8; 6] = [0xff; 6];
const ARP: u16 = 0x806;
const IPV4: u16 = 0x800;
/// How long nothing has to come for it to count as nothing.
const SILENCE: Duration = Duration::from_millis(300);

/// A packet socket on the interface of a container, as `CAP_NET_RAW` gives it.
struct Raw(OwnedFd);

impl Raw {
    fn on(network: &Network) -> Self {
        let opened = namespace::inside(network.namespace.as_fd(), || {
            let index = links_here().into_iter().find(|link| link.name == CONTAINER_LINK).unwrap().index;
            // SAFETY: plain system calls; the address lives until the call has returned.
            unsafe {
                let every = (libc::ETH_P_ALL as u16).to_be();
                let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(every));
                assert!(fd >= 0, "{}", io::Error::last_os_error());
                let socket = OwnedFd::from_raw_fd(fd);
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = every;
                address.sll_ifindex = index.cast_signed();
                let length = size_of::<libc::sockaddr_ll>() as u32;
                assert_eq!(libc::bind(fd, (&raw const address).cast(), length), 0, "{}", io::Error::last_os_error());
                Ok(socket)
            }
        });
        Self(opened.unwrap())
    }

    fn send(&self, frame: &[u8]) {
        rustix::net::send(&self.0, frame, rustix::net::SendFlags::empty()).unwrap();
    }

    /// Whether a frame with `text` in it is among those that came.
    fn came(&self, text: &[u8]) -> bool {
        let mut frame = [0; 2048];
        while let Ok((length, _)) = rustix::net::recv(&self.0, &mut frame[..], rustix::net::RecvFlags::DONTWAIT) {
            let outgoing = frame[6..12] == own_address(&self.0);
            if !outgoing && frame[..length].windows(text.len()).any(|window| window == text) {
                return true;
            }
        }
        false
    }
}

/// The hardware address of the interface that a packet socket is bound to.
fn own_address(socket: &OwnedFd) -> [u8; 6] {
    // SAFETY: both are valid for the call, and the kernel writes at most `length` bytes.
    unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_ll>() as u32;
        libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length);
        address.sll_addr[..6].try_into().unwrap()
    }
}

fn frame(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// The statement that `address` has the hardware address `hardware`.
fn arp_answer(hardware: [u8; 6], address: Ipv4Addr, to: [u8; 6], asker: Ipv4Addr) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 2][..], &hardware, &address.octets(), &to, &asker.octets()].concat()
}

fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let (whole, length) = (28 + data.len() as u16, 8 + data.len() as u16);
    let mut head = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    head[2..4].copy_from_slice(&whole.to_be_bytes());
    head[12..16].copy_from_slice(&from.0.octets());
    head[16..20].copy_from_slice(&to.0.octets());
    let sum: u32 = head.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    head[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    let (sport, dport) = (from.1.to_be_bytes(), to.1.to_be_bytes());
    [&head[..], &sport, &dport, &length.to_be_bytes(), &[0, 0], data].concat()
}

/// Sends a datagram from a container to the gateway's interface, whatever address it claims to come
/// from.
fn spoof(raw: &Raw, attacker: &Network, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) {
    let own = hardware_address(attacker.address.unwrap());
    raw.send(&frame(hardware_address(GATEWAY), own, IPV4, &datagram(from, to, data)));
}

fn socket_in(network: &Network) -> UdpSocket {
    let socket = namespace::inside(network.namespace.as_fd(), || UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

fn text_at(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut data = [0; 512];
    socket.recv(&mut data).ok().map(|length| data[..length].to_vec())
}

/// A service with a client in one session, and a container of another session.
struct Sessions {
    service: Network,
    client: Network,
    attacker: Network,
    _kept: Vec<rondel_ports::network::Membership>,
}

fn sessions(bridge: &Bridge) -> Sessions {
    let [service, client, attacker] = [(); 3].map(|()| connect(bridge));
    let mut kept: Vec<_> = [&service, &client].map(|network| bridge.join(network, "one").unwrap()).into();
    kept.push(bridge.join(&attacker, "two").unwrap());
    kept.push(bridge.publish(&service, "one", &["www.one.dagger.local".into()]).unwrap());
    Sessions { service, client, attacker, _kept: kept }
}

#[test]
fn a_hardware_address_cannot_be_taken_over() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let [victim, attacker] = [(); 2].map(|()| connect(&bridge));
        let address = victim.address.unwrap();
        let raw = Raw::on(&attacker);
        let socket = socket_in(&victim);
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        let send = |text: &[u8]| {
            sender.send_to(text, (address, socket.local_addr().unwrap().port())).unwrap();
            text_at(&socket).unwrap_or_default()
        };
        assert_eq!(send(b"before"), b"before");
        // A bridge would learn from these where the victim is, and its neighbours who has its
        // address.
        for to in [EVERYBODY, hardware_address(GATEWAY)] {
            let answer = arp_answer(hardware_address(address), address, to, GATEWAY);
            raw.send(&frame(to, hardware_address(address), ARP, &answer));
            let other = arp_answer(hardware_address(attacker.address.unwrap()), address, to, GATEWAY);
            raw.send(&frame(to, hardware_address(attacker.address.unwrap()), ARP, &other));
        }
        assert_eq!(send(b"for the victim"), b"for the victim");
        assert!(!raw.came(b"for the victim"), "the attacker got it");
        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap();
        assert_eq!(ask_who_i_am(&victim, outside).unwrap(), MACHINE.to_string());
    });
}

#[test]
fn a_source_address_cannot_be_forged() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let Sessions { service, client, attacker, .. } = &sessions(&bridge);
        let socket = socket_in(service);
        let at = (service.address.unwrap(), socket.local_addr().unwrap().port());
        let friend = socket_in(client);
        friend.send_to(b"from a friend", at).unwrap();
        assert_eq!(text_at(&socket).as_deref(), Some(&b"from a friend"[..]));

        let raw = Raw::on(attacker);
        let port = friend.local_addr().unwrap().port();
        for from in [client.address.unwrap(), at.0, GATEWAY, MACHINE, WORLD, Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]
        {
            spoof(&raw, attacker, (from, port), at, format!("as {from}").as_bytes());
        }
        spoof(&raw, attacker, (attacker.address.unwrap(), port), at, b"as itself");
        assert_eq!(text_at(&socket), None, "a container of another session is heard");

        // Nor to the outside, nor in the name of a container from there.
        let outside = namespace::inside(machine.world.as_fd(), || UdpSocket::bind((WORLD, 0))).unwrap();
        outside.set_read_timeout(Some(SILENCE)).unwrap();
        let world = (WORLD, outside.local_addr().unwrap().port());
        spoof(&raw, attacker, (client.address.unwrap(), port), world, b"as another");
        assert_eq!(text_at(&outside), None);
        let own = socket_in(attacker);
        own.send_to(b"as itself", world).unwrap();
        assert_eq!(text_at(&outside).as_deref(), Some(&b"as itself"[..]));
        namespace::inside(machine.world.as_fd(), || {
            sh(&format!(
                "ip route add 10.87.0.0/16 via {MACHINE} && ip addr add {}/32 dev lo",
                client.address.unwrap()
            ));
            UdpSocket::bind((client.address.unwrap(), 0))?.send_to(b"from the world", at)
        })
        .unwrap();
        assert_eq!(text_at(&socket), None, "the world speaks as a container");
    });
}

#[test]
fn the_name_service_answers_nobody_else() {
    const QUESTION: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x03one\x06dagger\x05local\x00\x00\x01\x00\x01";
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let Sessions { client, attacker, .. } = &sessions(&bridge);
        let (asker, sniffer) = (socket_in(client), Raw::on(client));
        asker.send_to(QUESTION, (GATEWAY, 53)).unwrap();
        let answer = text_at(&asker).unwrap();
        assert_eq!(answer[3] & 15, 0, "the client is told");
        assert!(sniffer.came(b"dagger"));

        let raw = Raw::on(attacker);
        let address = client.address.unwrap();
        let answer = arp_answer(hardware_address(attacker.address.unwrap()), address, EVERYBODY, GATEWAY);
        raw.send(&frame(EVERYBODY, hardware_address(attacker.address.unwrap()), ARP, &answer));
        spoof(&raw, attacker, (address, 5353), (GATEWAY, 53), QUESTION);
        let own = socket_in(attacker);
        own.send_to(QUESTION, (GATEWAY, 53)).unwrap();
        assert_eq!(text_at(&own).unwrap()[3] & 15, 3, "no such name");
        assert!(!sniffer.came(b"dagger"), "a forged question was answered");
    });
}

#[test]
fn ipv6_leads_nowhere() {
    on_machine(|machine| {
        sh("ip addr add 2001:db8::1/64 dev up0 nodad");
        let bridge = machine.bridge(0);
        let [one, other] = [(); 2].map(|()| connect(&bridge));
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        wait_until("addresses are known to be free", || sh("ip -6 addr show tentative").is_empty());
        let machine_addresses = sh("ip -6 -o addr show | sed 's/.*inet6 \\([^/]*\\).*/\\1/'");
        let mut addresses: Vec<Ipv6Addr> = machine_addresses.lines().map(|line| line.parse().unwrap()).collect();
        let own = namespace::inside(other.namespace.as_fd(), || {
            Ok(sh("ip -6 -o addr show dev eth0 | sed 's/.*inet6 \\([^/]*\\).*/\\1/'"))
        });
        addresses.extend(own.unwrap().lines().map(|line| line.parse::<Ipv6Addr>().unwrap()));
        addresses.retain(|address| !address.is_loopback());
        assert!(addresses.contains(&"2001:db8::1".parse().unwrap()));
        let raw_other = Raw::on(&other);
        namespace::inside(one.namespace.as_fd(), || {
            sh("ip addr add fe80::99/64 dev eth0 nodad && ip addr add 2001:db8:1::5/64 dev eth0 nodad");
            let gateway = hardware_address(GATEWAY).map(|byte| format!("{byte:02x}")).join(":");
            let index = links_here().into_iter().find(|link| link.name == CONTAINER_LINK).unwrap().index;
            for address in &addresses {
                sh(&format!("ip -6 neigh replace {address} lladdr {gateway} dev eth0 nud permanent"));
                sh(&format!("ip -6 route replace {address} dev eth0"));
                let to = SocketAddrV6::new(*address, port, 0, index);
                let reached = TcpStream::connect_timeout(&SocketAddr::V6(to), SILENCE);
                assert!(reached.is_err(), "{address} is reached");
            }
            let group = SocketAddrV6::new("ff02::1".parse().unwrap(), port, 0, index);
            UdpSocket::bind("[::]:0")?.send_to(b"to all", group)
        })
        .unwrap();
        assert!(!raw_other.came(b"to all"));
    });
}

#[test]
fn the_machine_is_reached_for_names_alone() {
    on_machine(|machine| {
        sh("ip addr add 203.0.113.9/32 dev up0 && ip addr add 169.254.7.7/16 dev up0");
        namespace::inside(machine.world.as_fd(), || {
            sh("ip addr add 169.254.169.254/16 dev up1");
            Ok(())
        })
        .unwrap();
        let addresses = ["10.87.0.1", "198.51.100.1", "203.0.113.9", "169.254.7.7"].map(|text| text.parse().unwrap());
        let bridge = machine.bridge(0);
        let network = connect(&bridge);
        let reach =
            |to: SocketAddr| namespace::inside(network.namespace.as_fd(), || TcpStream::connect_timeout(&to, SILENCE));
        for address in addresses {
            assert!(reach(server(address).unwrap()).is_err(), "{address} is reached");
        }
        let metadata = namespace::inside(machine.world.as_fd(), || server(Ipv4Addr::new(169, 254, 169, 254))).unwrap();
        assert!(reach(metadata).is_err(), "the link of the machine is reached");
        assert!(reach(SocketAddr::from((GATEWAY, 53))).is_ok(), "names");
        let inside = namespace::inside(network.namespace.as_fd(), || server(network.address.unwrap())).unwrap();
        assert!(TcpStream::connect_timeout(&inside, TIMEOUT).is_ok(), "the machine may");
        drop((network, bridge));

        let allowed = ["203.0.113.9", "169.254.169.254/32"].map(|text| text.parse().unwrap()).to_vec();
        let bridge = Bridge::new(Options { allowed, pool: 0, ..Options::new(machine.folder.path(), false) });
        let network = block_on(bridge.connect()).unwrap();
        let reach =
            |to: SocketAddr| namespace::inside(network.namespace.as_fd(), || TcpStream::connect_timeout(&to, TIMEOUT));
        assert!(reach(server(Ipv4Addr::new(203, 0, 113, 9)).unwrap()).is_ok() && reach(metadata).is_ok());
        assert!(reach(server(MACHINE).unwrap()).is_err());
    });
}

#[test]
fn a_connection_does_not_outlive_its_session() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let [service, client] = [(); 2].map(|()| connect(&bridge));
        let members = [&service, &client].map(|network| bridge.join(network, "one").unwrap());
        let published = bridge.publish(&service, "one", &[]).unwrap();
        let (there, here) = (socket_in(&service), socket_in(&client));
        let at = (service.address.unwrap(), there.local_addr().unwrap().port());
        here.send_to(b"first", at).unwrap();
        assert_eq!(text_at(&there).as_deref(), Some(&b"first"[..]));
        there.send_to(b"answer", here_of(&client, &here)).unwrap();
        assert_eq!(text_at(&here).as_deref(), Some(&b"answer"[..]));

        // The service's network is leased to another session, as it is.
        let [of_service, _of_client] = members;
        drop((published, of_service));
        let _member = bridge.join(&service, "two").unwrap();
        let _published = bridge.publish(&service, "two", &[]).unwrap();
        here.send_to(b"again", at).unwrap();
        assert_eq!(text_at(&there), None, "a connection of another session still stands");
    });
}

fn here_of(network: &Network, socket: &UdpSocket) -> (Ipv4Addr, u16) {
    (network.address.unwrap(), socket.local_addr().unwrap().port())
}

#[test]
fn nothing_is_left_of_the_rules() {
    on_machine(|machine| {
        let bridge = machine.bridge(1);
        let network = connect(&bridge);
        let tables = sh("nft list tables");
        assert!(tables.contains("table ip rondel-") && tables.contains("table ip6 rondel-"), "{tables}");
        drop((network, bridge));
        wait_until("the tables go", || sh("nft list tables").is_empty());
        assert_eq!(sh("ip route show table all | grep 10.87 || true"), "");
    });
}
