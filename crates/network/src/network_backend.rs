//! The network that all containers of one engine share: gateway, packet filter, addresses and name
//! service. Attaches containers to it.
//!
//! Each container has a veth pair of its own, to which one route leads. No two containers share a
//! network segment, so a container that forges hardware addresses affects only itself. The bridge
//! has no ports. It holds the gateway's address.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rondel_fault::{Attempt, Fault, Result, lock};
use rondel_ports::egress::refused_ranges;
use rondel_ports::network::Network;

use crate::dns::{Forwarder, Sockets};
use crate::firewall::{self, Element, Rules};
use crate::interfaces::{self, CONTAINER_LINK, Route, Subnet, VethPair};
use crate::leases::{Lease, Leases};
use crate::namespace;
use crate::netlink::{Batch, Family, Socket};
use crate::network_policy::NetworkPolicy;
use crate::options::Options;
use crate::pool::Pool;
use crate::resolv_conf::ResolvConf;
use crate::resource_names::ResourceNames;
use crate::uplink::{self, Helper, Uplink};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// This directory exists if the kernel supports IPv6.
const IPV6: &str = "/proc/sys/net/ipv6";
/// The smallest MTU that IPv6 allows.
const MIN_IPV6_MTU: u32 = 1280;
const SOCKETS: &str = "/proc/thread-self/net/sockstat";
const DEFAULT_MTU: u32 = 1500;
const LINK_UP_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// The kind of network that containers get.
pub(crate) enum Backend {
    /// A bridge with access to the outside.
    Bridge(Arc<BridgeBackend>),
    /// No network but loopback. The text is a warning for the user that says how to change this.
    LoopbackOnly(String),
}

/// A bridge with its addresses, packet filter, name service and uplink.
pub(crate) struct BridgeBackend {
    names: ResourceNames,
    mtu: u32,
    /// Whether interfaces have IPv6 settings.
    ipv6: bool,
    gateway: Ipv4Addr,
    subnet: Subnet,
    resolv_conf: String,
    leases: Arc<Leases>,
    /// The pool that unmodified networks are returned to.
    pool: Weak<Pool>,
    socket: Mutex<Socket>,
    policy: Arc<NetworkPolicy>,
    /// Declared before the uplink, so that it ends first.
    _forwarder: Option<Forwarder>,
    uplink: Option<Uplink>,
    /// The addresses of this machine that were added to the packet filter. Used with an uplink
    /// only.
    machine: Mutex<BTreeSet<Ipv4Addr>>,
}

/// Lease of a network. On drop, an unmodified network is returned to the pool.
struct PooledNetwork(Option<BridgedNetwork>);

/// A namespace that is attached to the bridge.
struct BridgedNetwork {
    namespace: Arc<OwnedFd>,
    /// `/proc/net/sockstat` of the namespace, which counts its sockets.
    sockets: File,
    lease: Lease,
    bridge: Arc<BridgeBackend>,
}

impl Drop for PooledNetwork {
    fn drop(&mut self) {
        if let Some(attached) = self.0.take()
            && let Some(pool) = attached.bridge.pool.upgrade()
            && attached.is_as_new()
        {
            pool.give_back(|| attached.network());
        }
    }
}

impl BridgedNetwork {
    fn network(self) -> Network {
        Network {
            namespace: self.namespace.clone(),
            address: Some(self.lease.address),
            resolv_conf: Some(self.bridge.resolv_conf.clone()),
            lease: Arc::new(PooledNetwork(Some(self))),
        }
    }

    /// Whether there is no other handle of the namespace and no socket is or lingers in it. Its
    /// interfaces and settings are unmodified then: only a process with more than the usual
    /// capabilities can change them, and the caller that runs such a process keeps a handle beyond
    /// the lease.
    fn is_as_new(&self) -> bool {
        let mut text = [0; 256];
        let length = rustix::io::pread(&self.sockets, &mut text, 0).unwrap_or(0);
        Arc::strong_count(&self.namespace) == 1 && without_sockets(&String::from_utf8_lossy(&text[..length]))
    }
}

/// Whether `/proc/net/sockstat` counts no socket, and no connection in `TIME_WAIT`.
fn without_sockets(counts: &str) -> bool {
    let count = |line: &str, name: &str| {
        let mut words =
            counts.lines().find_map(|found| found.strip_prefix(line))?.split(' ').skip_while(|word| *word != name);
        words.nth(1)
    };
    count("sockets:", "used") == Some("0") && count("TCP:", "tw") == Some("0")
}

