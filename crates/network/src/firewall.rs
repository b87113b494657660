//! NAT and forwarding rules, told to nf_tables over netlink in one transaction.
//!
//! The rules lie in a table of our own. A chain elsewhere that drops what it does not know (Docker sets such a policy)
//! still has the last word over forwarded packets, so each such chain gets two marked rules in front. Not covered: `iptables` in
//! its legacy form with a dropping policy, and foreign chains that refuse by an explicit rule.

use std::io;
use std::net::Ipv4Addr;

use crate::links::Subnet;
use crate::netlink::{APPEND, Attributes, Batch, CREATE, Family, Socket, attribute, text, word};

const IPV4: u8 = 2;
const INET: u8 = 1;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0xa00;
const DELETE_TABLE: u16 = 0xa02;
const NEW_CHAIN: u16 = 0xa03;
const LIST_CHAINS: u16 = 0xa04;
const NEW_RULE: u16 = 0xa06;
const LIST_RULES: u16 = 0xa07;
const DELETE_RULE: u16 = 0xa08;
const NEW_SET: u16 = 0xa09;
const NEW_ELEMENT: u16 = 0xa0c;
const DELETE_ELEMENT: u16 = 0xa0e;

const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const REGISTER: u32 = 1;
/// The four bytes of a register behind the first four.
const NEXT_REGISTER: u32 = 9;

/// The neighbourhood of each container, as a number.
const MEMBERS: &str = "members";
/// Which container a neighbourhood may reach.
const PUBLISHED: &str = "published";

/// A base chain: its name, type, hook and priority.
struct Chain(&'static str, &'static str, u32, u32);

const FORWARD: Chain = Chain("forward", "filter", HOOK_FORWARD, 0);
const POSTROUTING: Chain = Chain("postrouting", "nat", HOOK_POSTROUTING, 100);

/// Writes the table, replacing one of the same name.
pub(crate) fn set_up(socket: &mut Socket, table: &str, bridge: &str, subnet: Subnet) -> io::Result<()> {
    // A kernel may lack what tells the sender at once that its packet does not pass.
    write_table(socket, table, bridge, subnet, reject)
        .or_else(|_| write_table(socket, table, bridge, subnet, drop_it))?;
    open_foreign_chains(socket, table, bridge)
}

fn write_table(
    socket: &mut Socket,
    table: &str,
    bridge: &str,
    subnet: Subnet,
    refuse: fn(&mut Attributes<'_>),
) -> io::Result<()> {
    let mut batch = begin();
    add_table(&mut batch, table);
    delete_table(&mut batch, table);
    add_table(&mut batch, table);
    for chain in [&FORWARD, &POSTROUTING] {
        add_chain(&mut batch, table, chain);
    }
    add_sets(&mut batch, table);
    add_neighbour_rules(&mut batch, table, bridge, refuse);
    add_rule(&mut batch, table, &POSTROUTING, |rule| {
        from_subnet(rule, subnet);
        interface(rule, Side::Out, bridge, false);
        expression(rule, "masq", |_| {});
    });
    add_rule(&mut batch, table, &FORWARD, |rule| {
        interface(rule, Side::In, bridge, true);
        verdict(rule, ACCEPT);
    });
    add_rule(&mut batch, table, &FORWARD, |rule| {
        interface(rule, Side::Out, bridge, true);
        known_connection(rule);
        verdict(rule, ACCEPT);
    });
    add_rule(&mut batch, table, &FORWARD, |rule| {
        interface(rule, Side::Out, bridge, true);
        verdict(rule, DROP);
    });
    end(socket, batch)
}

/// Something that the packet filter knows of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Element {
    /// It is in the neighbourhood with this number.
    Member(Ipv4Addr, u32),
    /// The neighbourhood with this number may reach it.
    Published(Ipv4Addr, u32),
}

/// Adds or removes what the packet filter knows of containers, all or nothing.
pub(crate) fn change_elements(socket: &mut Socket, table: &str, elements: &[Element], add: bool) -> io::Result<()> {
    let mut batch = begin();
    for element in elements {
        let (set, key, data) = match element {
            Element::Member(address, mark) => (MEMBERS, address.octets().to_vec(), add.then_some(mark)),
            Element::Published(address, mark) => (PUBLISHED, [address.octets(), mark.to_ne_bytes()].concat(), None),
        };
        let (kind, flags) = if add { (NEW_ELEMENT, CREATE) } else { (DELETE_ELEMENT, 0) };
        batch.request(kind, flags, &header(IPV4), |a| {
            a.text(1, table).text(2, set).nest(3, |list| {
                list.nest(1, |element| {
                    element.nest(1, |value| {
                        value.bytes(1, &key);
                    });
                    if let Some(mark) = data {
                        element.nest(2, |value| {
                            value.bytes(1, &mark.to_ne_bytes());
                        });
                    }
                });
            });
        });
    }
    end(socket, batch)
}

