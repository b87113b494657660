//! The packet filter: which packets may pass between containers, this machine and the outside. All
//! rules are written in one transaction.
//!
//! The rules are in tables of our own, one for IPv4 and one that refuses IPv6. A packet of a
//! container is dropped first of all, unless its source is the address that is routed to its link.
//! The routing table decides that, so no rule changes with a container.
//!
//! A chain of another program with a dropping policy (Docker sets one) still drops forwarded
//! packets, so each such chain gets two marked rules in front. Not covered: legacy `iptables` with
//! a dropping policy, and chains of others that refuse by an explicit rule.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::interfaces::Subnet;
use crate::netlink::{Attributes, Batch, CREATE, Socket, attribute, text};
pub(crate) use crate::nftables::socket;
use crate::nftables::{
    ACCEPT, Chain, DELETE_ELEMENT, DELETE_RULE, DESTINATION, DROP, HOOK_FORWARD, HOOK_INPUT, HOOK_POSTROUTING,
    HOOK_PREROUTING, INET, IPV4, IPV6, LIST_CHAINS, LIST_RULES, NEW_ELEMENT, NEW_RULE, NEW_SET, NEXT_REGISTER,
    REGISTER, SOURCE, Side, add_chain, add_rule, add_table, address, begin, delete_table, drop_it, end, expression,
    header, interface, known_connection, network_number, not_loopback, reject, replace_table, source_is_elsewhere,
    to_port, verdict, within,
};

/// Set: the number of each container's group.
const MEMBERS: &str = "members";
/// Set: the containers that each group may reach.
const PUBLISHED: &str = "published";
/// Set: the addresses of the machine on which an ordinary user's engine runs.
const MACHINE: &str = "machine";

/// The numbers by which `nft` names types of elements.
const TYPE_ADDRESS: u32 = 7;
const TYPE_MARK: u32 = 19;

const DNS: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The priority before connection tracking, so that a forged packet belongs to no connection.
const BEFORE_TRACKING: i32 = -300;
const SPOOFING: Chain = Chain { name: "spoofing", kind: "filter", hook: HOOK_PREROUTING, priority: BEFORE_TRACKING };
const INPUT: Chain = Chain { name: "input", kind: "filter", hook: HOOK_INPUT, priority: 0 };
const FORWARD: Chain = Chain { name: "forward", kind: "filter", hook: HOOK_FORWARD, priority: 0 };
const POSTROUTING: Chain = Chain { name: "postrouting", kind: "nat", hook: HOOK_POSTROUTING, priority: 100 };

/// The input of the rules.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// The name of the tables.
    pub(crate) table: &'a str,
    /// The prefix of the names of containers' links, and of no other link.
    pub(crate) links: &'a str,
    /// The addresses of containers.
    pub(crate) subnet: Subnet,
    /// The name servers of containers, inside or outside of this machine.
    pub(crate) name_servers: &'a [Ipv4Addr],
    /// Ranges outside that containers must not reach.
    pub(crate) refused: &'a [Subnet],
    /// Ranges that containers may reach nevertheless.
    pub(crate) allowed: &'a [Subnet],
}

