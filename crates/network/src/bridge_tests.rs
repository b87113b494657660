//! The bridge of a root engine, on a machine of the tests' own. The machine needs root.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rondel_ports::network::{Network, Networks};

use super::*;
use crate::network_backend::Backend;
use crate::test_machine::{
    MACHINE, QUESTION, TIMEOUT, WORLD, ask_name, ask_who_i_am, block_on, connect, links_here, name_server, on_machine,
    own_links, server, sh, wait_until,
};

#[test]
fn a_container_reaches_machine_world_and_names() {
    on_machine(|machine| {
        name_server("127.0.0.77");
        let bridge = machine.bridge(0);
        assert_eq!(own_links(), Vec::<String>::new(), "nothing before the first container");
        let network = connect(&bridge);
        let gateway = Ipv4Addr::new(10, 87, 0, 1);
        assert_eq!(network.resolv_conf.as_deref(), Some("nameserver 10.87.0.1\nsearch a.example\noptions ndots:2\n"));
        let address = network.address.unwrap().to_string();
        let inside = namespace::inside(network.namespace.as_fd(), || server(network.address.unwrap())).unwrap();
        let seen = {
            let mut text = String::new();
            TcpStream::connect_timeout(&inside, TIMEOUT).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(seen, gateway.to_string(), "the container at {address} sees the machine as its gateway");

        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap();
        assert_eq!(ask_who_i_am(&network, outside).unwrap(), MACHINE.to_string(), "the world sees the machine");

        let mut expected = QUESTION.to_vec();
        expected[2] |= 0x80;
        assert_eq!(ask_name(&network, gateway), expected);
        let over_tcp = namespace::inside(network.namespace.as_fd(), || {
            let mut stream = TcpStream::connect((gateway, 53))?;
            stream.write_all(&[&[0, QUESTION.len() as u8], QUESTION].concat())?;
            let mut answer = vec![0; QUESTION.len() + 2];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        });
        assert_eq!(over_tcp.unwrap()[2..], expected);

        let inside = namespace::inside(network.namespace.as_fd(), || Ok(links_here())).unwrap();
        assert_eq!(inside.iter().find(|link| link.name == "eth0").unwrap().mtu, 1400);
        assert!(links_here().iter().filter(|link| link.name != "lo").all(|link| link.mtu == 1400));
        assert!(bridge.warning().is_none());
    });
}

#[test]
fn a_dead_name_server_is_told_at_once() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let network = connect(&bridge);
        let answer = ask_name(&network, Ipv4Addr::new(10, 87, 0, 1));
        assert_eq!((answer.len(), &answer[..2], answer[3] & 15), (12, &QUESTION[..2], 2), "server failure");
    });
}

#[test]
fn a_resolver_of_the_machine_on_port_53_stays() {
    for (resolv_conf, expected) in [
        ("nameserver 127.0.0.1\n", "nameserver 10.87.0.1\n"),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.9\n", "nameserver 192.0.2.9\n"),
    ] {
        on_machine(|machine| {
            let _resolver = UdpSocket::bind("0.0.0.0:53").unwrap();
            let bridge = machine.bridge(0);
            std::fs::write(machine.folder.path().join("resolv.conf"), resolv_conf).unwrap();
            assert_eq!(connect(&bridge).resolv_conf.as_deref(), Some(expected));
        });
    }
}

#[test]
fn a_listener_is_heard_inside_only() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let (network, other) = (connect(&bridge), connect(&bridge));
        let listener = bridge.listen(&network).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        let reach = |network: &Network| namespace::inside(network.namespace.as_fd(), || TcpStream::connect(address));
        assert!(reach(&network).is_ok());
        assert!(reach(&other).is_err());
        assert!(TcpStream::connect(address).is_err());
        // Where the kernel cannot reject, packets of others are dropped: nothing answers.
        let from_other = SocketAddr::from((network.address.unwrap(), address.port()));
        let patience = Duration::from_millis(500);
        let reached = || TcpStream::connect_timeout(&from_other, patience);
        assert!(namespace::inside(other.namespace.as_fd(), reached).is_err());
    });
}