fn add_sets(batch: &mut Batch, table: &str) {
    const MAP: u32 = 8;
    // As `nft` names them: an IPv4 address, a mark, and both.
    const ADDRESS: u32 = 7;
    const MARK: u32 = 19;
    batch.request(NEW_SET, CREATE, &header(IPV4), |a| {
        a.text(1, table).text(2, MEMBERS).network_number(3, MAP).network_number(4, ADDRESS).network_number(5, 4);
        a.network_number(6, MARK).network_number(7, 4).network_number(10, 1);
    });
    batch.request(NEW_SET, CREATE, &header(IPV4), |a| {
        a.text(1, table).text(2, PUBLISHED).network_number(3, 0).network_number(4, ADDRESS << 6 | MARK);
        a.network_number(5, 8).network_number(10, 2);
    });
}

/// From one container to another: what is published in the neighbourhood of the first, and the answers. A packet carries
/// the number of the neighbourhood as its mark; no mark comes out of a container.
fn add_neighbour_rules(batch: &mut Batch, table: &str, bridge: &str, refuse: fn(&mut Attributes<'_>)) {
    const MARK: u32 = 3;
    let between = |rule: &mut Attributes<'_>| {
        interface(rule, Side::In, bridge, true);
        interface(rule, Side::Out, bridge, true);
    };
    add_rule(batch, table, &FORWARD, |rule| {
        between(rule);
        known_connection(rule);
        verdict(rule, ACCEPT);
    });
    add_rule(batch, table, &FORWARD, |rule| {
        const FROM: u32 = 12;
        between(rule);
        address(rule, FROM);
        expression(rule, "lookup", |a| {
            a.text(1, MEMBERS).network_number(2, REGISTER).network_number(3, REGISTER);
        });
        expression(rule, "meta", |a| {
            a.network_number(2, MARK).network_number(3, REGISTER);
        });
    });
    add_rule(batch, table, &FORWARD, |rule| {
        const TO: u32 = 16;
        between(rule);
        address(rule, TO);
        expression(rule, "meta", |a| {
            a.network_number(2, MARK).network_number(1, NEXT_REGISTER);
        });
        expression(rule, "lookup", |a| {
            a.text(1, PUBLISHED).network_number(2, REGISTER);
        });
        verdict(rule, ACCEPT);
    });
    add_rule(batch, table, &FORWARD, |rule| {
        between(rule);
        refuse(rule);
    });
}

/// Loads the address at an offset of the header.
fn address(rule: &mut Attributes<'_>, offset: u32) {
    expression(rule, "payload", |a| {
        a.network_number(1, REGISTER).network_number(2, 1).network_number(3, offset).network_number(4, 4);
    });
}

/// Removes the table and the marked rules; nothing there is no error.
pub(crate) fn remove(socket: &mut Socket, table: &str) -> io::Result<()> {
    let mut batch = begin();
    add_table(&mut batch, table);
    delete_table(&mut batch, table);
    for (place, handle) in marked_rules(socket, table)? {
        batch.request(DELETE_RULE, 0, &header(place.family), |a| {
            a.text(1, &place.table).text(2, &place.chain).bytes(3, &handle);
        });
    }
    end(socket, batch)
}

/// Where a foreign chain is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    family: u8,
    table: String,
    chain: String,
}

fn open_foreign_chains(socket: &mut Socket, table: &str, bridge: &str) -> io::Result<()> {
    let places = dropping_chains(socket, table)?;
    let marked: Vec<Place> = marked_rules(socket, table)?.into_iter().map(|(place, _)| place).collect();
    for place in places.iter().filter(|place| !marked.contains(place)) {
        let mut batch = begin();
        for side in [Side::In, Side::Out] {
            batch.request(NEW_RULE, CREATE, &header(place.family), |a| {
                a.text(1, &place.table).text(2, &place.chain).nest(4, |rule| {
                    interface(rule, side, bridge, true);
                    verdict(rule, ACCEPT);
                });
                a.bytes(7, &mark(table));
            });
        }
        end(socket, batch)?;
    }
    Ok(())
}

fn dropping_chains(socket: &mut Socket, own: &str) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for family in [IPV4, INET] {
        for message in socket.dump(LIST_CHAINS, &header(family))? {
            let body = message.body.get(4..).unwrap_or_default();
            let hook = attribute(body, 4).and_then(|hook| attribute(hook, 1)).and_then(network_number);
            let policy = attribute(body, 5).and_then(network_number);
            let table = attribute(body, 1).map(text).unwrap_or_default();
            if hook == Some(HOOK_FORWARD) && policy == Some(DROP) && table != own {
                places.push(Place { family, table, chain: attribute(body, 3).map(text).unwrap_or_default() });
            }
        }
    }
    Ok(places)
}