/// The expression that refuses a packet.
type Refuse = fn(&mut Attributes<'_>);

/// Writes the tables, replacing those of the same name.
pub(crate) fn set_up(socket: &mut Socket, rules: &Rules<'_>) -> io::Result<()> {
    // A kernel may lack `reject`, which tells the sender at once that its packet is refused.
    rules.write(socket, reject).or_else(|_| rules.write(socket, drop_it))?;
    if Path::new("/proc/sys/net/ipv6").exists() {
        rules.write_ipv6(socket)?;
    }
    open_foreign_chains(socket, rules.table, rules.links)
}

impl Rules<'_> {
    fn write(&self, socket: &mut Socket, refuse: Refuse) -> io::Result<()> {
        let mut batch = begin();
        replace_table(&mut batch, IPV4, self.table);
        for chain in [&SPOOFING, &INPUT, &FORWARD, &POSTROUTING] {
            add_chain(&mut batch, IPV4, self.table, chain);
        }
        add_sets(&mut batch, self.table);
        self.sources(&mut batch);
        self.to_machine(&mut batch, refuse);
        self.between_containers(&mut batch, refuse);
        self.way_out(&mut batch, refuse);
        end(socket, batch)
    }

    /// Containers have no IPv6 addresses, apart from those that they give themselves.
    fn write_ipv6(&self, socket: &mut Socket) -> io::Result<()> {
        let mut batch = begin();
        replace_table(&mut batch, IPV6, self.table);
        add_chain(&mut batch, IPV6, self.table, &SPOOFING);
        add_rule(&mut batch, IPV6, self.table, &SPOOFING, |rule| {
            interface(rule, Side::In, self.links, true);
            verdict(rule, DROP);
        });
        end(socket, batch)
    }

    fn rule(&self, batch: &mut Batch, chain: &Chain, expressions: impl FnOnce(&mut Attributes<'_>)) {
        add_rule(batch, IPV4, self.table, chain, expressions);
    }

    /// Drops packets of containers with another source address, and packets from elsewhere with the
    /// address of a container.
    fn sources(&self, batch: &mut Batch) {
        self.rule(batch, &SPOOFING, |rule| {
            interface(rule, Side::In, self.links, true);
            source_is_elsewhere(rule);
            verdict(rule, DROP);
        });
        self.rule(batch, &SPOOFING, |rule| {
            interface(rule, Side::In, self.links, false);
            not_loopback(rule, Side::In);
            within(rule, SOURCE, self.subnet);
            verdict(rule, DROP);
        });
    }

    /// Packets from containers to this machine: DNS queries and answers pass. Everything else that
    /// this machine listens on is refused.
    fn to_machine(&self, batch: &mut Batch, refuse: Refuse) {
        self.accept_allowed(batch, &INPUT);
        self.rule(batch, &INPUT, |rule| {
            interface(rule, Side::In, self.links, true);
            known_connection(rule);
            verdict(rule, ACCEPT);
        });
        self.rule(batch, &INPUT, |rule| {
            interface(rule, Side::In, self.links, true);
            refuse(rule);
        });
    }

    /// Accepts packets to name servers, and to the ranges that the configuration allows.
    fn accept_allowed(&self, batch: &mut Batch, chain: &Chain) {
        for (server, protocol) in self.name_servers.iter().flat_map(|server| [(server, UDP), (server, TCP)]) {
            self.rule(batch, chain, |rule| {
                interface(rule, Side::In, self.links, true);
                within(rule, DESTINATION, Subnet::new(*server, 32));
                to_port(rule, protocol, DNS);
                verdict(rule, ACCEPT);
            });
        }
        for subnet in self.allowed {
            self.rule(batch, chain, |rule| {
                interface(rule, Side::In, self.links, true);
                within(rule, DESTINATION, *subnet);
                verdict(rule, ACCEPT);
            });
        }
    }

    /// Packets between containers: those to a container that is published in the sender's group
    /// pass, and the answers. A packet gets the number of the group as its mark. Containers cannot
    /// send marks. An established connection alone is not enough: it may belong to containers that
    /// had these addresses before.
    fn between_containers(&self, batch: &mut Batch, refuse: Refuse) {
        let between = |rule: &mut Attributes<'_>, answers: bool| {
            interface(rule, Side::In, self.links, true);
            interface(rule, Side::Out, self.links, true);
            if answers {
                known_connection(rule);
            }
        };
        for (client, service, answers) in [(SOURCE, DESTINATION, false), (DESTINATION, SOURCE, true)] {
            self.rule(batch, &FORWARD, |rule| {
                between(rule, answers);
                address(rule, client);
                mark_with_group(rule);
            });
            self.rule(batch, &FORWARD, |rule| {
                between(rule, answers);
                address(rule, service);
                is_published(rule);
                verdict(rule, ACCEPT);
            });
        }
        self.rule(batch, &FORWARD, |rule| {
            between(rule, false);
            refuse(rule);
        });
    }

    fn way_out(&self, batch: &mut Batch, refuse: Refuse) {
        self.accept_allowed(batch, &FORWARD);
        for subnet in self.refused {
            self.rule(batch, &FORWARD, |rule| {
                interface(rule, Side::In, self.links, true);
                within(rule, DESTINATION, *subnet);
                refuse(rule);
            });
        }
        self.rule(batch, &FORWARD, |rule| {
            interface(rule, Side::In, self.links, true);
            address(rule, DESTINATION);
            expression(rule, "lookup", |a| {
                a.text(1, MACHINE).network_number(2, REGISTER);
            });
            refuse(rule);
        });
        self.rule(batch, &FORWARD, |rule| {
            interface(rule, Side::In, self.links, true);
            verdict(rule, ACCEPT);
        });
        self.rule(batch, &FORWARD, |rule| {
            interface(rule, Side::Out, self.links, true);
            known_connection(rule);
            verdict(rule, ACCEPT);
        });
        self.rule(batch, &FORWARD, |rule| {
            interface(rule, Side::Out, self.links, true);
            verdict(rule, DROP);
        });
        self.rule(batch, &POSTROUTING, |rule| {
            within(rule, SOURCE, self.subnet);
            interface(rule, Side::Out, self.links, false);
            expression(rule, "masq", |_| {});
        });
    }
}

const META_MARK: u32 = 3;

/// Continues the rule if the loaded address is in a group, and marks the packet with the group's
/// number.
fn mark_with_group(rule: &mut Attributes<'_>) {
    expression(rule, "lookup", |a| {
        a.text(1, MEMBERS).network_number(2, REGISTER).network_number(3, REGISTER);
    });
    expression(rule, "meta", |a| {
        a.network_number(2, META_MARK).network_number(3, REGISTER);
    });
}

/// Continues the rule if the loaded address is published in the group of the packet's mark.
fn is_published(rule: &mut Attributes<'_>) {
    expression(rule, "meta", |a| {
        a.network_number(2, META_MARK).network_number(1, NEXT_REGISTER);
    });
    expression(rule, "lookup", |a| {
        a.text(1, PUBLISHED).network_number(2, REGISTER);
    });
}

