//! Networks of containers.

use std::any::Any;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rondel_fault::Result;

use crate::BoxFuture;

/// The network of one container. When the last reference goes, so do namespace and interfaces.
#[derive(Clone)]
pub struct Network {
    /// The network namespace.
    pub namespace: Arc<OwnedFd>,
    /// The container's address; none: loopback only.
    pub address: Option<Ipv4Addr>,
    /// The text for `/etc/resolv.conf`; none when there is no way out.
    pub resolv_conf: Option<String>,
    /// Keeps the lease of the address.
    pub lease: Arc<dyn Any + Send + Sync>,
}

/// Makes networks.
pub trait Networks: Send + Sync {
    /// A network with a way out, through NAT.
    ///
    /// # Errors
    /// When the kernel refuses, or no address is left.
    fn connect(&self) -> BoxFuture<'_, Result<Network>>;

    /// A listener on `127.0.0.1` and a free port inside `network`.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn listen(&self, network: &Network) -> Result<TcpListener>;

    /// Removes what an earlier run of the engine left behind when it was killed: bridge, rules, helpers.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    fn clean_up(&self) -> Result<()>;
}
