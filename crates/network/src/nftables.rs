//! nf_tables over netlink: builds requests for tables, chains, rules and their expressions.
//!
//! A batch is a transaction: the kernel carries out all of its requests or none. It applies to the
//! network namespace of the thread that opened the socket.
//!
//! *Invariants.* Expressions pass values on in one register of 16 bytes: a single value at its
//! start, the second of two values in the four bytes behind it. So what loads a value comes right
//! before what masks, compares or looks it up. Addresses are those of IPv4 headers.

use std::io;

use crate::interfaces::Subnet;
use crate::netlink::{APPEND, Attributes, Batch, CREATE, Family, Socket, word};

/// The protocol family of IPv4 tables.
pub(crate) const IPV4: u8 = 2;
/// The protocol family of tables for IPv4 and IPv6 together.
pub(crate) const INET: u8 = 1;
/// The protocol family of IPv6 tables.
pub(crate) const IPV6: u8 = 10;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0xa00;
const DELETE_TABLE: u16 = 0xa02;
const NEW_CHAIN: u16 = 0xa03;
/// The request for every chain.
pub(crate) const LIST_CHAINS: u16 = 0xa04;
/// The request for a new rule.
pub(crate) const NEW_RULE: u16 = 0xa06;
/// The request for every rule.
pub(crate) const LIST_RULES: u16 = 0xa07;
/// The request to remove a rule.
pub(crate) const DELETE_RULE: u16 = 0xa08;
/// The request for a new set.
pub(crate) const NEW_SET: u16 = 0xa09;
/// The request for a new element of a set.
pub(crate) const NEW_ELEMENT: u16 = 0xa0c;
/// The request to remove an element of a set.
pub(crate) const DELETE_ELEMENT: u16 = 0xa0e;

/// The hook before the routing decision.
pub(crate) const HOOK_PREROUTING: u32 = 0;
/// The hook of packets to this machine.
pub(crate) const HOOK_INPUT: u32 = 1;
/// The hook of packets that are passed on.
pub(crate) const HOOK_FORWARD: u32 = 2;
/// The hook after the routing decision.
pub(crate) const HOOK_POSTROUTING: u32 = 4;

/// The verdict that drops a packet.
pub(crate) const DROP: u32 = 0;
/// The verdict that lets a packet pass.
pub(crate) const ACCEPT: u32 = 1;

/// The register that single values are loaded into.
pub(crate) const REGISTER: u32 = 1;
/// The four bytes of a register behind the first four.
pub(crate) const NEXT_REGISTER: u32 = 9;

/// The offset of the source address in an IPv4 header.
pub(crate) const SOURCE: u32 = 12;
/// The offset of the destination address in an IPv4 header.
pub(crate) const DESTINATION: u32 = 16;

/// A base chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    /// Its name.
    pub(crate) name: &'static str,
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// Where packets enter it.
    pub(crate) hook: u32,
    /// Chains with a lower priority see a packet earlier.
    pub(crate) priority: i32,
}

/// The header of every request.
pub(crate) fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

/// An empty transaction.
pub(crate) fn begin() -> Batch {
    let mut batch = Batch::default();
    batch.envelope(BATCH_BEGIN, &[0, 0, 0, 10]);
    batch
}

/// Commits a transaction, all of it or nothing.
pub(crate) fn end(socket: &mut Socket, mut batch: Batch) -> io::Result<()> {
    batch.envelope(BATCH_END, &[0, 0, 0, 10]);
    socket.apply(batch)
}

/// A socket to the packet filter of the calling thread's namespace.
pub(crate) fn socket() -> io::Result<Socket> {
    Socket::open(Family::Netfilter)
}

/// Adds a table unless it is there.
pub(crate) fn add_table(batch: &mut Batch, family: u8, table: &str) {
    batch.request(NEW_TABLE, CREATE, &header(family), |a| {
        a.text(1, table);
    });
}

/// Removes a table, which has to be there.
pub(crate) fn delete_table(batch: &mut Batch, family: u8, table: &str) {
    batch.request(DELETE_TABLE, 0, &header(family), |a| {
        a.text(1, table);
    });
}

/// Replaces a table by an empty one.
pub(crate) fn replace_table(batch: &mut Batch, family: u8, table: &str) {
    add_table(batch, family, table);
    delete_table(batch, family, table);
    add_table(batch, family, table);
}

/// Adds a base chain that accepts what no rule decides.
pub(crate) fn add_chain(batch: &mut Batch, family: u8, table: &str, chain: &Chain) {
    batch.request(NEW_CHAIN, CREATE, &header(family), |a| {
        a.text(1, table).text(3, chain.name).nest(4, |hook| {
            hook.network_number(1, chain.hook).network_number(2, chain.priority.cast_unsigned());
        });
        a.network_number(5, ACCEPT).text(7, chain.kind);
    });
}