#[test]
fn cycles_and_crowds_leave_nothing() {
    on_machine(|machine| {
        let bridge = machine.bridge(2);
        for _ in 0..200 {
            let network = connect(&bridge);
            assert!(network.address.is_some());
        }
        let bridge = Arc::new(bridge);
        let crowd: Vec<Network> = block_on(async {
            let tasks: Vec<_> = (0..50)
                .map(|_| bridge.clone())
                .map(|bridge| tokio::spawn(async move { bridge.connect().await.unwrap() }))
                .collect();
            let mut crowd = Vec::new();
            for task in tasks {
                crowd.push(task.await.unwrap());
            }
            crowd
        });
        let mut addresses: Vec<_> = crowd.iter().filter_map(|network| network.address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 50);
        drop(crowd);
        let backend = bridge.shared.backend().unwrap();
        let Backend::Bridge(bridged) = &*backend else { panic!("no bridge") };
        wait_until("addresses come back", || bridged.leased() <= 6);
        wait_until("interfaces are reaped", || own_links().len() <= 7);
        drop((backend, bridge));
        wait_until("all is gone", || own_links().is_empty());
        assert_eq!(sh("nft list tables"), "");
    });
}

#[test]
fn networks_come_back_unless_somebody_may_have_left_something() {
    on_machine(|machine| {
        let bridge = machine.bridge(2);
        let addresses = |use_it: &dyn Fn(Network)| {
            let used = (0..40).map(|_| {
                let network = connect(&bridge);
                let address = network.address;
                use_it(network);
                address
            });
            used.collect::<std::collections::BTreeSet<_>>().len()
        };
        // The kernel frees the socket that the network was made with a moment after it is closed.
        let settled = addresses(&|network| {
            let sockets = || Ok(std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap());
            wait_until("no socket is left", || {
                namespace::inside(network.namespace.as_fd(), sockets).unwrap().starts_with("sockets: used 0\n")
            });
            drop(network);
        });
        assert!(settled < 20, "most came back: {settled}");
        let held = addresses(&|network| {
            let handle = network.namespace.clone();
            drop(network);
            drop(handle);
        });
        assert_eq!(held, 40, "the holder of a handle may change something");
        let lingering = addresses(&|network| {
            let socket = namespace::inside(network.namespace.as_fd(), || UdpSocket::bind("0.0.0.0:0")).unwrap();
            drop(network);
            drop(socket);
        });
        assert_eq!(lingering, 40, "a socket is left");
        let connected = addresses(&|network| {
            let port = namespace::inside(network.namespace.as_fd(), || {
                let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
                let client = TcpStream::connect(listener.local_addr()?)?;
                let (server, _) = listener.accept()?;
                drop(server);
                drop(client);
                listener.local_addr()
            });
            assert!(port.is_ok());
            drop(network);
        });
        assert_eq!(connected, 40, "a connection lingers after its end");
    });
}

#[test]
fn a_network_outlives_the_bridge_handle() {
    on_machine(|machine| {
        let network = {
            let bridge = machine.bridge(1);
            connect(&bridge)
        };
        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap();
        assert!(ask_who_i_am(&network, outside).is_ok());
        drop(network);
        wait_until("all is gone", || own_links().is_empty());
    });
}

#[test]
fn what_a_killed_engine_left_is_removed() {
    on_machine(|machine| {
        let killed = machine.bridge(0);
        let network = connect(&killed);
        std::mem::forget(killed);
        assert!(sh("nft list tables").contains("rondel-"));
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Bridge::new(Options { pool: 0, ..Options::new(elsewhere.path(), false) });
        other.clean_up().unwrap();
        assert_eq!(own_links().len(), 2, "another engine's are left alone");

        let next = machine.bridge(0);
        next.clean_up().unwrap();
        assert_eq!(own_links(), Vec::<String>::new());
        assert_eq!(sh("nft list tables"), "");
        next.clean_up().unwrap();
        drop(network);
    });
}

#[test]
fn engines_beside_each_other_and_routes_of_the_machine_do_not_collide() {
    on_machine(|machine| {
        sh("ip route add 10.87.0.0/16 dev up0");
        let one = machine.bridge(0);
        let elsewhere = tempfile::tempdir().unwrap();
        let two = Bridge::new(Options { pool: 0, ..Options::new(elsewhere.path(), false) });
        let (first, second) = (connect(&one), connect(&two));
        assert_eq!(
            (first.address, second.address),
            (Some(Ipv4Addr::new(10, 88, 0, 2)), Some(Ipv4Addr::new(10, 89, 0, 2)))
        );
        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap();
        for network in [&first, &second] {
            assert_eq!(ask_who_i_am(network, outside).unwrap(), MACHINE.to_string());
        }
    });
}

