//! Network interfaces, addresses and routes, by `rtnetlink`.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::netlink::{Batch, CREATE, EXCLUSIVE, REPLACE, Socket, attribute, attributes, text, word};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const LIST_LINKS: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const LIST_ROUTES: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const LIST_ADDRESSES: u16 = 22;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_OTHER_END: u16 = 5;
const LINK_STATE: u16 = 16;
const LINK_INFO: u16 = 18;
const LINK_PROTOCOLS: u16 = 26;
const LINK_NAMESPACE: u16 = 28;
const UP: u32 = 1;

/// The index of every loopback interface.
pub(crate) const LOOPBACK: u32 = 1;
/// The name of a container's interface.
pub(crate) const CONTAINER_LINK: &str = "eth0";

/// An interface.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    /// The index of the other end of a veth pair, in the namespace of that end.
    pub(crate) other_end: Option<u32>,
}

/// An IPv4 route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The destination.
    pub(crate) destination: Subnet,
    /// The index of its interface.
    pub(crate) link: Option<u32>,
    /// The metric. The route with the lowest one is used.
    pub(crate) metric: u32,
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// The first address.
    pub(crate) base: Ipv4Addr,
    /// How many leading bits are fixed.
    pub(crate) prefix: u8,
}

impl Subnet {
    /// The range of `prefix` bits around `base`.
    pub(crate) const fn new(base: Ipv4Addr, prefix: u8) -> Self {
        Self { base, prefix }
    }

    /// The bits that are fixed.
    pub(crate) fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// Whether the ranges share an address.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = self.mask().to_bits() & other.mask().to_bits();
        self.base.to_bits() & mask == other.base.to_bits() & mask
    }

    /// The address at an offset from the first.
    pub(crate) fn host(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.base.to_bits() & self.mask().to_bits()).wrapping_add(offset))
    }

    /// The last address.
    pub(crate) fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !self.mask().to_bits())
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The hardware address for an IPv4 address. It is derived from the IPv4 address, so a neighbour
/// entry stays valid when the address is leased again.
pub(crate) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x72, a, b, c, d]
}

/// Adds a bridge. It has no ports: it holds the gateway's address and the subnet of containers.
pub(crate) fn add_bridge(batch: &mut Batch, name: &str, mtu: u32, gateway: Ipv4Addr) {
    batch.request(NEW_LINK, CREATE | EXCLUSIVE, &header(0, UP), |a| {
        a.text(LINK_NAME, name).number(LINK_MTU, mtu).bytes(LINK_ADDRESS, &hardware_address(gateway)).nest(
            LINK_INFO,
            |info| {
                info.bytes(1, b"bridge");
            },
        );
    });
}

/// A veth pair that attaches a container.
pub(crate) struct VethPair<'a> {
    /// The name of the host's end. The kernel replaces `%d` by a free number.
    pub(crate) name: &'a str,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    /// The address of the host's end.
    pub(crate) gateway: Ipv4Addr,
    /// The address of the container.
    pub(crate) address: Ipv4Addr,
    /// The container's namespace.
    pub(crate) namespace: BorrowedFd<'a>,
}

/// Adds a veth pair: one end on the host, the other is `eth0` of the container.
pub(crate) fn add_veth_pair(batch: &mut Batch, veth: &VethPair<'_>) {
    batch.request(NEW_LINK, CREATE | EXCLUSIVE, &header(0, UP), |a| {
        a.text(LINK_NAME, veth.name).number(LINK_MTU, veth.mtu).bytes(LINK_ADDRESS, &hardware_address(veth.gateway));
        a.nest(LINK_INFO, |info| {
            info.bytes(1, b"veth").nest(2, |data| {
                data.nest(1, |peer| {
                    peer.raw(&header(0, 0))
                        .text(LINK_NAME, CONTAINER_LINK)
                        .number(LINK_MTU, veth.mtu)
                        .bytes(LINK_ADDRESS, &hardware_address(veth.address))
                        .number(LINK_NAMESPACE, veth.namespace.as_raw_fd() as u32);
                });
            });
        });
    });
}

/// Configures the host's end of a veth pair: routes `address` to it and makes the kernel drop
/// packets from it with another source. With `ipv6`, the kernel gives the interface no IPv6 address
/// by itself.
pub(crate) fn configure_host_end(batch: &mut Batch, link: u32, address: Ipv4Addr, gateway: Ipv4Addr, ipv6: bool) {
    const IPV4: u16 = 2;
    const SETTINGS: u16 = 1;
    const REVERSE_PATH: u16 = 8;
    const STRICT: u32 = 1;
    const IPV6: u16 = 10;
    const GENERATION: u16 = 8;
    const NO_ADDRESS: u8 = 1;
    batch.request(NEW_LINK, 0, &header(link, 0), |a| {
        a.nest(LINK_PROTOCOLS, |protocols| {
            protocols.nest(IPV4, |v4| {
                v4.nest(SETTINGS, |settings| {
                    settings.number(REVERSE_PATH, STRICT);
                });
            });
            if ipv6 {
                protocols.nest(IPV6, |v6| {
                    v6.bytes(GENERATION, &[NO_ADDRESS]);
                });
            }
        });
    });
    // A static host route on the link. It replaces an existing one: the kernel may not yet have
    // reaped the link of the container that had the address before.
    let head = [2, 32, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0];
    batch.request(NEW_ROUTE, CREATE | REPLACE, &head, |a| {
        a.bytes(1, &address.octets()).number(4, link).bytes(7, &gateway.octets());
    });
    add_neighbour(batch, link, address);
}