impl Backend {
    /// Creates the backend. Called once, before the first container.
    pub(crate) fn prepare(options: &Options, names: &ResourceNames, pool: &Arc<Pool>) -> Result<Self> {
        let mut host = Socket::open(Family::Route).attempt(|| "open a netlink socket".to_owned())?;
        let routes = interfaces::routes(&mut host).attempt(|| "list the routes of this machine".to_owned())?;
        let mtu =
            mtu_of_default_route(&mut host, &routes).attempt(|| "list the interfaces of this machine".to_owned())?;
        let settings = ResolvConf::read(&options.resolv_conf);
        let mut taken: Vec<Subnet> =
            routes.iter().map(|route| route.destination).filter(|destination| destination.prefix > 1).collect();
        taken.extend(settings.reachable().into_iter().map(|server| Subnet::new(server, 32)));

        let uplink = if options.rootless {
            let helper = match Helper::find(&std::env::var_os("PATH").unwrap_or_default()) {
                Ok(helper) => helper,
                Err(note) => return Ok(Self::LoopbackOnly(note)),
            };
            uplink::end_recorded(&names.record)?;
            let between = pick(uplink::candidates(), &taken)?;
            taken.push(between);
            Some(Uplink::start(helper, mtu, between, names.record.clone())?)
        } else {
            names.remove_all()?;
            None
        };
        let subnet = pick(candidates(), &taken)?;
        let mut bridge = BridgeBackend::build(names.clone(), mtu, subnet, uplink, &settings, options)?;
        bridge.pool = Arc::downgrade(pool);
        Ok(Self::Bridge(Arc::new(bridge)))
    }

    /// Makes a new network. The calling thread moves into its namespace and must end right
    /// afterwards.
    pub(crate) fn attach(&self) -> Result<Network> {
        match self {
            Self::Bridge(bridge) => BridgeBackend::attach(bridge),
            Self::LoopbackOnly(_) => {
                let (namespace, mut inner) = new_namespace()?;
                let mut batch = Batch::default();
                interfaces::bring_up(&mut batch, interfaces::LOOPBACK);
                inner.apply(batch).attempt(|| "bring up the loopback of a network namespace".to_owned())?;
                Ok(Network { namespace: Arc::new(namespace), address: None, resolv_conf: None, lease: Arc::new(()) })
            }
        }
    }
}

impl BridgeBackend {
    fn build(
        names: ResourceNames,
        mtu: u32,
        subnet: Subnet,
        uplink: Option<Uplink>,
        settings: &ResolvConf,
        options: &Options,
    ) -> Result<Self> {
        let gateway = subnet.host(1);
        let work = || {
            let mut socket = Socket::open(Family::Route)?;
            let mut batch = Batch::default();
            interfaces::add_bridge(&mut batch, &names.bridge, mtu, gateway);
            socket.apply(batch)?;
            let found = interfaces::list(&mut socket)?.into_iter().find(|link| link.name == names.bridge);
            let index = found.map(|link| link.index).ok_or(io::ErrorKind::NotFound)?;
            let mut batch = Batch::default();
            interfaces::add_address(&mut batch, index, gateway, subnet);
            socket.apply(batch)?;
            if std::fs::read_to_string(FORWARDING)?.trim() == "0" {
                std::fs::write(FORWARDING, "1")?;
            }
            Ok(socket)
        };
        let base = uplink.as_ref().map(|uplink| uplink.namespace.as_fd());
        let socket = within(base, work).attempt(|| format!("make bridge `{}` with subnet {subnet}", names.bridge))?;
        let (name_service, servers) = name_servers(base, gateway, settings)?;
        let policy = write_rules(base, &names, subnet, &servers, options, uplink.as_ref())?;
        let forwarder = name_service.map(|sockets| {
            let started = Forwarder::start(sockets, subnet, policy.clone(), options.resolv_conf.clone());
            started.attempt(|| format!("start the name service on {gateway}"))
        });
        Ok(Self {
            mtu,
            ipv6: Path::new(IPV6).exists() && mtu >= MIN_IPV6_MTU,
            gateway,
            subnet,
            resolv_conf: settings.text(&servers),
            leases: Leases::new(subnet),
            pool: Weak::new(),
            socket: Mutex::new(socket),
            policy,
            _forwarder: forwarder.transpose()?,
            machine: Mutex::default(),
            uplink,
            names,
        })
    }

