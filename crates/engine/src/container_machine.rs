//! The machine of a client that is a process in a container: sockets of its files, ports of its
//! network.
//!
//! *Invariants.* A path never leads out of the container's root, and a port never out of its
//! network namespace. Nothing here keeps the root or the namespace alive.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Weak};

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_hostlink::HostLink;
use rondel_ports::BoxFuture;
use rondel_ports::network::Networks;
use rondel_ports::streams::{Address, Listening, Machine, Protocol, Stream};
use rondel_streams::{inet, unix};

use crate::warnings::NetworksWithWarnings;

/// The machine that a process in a container sees.
pub struct ContainerMachine {
    host: Arc<HostLink>,
    networks: Arc<NetworksWithWarnings>,
    namespace: Weak<OwnedFd>,
}

impl ContainerMachine {
    /// The machine of a process in `namespace`.
    pub fn new(host: Arc<HostLink>, networks: Arc<NetworksWithWarnings>, namespace: Weak<OwnedFd>) -> Self {
        Self { host, networks, namespace }
    }

    fn socket(&self, protocol: Protocol) -> Result<OwnedFd> {
        let namespace = self.namespace.upgrade().ok_or_else(|| Fault::cancelled("the container has ended"))?;
        self.networks.socket(namespace.as_fd(), protocol)
    }

    async fn unix(&self, path: &Path) -> Result<Stream> {
        let found = self.host.socket(path)?;
        let link = format!("/proc/self/fd/{}", found.as_raw_fd());
        let shown = rondel_ports::host::shown(path);
        let stream = unix::connect(link).await;
        Ok(Box::new(stream.map_err(|e| refused(&shown.display().to_string(), e))?))
    }

    async fn port(&self, host: &str, port: u16, protocol: Protocol) -> Result<Stream> {
        let address = address(host, port).await?;
        let stream = inet::connect(self.socket(protocol)?, address, protocol).await;
        stream.map_err(|e| refused(&format!("{protocol}://{host}:{port}"), e))
    }

    fn open(&self, port: u16, protocol: Protocol) -> Result<Listening> {
        let what = || format!("listen on port {port}/{protocol} of the container");
        let inet::PortListener { port, connections, guard } =
            inet::listen(self.socket(protocol)?, port, protocol).attempt(what)?;
        Ok(Listening { port, connections, guard: Box::new(guard) })
    }
}

fn refused(what: &str, e: std::io::Error) -> Fault {
    Fault::user(format!("cannot connect to `{what}` of the container")).caused_by(e)
}

/// The first IPv4 address of a host.
async fn address(host: &str, port: u16) -> Result<SocketAddr> {
    if host == "localhost" {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let found = tokio::net::lookup_host((host, port)).await.attempt(|| format!("find the address of `{host}`"))?;
    let found = { found }.find(SocketAddr::is_ipv4);
    found.ok_or_else(|| Fault::user(format!("`{host}` has no IPv4 address")))
}

impl Machine for ContainerMachine {
    fn find_socket<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.host.socket(path).map(drop) })
    }

    fn dial(&self, to: Address) -> BoxFuture<'_, Result<Stream>> {
        Box::pin(async move {
            match to {
                Address::Unix(path) => self.unix(&path).await,
                Address::Port { host, port, protocol } => self.port(&host, port, protocol).await,
            }
        })
    }

    fn listen(&self, port: u16, protocol: Protocol) -> BoxFuture<'_, Result<Listening>> {
        Box::pin(async move { self.open(port, protocol) })
    }

    fn terminal(&self) -> BoxFuture<'_, Result<Stream>> {
        let fault = Fault::user("cannot open a terminal: a process in a container has no TTY to show it on");
        Box::pin(std::future::ready(Err(fault)))
    }
}