#[test]
fn a_foreign_chain_that_drops_is_opened_and_closed_again() {
    on_machine(|machine| {
        sh(
            "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
        let before = sh("nft list table ip filter");
        let bridge = machine.bridge(0);
        let network = connect(&bridge);
        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap();
        assert_eq!(ask_who_i_am(&network, outside).unwrap(), MACHINE.to_string());
        assert!(sh("nft list table ip filter").contains("accept"));
        drop((network, bridge));
        assert_eq!(sh("nft list table ip filter"), before);
    });
}

#[test]
fn the_world_cannot_call_a_container() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let network = connect(&bridge);
        let address = network.address.unwrap();
        let inside = namespace::inside(network.namespace.as_fd(), || server(address)).unwrap();
        assert!(TcpStream::connect_timeout(&inside, TIMEOUT).is_ok(), "the machine may");
        let from_world = namespace::inside(machine.world.as_fd(), || {
            sh("ip route add 10.87.0.0/16 via 198.51.100.1");
            TcpStream::connect_timeout(&inside, Duration::from_millis(300))
        });
        assert!(from_world.is_err());
    });
}

#[test]
fn the_own_namespace_stays() {
    let before = File::open("/proc/thread-self/ns/net")
        .and_then(|file| file.metadata())
        .map(|found| std::os::unix::fs::MetadataExt::ino(&found))
        .unwrap();
    on_machine(|machine| drop(connect(&machine.bridge(1))));
    let after = File::open("/proc/thread-self/ns/net")
        .and_then(|file| file.metadata())
        .map(|found| std::os::unix::fs::MetadataExt::ino(&found))
        .unwrap();
    assert_eq!(before, after);
}

#[test]
fn the_first_packet_of_a_new_container_arrives() {
    const BEFORE_A_SECOND_TRY: Duration = Duration::from_millis(950);
    on_machine(|machine| {
        let bridge = machine.bridge(2);
        let first = connect(&bridge);
        let gateway = SocketAddr::from((Ipv4Addr::new(10, 87, 0, 1), 53));
        for _ in 0..40 {
            let network = connect(&bridge);
            let reached = namespace::inside(network.namespace.as_fd(), || {
                TcpStream::connect_timeout(&gateway, BEFORE_A_SECOND_TRY)
            });
            assert!(reached.is_ok(), "{reached:?}");
        }
        drop(first);
    });
}

#[test]
fn a_group_reaches_what_is_published_and_no_other_container_does() {
    on_machine(|machine| {
        let bridge = machine.bridge(0);
        let [service, friend, late, stranger, alone] = [(); 5].map(|()| connect(&bridge));
        let address = service.address.unwrap();
        let listener = namespace::inside(service.namespace.as_fd(), || server(address)).unwrap();
        let reach = |network: &Network| {
            namespace::inside(network.namespace.as_fd(), || {
                TcpStream::connect_timeout(&listener, Duration::from_millis(150))
            })
        };
        let _members = [&service, &friend].map(|network| bridge.join(network, "one").unwrap());
        let _other = bridge.join(&stranger, "two").unwrap();
        assert!(reach(&friend).is_err(), "nothing is published");

        let published = bridge.publish(&service, "one", &["www.one.dagger.local".into()]).unwrap();
        let member = bridge.join(&late, "one").unwrap();
        assert!(reach(&friend).is_ok() && reach(&late).is_ok() && reach(&service).is_ok());
        assert!(reach(&stranger).is_err() && reach(&alone).is_err());
        let gateway = Ipv4Addr::new(10, 87, 0, 1);
        let question =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03WWW\x03one\x06dagger\x05local\x00\x00\x01\x00\x01";
        let ask = |network: &Network| {
            namespace::inside(network.namespace.as_fd(), || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_read_timeout(Some(TIMEOUT))?;
                socket.send_to(question, (gateway, 53))?;
                let mut answer = [0; 512];
                let length = socket.recv(&mut answer)?;
                Ok((answer[3] & 15, answer[length - 4..length].to_vec()))
            })
            .unwrap()
        };
        assert_eq!(ask(&friend), (0, address.octets().to_vec()));
        assert_eq!((ask(&stranger).0, ask(&alone).0), (3, 3), "no such name");

        drop(member);
        assert!(reach(&late).is_err());
        drop(published);
        assert!(reach(&friend).is_err());
        assert_eq!(ask(&friend).0, 3);
    });
}