    fn attach(self: &Arc<Self>) -> Result<Network> {
        let lease =
            self.leases.take().ok_or_else(|| Fault::environment(format!("no address is left in {}", self.subnet)))?;
        let address = lease.address;
        self.update_machine_addresses()
            .attempt(|| "update the addresses of this machine in the packet filter".to_owned())?;
        let (namespace, mut inner) = new_namespace()?;
        let sockets = File::open(SOCKETS).attempt(|| format!("open `{SOCKETS}`"))?;
        let mut outside = Batch::default();
        let (name, gateway, namespace_fd) = (&self.names.veth, self.gateway, namespace.as_fd());
        let veth = VethPair { name, mtu: self.mtu, gateway, address, namespace: namespace_fd };
        interfaces::add_veth_pair(&mut outside, &veth);
        let attached = lock(&self.socket).apply(outside);
        attached.attempt(|| "make the link of a container".to_owned())?;

        self.configure(&mut inner, address).attempt(|| format!("give a container the address {address}"))?;
        Ok(BridgedNetwork { namespace: Arc::new(namespace), sockets, lease, bridge: self.clone() }.network())
    }

    fn configure(&self, inner: &mut Socket, address: Ipv4Addr) -> io::Result<()> {
        let link = interfaces::list(inner)?
            .into_iter()
            .find(|link| link.name == CONTAINER_LINK)
            .ok_or(io::ErrorKind::NotFound)?;
        let outer = link.other_end.ok_or(io::ErrorKind::NotFound)?;
        // ORDER: the interface gets its settings before the first packet can arrive.
        let mut batch = Batch::default();
        interfaces::configure_host_end(&mut batch, outer, address, self.gateway, self.ipv6);
        lock(&self.socket).apply(batch)?;
        let mut batch = Batch::default();
        interfaces::bring_up(&mut batch, interfaces::LOOPBACK);
        interfaces::bring_up(&mut batch, link.index);
        interfaces::add_address(&mut batch, link.index, address, Subnet::new(address, 32));
        interfaces::add_neighbour(&mut batch, link.index, self.gateway);
        interfaces::add_default_route(&mut batch, link.index, self.gateway);
        inner.apply(batch)?;
        self.await_link(outer)
    }

    /// Waits until the interface passes packets. A packet that is sent earlier is lost, and its
    /// sender retries a second later.
    fn await_link(&self, link: u32) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < LINK_UP_TIMEOUT {
            if interfaces::is_up(&mut lock(&self.socket), link)? {
                break;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Updates the addresses of this machine in the packet filter, when containers reach the
    /// outside through a user-mode stack. Packets that they send to these addresses would arrive as
    /// if the machine itself had sent them. Runs in the machine's own network namespace.
    fn update_machine_addresses(&self) -> io::Result<()> {
        if self.uplink.is_none() {
            return Ok(());
        }
        let mut known = lock(&self.machine);
        let now = interfaces::addresses(&mut Socket::open(Family::Route)?)?;
        let (gone, new): (Vec<_>, Vec<_>) =
            (known.difference(&now).copied().collect(), now.difference(&known).copied().collect());
        for (addresses, add) in [(gone, false), (new, true)] {
            let elements: Vec<_> = addresses.into_iter().map(Element::Machine).collect();
            self.policy.change_filter(&elements, add)?;
        }
        *known = now;
        Ok(())
    }

    /// The policy that says which containers may reach each other.
    pub(crate) fn policy(&self) -> &Arc<NetworkPolicy> {
        &self.policy
    }

    /// How many addresses are leased.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        self.leases.leased()
    }
}

impl Drop for BridgeBackend {
    fn drop(&mut self) {
        if self.uplink.is_none() {
            let _ = self.names.remove_all();
        }
    }
}

/// The name servers of containers, and the sockets of our own name service. No sockets if another
/// program already answers on port 53 of every address.
fn name_servers(
    base: Option<std::os::fd::BorrowedFd<'_>>,
    gateway: Ipv4Addr,
    settings: &ResolvConf,
) -> Result<(Option<Sockets>, Vec<Ipv4Addr>)> {
    match within(base, || Sockets::bind(gateway)) {
        Ok(sockets) => Ok((Some(sockets), vec![gateway])),
        // Another program listens on every address of this machine, so also on the gateway's.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let reachable = settings.reachable();
            Ok((None, if reachable.is_empty() { vec![gateway] } else { reachable }))
        }
        Err(error) => Err(error).attempt(|| format!("listen on port 53 of {gateway}")),
    }
}

