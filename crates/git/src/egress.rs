//! Connections of a `git` that runs for a process in a container: only to hosts outside of this
//! machine and its link.
//!
//! *Invariants.* A name is looked up once, by the engine, and the connection is made to the
//! addresses that were checked; `git`, `curl` and `ssh` look up nothing. So a name that resolves
//! differently a moment later gains nothing.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_ports::egress::Egress;
use rondel_ports::network::Dial;

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to hosts that the egress rules allow, and records why a connection was refused.
#[derive(Clone)]
pub(crate) struct EgressConnector {
    egress: Egress,
    refused: Arc<std::sync::Mutex<Option<Fault>>>,
}

impl EgressConnector {
    pub(crate) fn new(egress: Egress) -> Self {
        Self { egress, refused: Arc::default() }
    }

    /// The reason why the egress rules refused a connection, or `None` if they refused none.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        lock(&self.refused).clone()
    }

    /// Connects to a port of `host`, which is a name or an address. Blocks.
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
        // A host that also has an allowed address is unreachable, not refused.
        if let (Some(fault), None) = (&refused, &failed) {
            *lock(&self.refused) = Some(fault.clone());
        }
        let none = || Fault::environment(format!("cannot {}: it has no address", attempted()));
        Err(failed.or(refused).unwrap_or_else(none))
    }

    /// A function that connects to ports of `host`.
    pub(crate) fn dial(&self, host: &str) -> Dial {
        let (outside, host) = (self.clone(), host.to_owned());
        Arc::new(move |port| outside.connect(&host, port))
    }
}
