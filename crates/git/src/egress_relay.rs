//! The way of a `git` that runs for a process in a container: to hosts outside of this machine and its link.
//!
//! *Invariants.* A name is looked up once, by us, and the connection is made to the addresses that were checked; `git`, `curl`
//! and `ssh` look up nothing. HTTP goes through a port of loopback that speaks SOCKS, also after redirects and for submodules,
//! or through the host's own proxy, which decides itself what it connects to. SSH and git's own protocol are led to the host of
//! the address alone, so that submodules elsewhere are not fetched by them.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::egress::Egress;
use rondel_ports::network::Dial;

use crate::command::Run;
use crate::lock;
use crate::tcp_relay::{RelayProtocol, TcpRelay};
use crate::transport::LOOPBACK;

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// What submodules are fetched by.
const FOR_SUBMODULES: &str = "http:https:ssh";
/// Proxy variables of `curl`, for one scheme and for all.
const PROXIES: [(&str, &str); 2] = [("http_proxy", "HTTP_PROXY"), ("https_proxy", "HTTPS_PROXY")];
const EVERY_PROXY: [&str; 2] = ["all_proxy", "ALL_PROXY"];

/// Makes connections to hosts outside of this machine, and remembers why one was refused.
#[derive(Clone)]
pub(crate) struct EgressConnector {
    egress: Egress,
    refused: Arc<std::sync::Mutex<Option<Fault>>>,
}

impl EgressConnector {
    pub(crate) fn new(egress: Egress) -> Self {
        Self { egress, refused: Arc::default() }
    }

    /// Why a connection was refused by ourselves, when one was.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        lock(&self.refused).clone()
    }

    /// A connection to a port of `host`, a name or an address. Blocks.
    pub(crate) fn connect(&self, host: &str, port: u16) -> Result<TcpStream> {
        let host = host.trim_matches(['[', ']']);
        let attempted = || format!("connect to port {port} of `{host}`");
        let (mut refused, mut failed) = (None, None);
        for address in (host, port).to_socket_addrs().attempt(attempted)? {
            if let Err(fault) = self.egress.check(host, address.ip()) {
                refused = Some(fault);
                continue;
            }
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).attempt(attempted) {
                Ok(stream) => return Ok(stream),
                Err(fault) => failed = Some(fault),
            }
        }
        // A host that also has an address outside is not there; it is not refused.
        if let (Some(fault), None) = (&refused, &failed) {
            *lock(&self.refused) = Some(fault.clone());
        }
        let none = || Fault::environment(format!("cannot {}: it has no address", attempted()));
        Err(failed.or(refused).unwrap_or_else(none))
    }

    /// How ports of `host` are reached.
    pub(crate) fn dial(&self, host: &str) -> Dial {
        let (outside, host) = (self.clone(), host.to_owned());
        Arc::new(move |port| outside.connect(&host, port))
    }

    /// Leads what `run` does by HTTP, until the port is dropped. `variables` are those that `git` is told anyway.
    pub(crate) async fn confine(&self, run: &mut Run<'_>, variables: &[(String, String)]) -> Result<TcpRelay> {
        let relay = TcpRelay::start(RelayProtocol::SocksToEgress(self.clone())).await?;
        let set = |name: &str| variables.iter().any(|(known, value)| known == name && !value.is_empty());
        let proxy = format!("socks5h://{LOOPBACK}:{}", relay.port);
        for (lower, upper) in PROXIES {
            if ![lower, upper].iter().chain(&EVERY_PROXY).any(|name| set(name)) {
                run.variables.push((lower, proxy.clone().into()));
            }
        }
        // Nothing is reached without a proxy.
        run.variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, "".into())));
        if run.args.iter().any(|arg| arg == "submodule") {
            run.variables.push(("GIT_ALLOW_PROTOCOL", FOR_SUBMODULES.into()));
        }
        Ok(relay)
    }
}