/// Writes the packet filter rules. The returned policy adds and removes containers.
fn write_rules(
    base: Option<std::os::fd::BorrowedFd<'_>>,
    names: &ResourceNames,
    subnet: Subnet,
    name_servers: &[Ipv4Addr],
    options: &Options,
    uplink: Option<&Uplink>,
) -> Result<Arc<NetworkPolicy>> {
    let mut refused: Vec<Subnet> =
        refused_ranges().into_iter().map(|(base, prefix)| Subnet::new(base, prefix)).collect();
    // What the helper is on its side of the way out is of this machine.
    refused.extend(uplink.map(|uplink| uplink.between));
    let v4 = |range: &rondel_ports::egress::Cidr| match range.base {
        IpAddr::V4(base) => Some(Subnet::new(base, range.prefix)),
        IpAddr::V6(_) => None,
    };
    let allowed: Vec<Subnet> = options.allowed.iter().filter_map(v4).collect();
    let (table, links) = (&*names.table, names.veth_prefix());
    let rules = Rules { table, links, subnet, name_servers, refused: &refused, allowed: &allowed };
    let write = || {
        let mut socket = firewall::socket()?;
        firewall::set_up(&mut socket, &rules)?;
        Ok(NetworkPolicy::new(socket, names.table.clone()))
    };
    within(base, write).map_err(|error| {
        Fault::environment(format!("cannot write the packet filter table `{}`", names.table))
            .caused_by(error)
            .with_hint(
                "the kernel needs nf_tables with NAT (modules `nf_tables`, `nft_masq`, `nft_ct`, `nft_fib_ipv4`)",
            )
    })
}

fn new_namespace() -> Result<(OwnedFd, Socket)> {
    let make = || Ok((namespace::leave_for_new()?, Socket::open(Family::Route)?));
    make().map_err(|error: io::Error| {
        Fault::environment("cannot make a network namespace")
            .caused_by(error)
            .with_hint("see /proc/sys/user/max_net_namespaces")
    })
}

fn within<T: Send>(
    base: Option<std::os::fd::BorrowedFd<'_>>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    match base {
        Some(namespace) => namespace::inside(namespace, work),
        None => work(),
    }
}

fn mtu_of_default_route(socket: &mut Socket, routes: &[Route]) -> io::Result<u32> {
    let best = routes
        .iter()
        .filter(|route| route.destination.prefix == 0 && route.link.is_some())
        .min_by_key(|route| route.metric);
    let Some(index) = best.and_then(|route| route.link) else { return Ok(DEFAULT_MTU) };
    Ok(interfaces::list(socket)?.into_iter().find(|link| link.index == index).map_or(DEFAULT_MTU, |link| link.mtu))
}

/// The subnets that a bridge may use, in order of preference.
fn candidates() -> impl Iterator<Item = Subnet> {
    let ten = (87..=254).map(|second| Subnet::new(Ipv4Addr::new(10, second, 0, 0), 16));
    let twelve = (20..=31).map(|second| Subnet::new(Ipv4Addr::new(172, second, 0, 0), 16));
    let sixteen = (96..=223).step_by(4).map(|third| Subnet::new(Ipv4Addr::new(192, 168, third, 0), 22));
    ten.chain(twelve).chain(sixteen)
}

fn pick(mut candidates: impl Iterator<Item = Subnet>, taken: &[Subnet]) -> Result<Subnet> {
    candidates.find(|candidate| !taken.iter().any(|other| other.overlaps(*candidate))).ok_or_else(|| {
        Fault::environment(
            "cannot find a private subnet for containers: every candidate overlaps a route of this machine",
        )
        .with_hint("`ip route show table all` lists the routes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_avoid_the_routes_of_the_machine() {
        let net = |text: &str| {
            let (base, prefix) = text.split_once('/').unwrap();
            Subnet::new(base.parse().unwrap(), prefix.parse().unwrap())
        };
        for (taken, expected) in [
            (vec![], "10.87.0.0/16"),
            (vec!["10.87.3.0/24"], "10.88.0.0/16"),
            (vec!["10.87.0.0/16", "10.88.0.0/15"], "10.90.0.0/16"),
            (vec!["10.0.0.0/8"], "172.20.0.0/16"),
            (vec!["10.0.0.0/8", "172.16.0.0/12"], "192.168.96.0/22"),
        ] {
            let taken: Vec<Subnet> = taken.into_iter().map(net).collect();
            assert_eq!(pick(candidates(), &taken).unwrap(), net(expected));
        }
        let everything = [net("10.0.0.0/8"), net("172.16.0.0/12"), net("192.168.0.0/16")];
        assert!(pick(candidates(), &everything).unwrap_err().message().contains("overlaps"));
    }

    #[test]
    fn sockets_are_counted() {
        for (counts, expected) in [
            ("sockets: used 0\nTCP: inuse 0 orphan 3 tw 0 alloc 9 mem 1\nUDP: inuse 0 mem 4\n", true),
            ("sockets: used 2\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\n", false),
            ("sockets: used 0\nTCP: inuse 0 orphan 0 tw 1 alloc 0 mem 0\n", false),
            ("sockets: used 0\n", false),
            ("", false),
        ] {
            assert_eq!(without_sockets(counts), expected, "{counts}");
        }
    }
}