fn marked_rules(socket: &mut Socket, table: &str) -> io::Result<Vec<(Place, Vec<u8>)>> {
    let mark = mark(table);
    let mut rules = Vec::new();
    for family in [IPV4, INET] {
        for message in socket.dump(LIST_RULES, &header(family))? {
            let body = message.body.get(4..).unwrap_or_default();
            let (Some(found), Some(handle)) = (attribute(body, 7), attribute(body, 3)) else { continue };
            if found == mark {
                let named = |kind| attribute(body, kind).map(text).unwrap_or_default();
                rules.push((Place { family, table: named(1), chain: named(2) }, handle.to_vec()));
            }
        }
    }
    Ok(rules)
}

/// A comment, in the form in which `nft` shows it.
fn mark(table: &str) -> Vec<u8> {
    let mut bytes = vec![0, table.len() as u8 + 1];
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes
}

fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

fn begin() -> Batch {
    let mut batch = Batch::default();
    batch.envelope(BATCH_BEGIN, &[0, 0, 0, 10]);
    batch
}

fn end(socket: &mut Socket, mut batch: Batch) -> io::Result<()> {
    batch.envelope(BATCH_END, &[0, 0, 0, 10]);
    socket.apply(batch)
}

fn add_table(batch: &mut Batch, table: &str) {
    batch.request(NEW_TABLE, CREATE, &header(IPV4), |a| {
        a.text(1, table);
    });
}

fn delete_table(batch: &mut Batch, table: &str) {
    batch.request(DELETE_TABLE, 0, &header(IPV4), |a| {
        a.text(1, table);
    });
}

fn add_chain(batch: &mut Batch, table: &str, chain: &Chain) {
    batch.request(NEW_CHAIN, CREATE, &header(IPV4), |a| {
        a.text(1, table).text(3, chain.0).nest(4, |hook| {
            hook.network_number(1, chain.2).network_number(2, chain.3);
        });
        a.network_number(5, ACCEPT).text(7, chain.1);
    });
}

fn add_rule(batch: &mut Batch, table: &str, chain: &Chain, expressions: impl FnOnce(&mut Attributes<'_>)) {
    batch.request(NEW_RULE, CREATE | APPEND, &header(IPV4), |a| {
        a.text(1, table).text(2, chain.0).nest(4, expressions);
    });
}

#[derive(Clone, Copy)]
enum Side {
    In,
    Out,
}

fn expression(rule: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    rule.nest(1, |element| {
        element.text(1, name).nest(2, data);
    });
}

fn compare(rule: &mut Attributes<'_>, equal: bool, value: &[u8]) {
    expression(rule, "cmp", |a| {
        a.network_number(1, REGISTER).network_number(2, u32::from(!equal)).nest(3, |data| {
            data.bytes(1, value);
        });
    });
}

fn interface(rule: &mut Attributes<'_>, side: Side, name: &str, equal: bool) {
    let key = match side {
        Side::In => 6,
        Side::Out => 7,
    };
    expression(rule, "meta", |a| {
        a.network_number(2, key).network_number(1, REGISTER);
    });
    let mut padded = [0; 16];
    padded.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
    compare(rule, equal, &padded);
}

fn from_subnet(rule: &mut Attributes<'_>, subnet: Subnet) {
    expression(rule, "payload", |a| {
        a.network_number(1, REGISTER).network_number(2, 1).network_number(3, 12).network_number(4, 4);
    });
    mask(rule, &subnet.mask().octets());
    compare(rule, true, &subnet.host(0).octets());
}

fn mask(rule: &mut Attributes<'_>, bits: &[u8; 4]) {
    expression(rule, "bitwise", |a| {
        a.network_number(1, REGISTER).network_number(2, REGISTER).network_number(3, 4);
        for (kind, value) in [(4, bits), (5, &[0; 4])] {
            a.nest(kind, |data| {
                data.bytes(1, value);
            });
        }
    });
}

fn known_connection(rule: &mut Attributes<'_>) {
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    expression(rule, "ct", |a| {
        a.network_number(2, 0).network_number(1, REGISTER);
    });
    mask(rule, &ESTABLISHED_OR_RELATED.to_ne_bytes());
    compare(rule, false, &[0; 4]);
}

fn verdict(rule: &mut Attributes<'_>, code: u32) {
    expression(rule, "immediate", |a| {
        a.network_number(1, 0).nest(2, |data| {
            data.nest(2, |verdict| {
                verdict.network_number(1, code);
            });
        });
    });
}

fn drop_it(rule: &mut Attributes<'_>) {
    verdict(rule, DROP);
}

/// Drops the packet and tells its sender that the administrator does not want it.
fn reject(rule: &mut Attributes<'_>) {
    const UNREACHABLE: u32 = 0;
    const PROHIBITED: u8 = 13;
    expression(rule, "reject", |a| {
        a.network_number(1, UNREACHABLE).bytes(2, &[PROHIBITED]);
    });
}

fn network_number(value: &[u8]) -> Option<u32> {
    word(value, 0).ok().map(u32::from_be_bytes)
}

/// A socket to the packet filter of the calling thread's namespace.
pub(crate) fn socket() -> io::Result<Socket> {
    Socket::open(Family::Netfilter)
}