/// Adds a permanent neighbour entry: the hardware address of an address on a link. ARP packets from
/// the link do not change it.
pub(crate) fn add_neighbour(batch: &mut Batch, link: u32, address: Ipv4Addr) {
    const PERMANENT: u16 = 0x80;
    let mut head = [0; 12];
    head[0] = 2;
    head[4..8].copy_from_slice(&link.to_ne_bytes());
    head[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    batch.request(NEW_NEIGHBOUR, CREATE, &head, |a| {
        a.bytes(1, &address.octets()).bytes(2, &hardware_address(address));
    });
}

/// Removes a link by its name.
pub(crate) fn remove(batch: &mut Batch, name: &str) {
    batch.request(DELETE_LINK, 0, &header(0, 0), |a| {
        a.text(LINK_NAME, name);
    });
}

/// Brings a link up.
pub(crate) fn bring_up(batch: &mut Batch, link: u32) {
    batch.request(NEW_LINK, 0, &header(link, UP), |_| {});
}

/// Gives a link an address in a subnet.
pub(crate) fn add_address(batch: &mut Batch, link: u32, address: Ipv4Addr, subnet: Subnet) {
    let mut head = [2, subnet.prefix, 0, 0, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&link.to_ne_bytes());
    batch.request(NEW_ADDRESS, CREATE | EXCLUSIVE, &head, |a| {
        a.bytes(2, &address.octets()).bytes(1, &address.octets());
        if subnet.prefix < 32 {
            a.bytes(4, &subnet.broadcast().octets());
        }
    });
}

/// Adds a default route through a gateway. The gateway is on the link, also if the link's subnet
/// does not include it.
pub(crate) fn add_default_route(batch: &mut Batch, link: u32, gateway: Ipv4Addr) {
    const ON_LINK: u32 = 4;
    let mut head = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    head[8..].copy_from_slice(&ON_LINK.to_ne_bytes());
    batch.request(NEW_ROUTE, CREATE | EXCLUSIVE, &head, |a| {
        a.bytes(5, &gateway.octets()).number(4, link);
    });
}

/// All links.
pub(crate) fn list(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    for message in socket.dump(LIST_LINKS, &header(0, 0))? {
        let index = u32::from_ne_bytes(word(&message.body, 4)?);
        let body = message.body.get(16..).unwrap_or_default();
        let name = attribute(body, LINK_NAME).map(text).unwrap_or_default();
        let mtu = attribute(body, LINK_MTU).and_then(number).unwrap_or(1500);
        let other_end = attribute(body, LINK_OTHER_END).and_then(number);
        links.push(Link { index, name, mtu, other_end });
    }
    Ok(links)
}

/// The name of the link with this index, or `None`.
pub(crate) fn name_of(socket: &mut Socket, link: u32) -> io::Result<Option<String>> {
    let message = socket.fetch(LIST_LINKS, &header(link, 0))?;
    Ok(message.and_then(|message| attribute(message.body.get(16..)?, LINK_NAME).map(text)))
}

/// Whether a link passes packets, which it does some time after both ends are up.
pub(crate) fn is_up(socket: &mut Socket, link: u32) -> io::Result<bool> {
    const UP: u8 = 6;
    let Some(message) = socket.fetch(LIST_LINKS, &header(link, 0))? else { return Ok(false) };
    Ok(attribute(message.body.get(16..).unwrap_or_default(), LINK_STATE) == Some(&[UP]))
}

/// Every IPv4 address of this machine, without those of the loopback network.
pub(crate) fn addresses(socket: &mut Socket) -> io::Result<BTreeSet<Ipv4Addr>> {
    const LOCAL: u16 = 2;
    let mut addresses = BTreeSet::new();
    for message in socket.dump(LIST_ADDRESSES, &[2, 0, 0, 0, 0, 0, 0, 0])? {
        if let Some(address) = attribute(message.body.get(8..).unwrap_or_default(), LOCAL) {
            addresses.insert(Ipv4Addr::from(word(address, 0)?));
        }
    }
    addresses.retain(|address| !address.is_loopback());
    Ok(addresses)
}

/// All IPv4 routes, of every table.
pub(crate) fn routes(socket: &mut Socket) -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for message in socket.dump(LIST_ROUTES, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])? {
        let [family, prefix, ..] = word(&message.body, 0)?;
        if family != 2 {
            continue;
        }
        let mut route = Route { destination: Subnet::new(Ipv4Addr::UNSPECIFIED, prefix), link: None, metric: 0 };
        for (kind, value) in attributes(message.body.get(12..).unwrap_or_default()) {
            match kind {
                1 => route.destination.base = Ipv4Addr::from(word(value, 0)?),
                4 => route.link = number(value),
                6 => route.metric = number(value).unwrap_or(0),
                _ => {}
            }
        }
        routes.push(route);
    }
    Ok(routes)
}

fn header(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

fn number(value: &[u8]) -> Option<u32> {
    word(value, 0).ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        let net = |text: &str| {
            let (base, prefix) = text.split_once('/').unwrap();
            Subnet::new(base.parse().unwrap(), prefix.parse().unwrap())
        };
        for (a, b, expected) in [
            ("10.87.0.0/16", "10.87.4.0/24", true),
            ("10.87.0.0/16", "10.88.0.0/16", false),
            ("10.0.0.0/8", "10.88.0.0/16", true),
            ("0.0.0.0/0", "10.88.0.0/16", true),
            ("10.87.255.1/32", "10.87.0.0/16", true),
        ] {
            assert_eq!(net(a).overlaps(net(b)), expected, "{a} {b}");
            assert_eq!(net(b).overlaps(net(a)), expected, "{b} {a}");
        }
        assert_eq!(net("10.87.0.0/16").broadcast().to_string(), "10.87.255.255");
        assert_eq!(net("10.87.0.0/16").host(258).to_string(), "10.87.1.2");
    }
}