/// Adds a rule at the end of a chain.
pub(crate) fn add_rule(
    batch: &mut Batch,
    family: u8,
    table: &str,
    chain: &Chain,
    expressions: impl FnOnce(&mut Attributes<'_>),
) {
    batch.request(NEW_RULE, CREATE | APPEND, &header(family), |a| {
        a.text(1, table).text(2, chain.name).nest(4, expressions);
    });
}

/// Which interface of a packet is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// The one that it came in by.
    In,
    /// The one that it goes out by.
    Out,
}

/// Adds an expression to a rule.
pub(crate) fn expression(rule: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    rule.nest(1, |element| {
        element.text(1, name).nest(2, data);
    });
}

/// Continues the rule if the register holds `value`, or, unless `equal`, if it does not.
pub(crate) fn compare(rule: &mut Attributes<'_>, equal: bool, value: &[u8]) {
    expression(rule, "cmp", |a| {
        a.network_number(1, REGISTER).network_number(2, u32::from(!equal)).nest(3, |data| {
            data.bytes(1, value);
        });
    });
}

/// Continues the rule if the name of an interface begins with `prefix`, or, unless `equal`, if it
/// does not.
pub(crate) fn interface(rule: &mut Attributes<'_>, side: Side, prefix: &str, equal: bool) {
    load_interface(rule, side);
    compare(rule, equal, prefix.as_bytes());
}

/// Continues the rule unless the interface is the loopback.
pub(crate) fn not_loopback(rule: &mut Attributes<'_>, side: Side) {
    load_interface(rule, side);
    compare(rule, false, b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

fn load_interface(rule: &mut Attributes<'_>, side: Side) {
    let key = match side {
        Side::In => 6,
        Side::Out => 7,
    };
    expression(rule, "meta", |a| {
        a.network_number(2, key).network_number(1, REGISTER);
    });
}

/// Loads the address at an offset of the IPv4 header.
pub(crate) fn address(rule: &mut Attributes<'_>, offset: u32) {
    const NETWORK_HEADER: u32 = 1;
    expression(rule, "payload", |a| {
        a.network_number(1, REGISTER).network_number(2, NETWORK_HEADER).network_number(3, offset).network_number(4, 4);
    });
}

/// Continues the rule if the address at an offset of the IPv4 header is in a subnet.
pub(crate) fn within(rule: &mut Attributes<'_>, offset: u32, subnet: Subnet) {
    address(rule, offset);
    mask(rule, &subnet.mask().octets());
    compare(rule, true, &subnet.host(0).octets());
}

/// Continues the rule if the packet has this transport protocol and destination port.
pub(crate) fn to_port(rule: &mut Attributes<'_>, protocol: u8, port: u16) {
    const TRANSPORT_PROTOCOL: u32 = 16;
    const TRANSPORT_HEADER: u32 = 2;
    expression(rule, "meta", |a| {
        a.network_number(2, TRANSPORT_PROTOCOL).network_number(1, REGISTER);
    });
    compare(rule, true, &[protocol]);
    expression(rule, "payload", |a| {
        a.network_number(1, REGISTER).network_number(2, TRANSPORT_HEADER).network_number(3, 2).network_number(4, 2);
    });
    compare(rule, true, &port.to_be_bytes());
}

/// Continues the rule if an answer to the packet's source would leave by another interface than the
/// one that the packet came in by (reverse path filter).
pub(crate) fn source_is_elsewhere(rule: &mut Attributes<'_>) {
    const RESULT_IS_INTERFACE: u32 = 1;
    const BY_SOURCE: u32 = 1;
    const MUST_BE_INPUT: u32 = 8;
    expression(rule, "fib", |a| {
        a.network_number(1, REGISTER).network_number(2, RESULT_IS_INTERFACE);
        a.network_number(3, BY_SOURCE | MUST_BE_INPUT);
    });
    compare(rule, true, &[0; 4]);
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

/// Continues the rule if the packet belongs to an established connection, or is an error about one.
pub(crate) fn known_connection(rule: &mut Attributes<'_>) {
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    expression(rule, "ct", |a| {
        a.network_number(2, 0).network_number(1, REGISTER);
    });
    mask(rule, &ESTABLISHED_OR_RELATED.to_ne_bytes());
    compare(rule, false, &[0; 4]);
}

/// Ends the rule with a verdict.
pub(crate) fn verdict(rule: &mut Attributes<'_>, code: u32) {
    expression(rule, "immediate", |a| {
        a.network_number(1, 0).nest(2, |data| {
            data.nest(2, |verdict| {
                verdict.network_number(1, code);
            });
        });
    });
}

/// Drops the packet.
pub(crate) fn drop_it(rule: &mut Attributes<'_>) {
    verdict(rule, DROP);
}

/// Drops the packet and sends `administratively prohibited` to its sender.
pub(crate) fn reject(rule: &mut Attributes<'_>) {
    const UNREACHABLE: u32 = 0;
    const PROHIBITED: u8 = 13;
    expression(rule, "reject", |a| {
        a.network_number(1, UNREACHABLE).bytes(2, &[PROHIBITED]);
    });
}

/// A number of an answer, in network order.
pub(crate) fn network_number(value: &[u8]) -> Option<u32> {
    word(value, 0).ok().map(u32::from_be_bytes)
}