/// An element of a set in the packet filter: a fact about an address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Element {
    /// The address is a container in the group with this number.
    Member(Ipv4Addr, u32),
    /// The group with this number may reach the address.
    Published(Ipv4Addr, u32),
    /// The address belongs to the machine on which an ordinary user's engine runs.
    Machine(Ipv4Addr),
}

/// Adds or removes elements in one transaction.
pub(crate) fn change_elements(socket: &mut Socket, table: &str, elements: &[Element], add: bool) -> io::Result<()> {
    let mut batch = begin();
    for element in elements {
        let (set, key, data) = match element {
            Element::Member(address, mark) => (MEMBERS, address.octets().to_vec(), add.then_some(mark)),
            Element::Published(address, mark) => (PUBLISHED, [address.octets(), mark.to_ne_bytes()].concat(), None),
            Element::Machine(address) => (MACHINE, address.octets().to_vec(), None),
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
    batch.request(NEW_SET, CREATE, &header(IPV4), |a| {
        a.text(1, table).text(2, MEMBERS).network_number(3, MAP).network_number(4, TYPE_ADDRESS).network_number(5, 4);
        a.network_number(6, TYPE_MARK).network_number(7, 4).network_number(10, 1);
    });
    batch.request(NEW_SET, CREATE, &header(IPV4), |a| {
        let both = TYPE_ADDRESS << 6 | TYPE_MARK;
        a.text(1, table).text(2, PUBLISHED).network_number(3, 0).network_number(4, both);
        a.network_number(5, 8).network_number(10, 2);
    });
    batch.request(NEW_SET, CREATE, &header(IPV4), |a| {
        a.text(1, table).text(2, MACHINE).network_number(3, 0).network_number(4, TYPE_ADDRESS);
        a.network_number(5, 4).network_number(10, 3);
    });
}

/// Removes the tables and the marked rules. It is no error when there are none.
pub(crate) fn remove(socket: &mut Socket, table: &str) -> io::Result<()> {
    let mut batch = begin();
    add_table(&mut batch, IPV4, table);
    delete_table(&mut batch, IPV4, table);
    for (place, handle) in marked_rules(socket, table)? {
        batch.request(DELETE_RULE, 0, &header(place.family), |a| {
            a.text(1, &place.table).text(2, &place.chain).bytes(3, &handle);
        });
    }
    end(socket, batch)?;
    let mut batch = begin();
    add_table(&mut batch, IPV6, table);
    delete_table(&mut batch, IPV6, table);
    end(socket, batch)
}

/// The location of a chain in another program's table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChainLocation {
    family: u8,
    table: String,
    chain: String,
}

fn open_foreign_chains(socket: &mut Socket, table: &str, links: &str) -> io::Result<()> {
    let places = dropping_chains(socket, table)?;
    let marked: Vec<ChainLocation> = marked_rules(socket, table)?.into_iter().map(|(place, _)| place).collect();
    for place in places.iter().filter(|place| !marked.contains(place)) {
        let mut batch = begin();
        for side in [Side::In, Side::Out] {
            batch.request(NEW_RULE, CREATE, &header(place.family), |a| {
                a.text(1, &place.table).text(2, &place.chain).nest(4, |rule| {
                    interface(rule, side, links, true);
                    verdict(rule, ACCEPT);
                });
                a.bytes(7, &mark(table));
            });
        }
        end(socket, batch)?;
    }
    Ok(())
}

fn dropping_chains(socket: &mut Socket, own: &str) -> io::Result<Vec<ChainLocation>> {
    let mut places = Vec::new();
    for family in [IPV4, INET] {
        for message in socket.dump(LIST_CHAINS, &header(family))? {
            let body = message.body.get(4..).unwrap_or_default();
            let hook = attribute(body, 4).and_then(|hook| attribute(hook, 1)).and_then(network_number);
            let policy = attribute(body, 5).and_then(network_number);
            let table = attribute(body, 1).map(text).unwrap_or_default();
            if hook == Some(HOOK_FORWARD) && policy == Some(DROP) && table != own {
                places.push(ChainLocation { family, table, chain: attribute(body, 3).map(text).unwrap_or_default() });
            }
        }
    }
    Ok(places)
}

fn marked_rules(socket: &mut Socket, table: &str) -> io::Result<Vec<(ChainLocation, Vec<u8>)>> {
    let mark = mark(table);
    let mut rules = Vec::new();
    for family in [IPV4, INET] {
        for message in socket.dump(LIST_RULES, &header(family))? {
            let body = message.body.get(4..).unwrap_or_default();
            let (Some(found), Some(handle)) = (attribute(body, 7), attribute(body, 3)) else { continue };
            if found == mark {
                let named = |kind| attribute(body, kind).map(text).unwrap_or_default();
                rules.push((ChainLocation { family, table: named(1), chain: named(2) }, handle.to_vec()));
            }
        }
    }
    Ok(rules)
}

/// The comment that marks our rules, in the format that `nft` shows.
fn mark(table: &str) -> Vec<u8> {
    let mut bytes = vec![0, table.len() as u8 + 1];
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes
}
