//! Networks of containers.

use std::any::Any;
use std::fmt;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rondel_digest::Digest;
use rondel_fault::Result;

use crate::BoxFuture;
use crate::streams::Protocol;

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

/// Ends something when it is dropped.
pub type Membership = Box<dyn Any + Send + Sync>;

/// Connects to a port of the one host that is meant. Blocks.
pub type Dial = Arc<dyn Fn(u16) -> Result<TcpStream> + Send + Sync>;

/// A host that no name leads to: a service, which stays up for as long as this lives.
#[derive(Clone)]
pub struct Host {
    /// What stands for it. What is known of one host is not true of another, whatever name they are
    /// given.
    pub key: Digest,
    /// How it is reached.
    pub dial: Dial,
    /// An empty folder for whoever needs one on the way.
    pub folder: PathBuf,
    /// Keeps it up, and the folder.
    pub guard: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.key)
    }
}

/// Makes networks of containers. A container reaches another one only if that was published to its
/// group.
pub trait Networks: Send + Sync {
    /// A network with a way out, through NAT.
    ///
    /// # Errors
    /// When the kernel refuses, or no address is left.
    fn connect(&self) -> BoxFuture<'_, Result<Network>>;

    /// The network of the engine's machine itself. Nothing is known of its address.
    ///
    /// # Errors
    /// When the engine is an ordinary user's, whom the kernel lets move no container there.
    fn of_machine(&self) -> Result<Network>;

    /// A listener on `127.0.0.1` and a free port inside `network`.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn listen(&self, network: &Network) -> Result<TcpListener>;

    /// Adds `network` to a group, until the membership is dropped: it may reach what is published
    /// there, also by name. A group is the network of one session.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn join(&self, network: &Network, group: &str) -> Result<Membership>;

    /// Lets all members of a group reach `network`, also by the fully qualified domain names
    /// `names`, until the membership is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn publish(&self, network: &Network, group: &str, names: &[String]) -> Result<Membership>;

    /// A connection to a TCP port of `network`, made from inside of it. Blocks.
    ///
    /// # Errors
    /// When nobody accepts it within `patience`.
    fn dial(&self, network: &Network, port: u16, patience: Duration) -> Result<TcpStream>;

    /// A new IPv4 socket in a network namespace, not bound and not connected; it stays there,
    /// whoever uses it.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn socket(&self, namespace: BorrowedFd<'_>, protocol: Protocol) -> Result<OwnedFd>;

    /// Removes what an earlier run of the engine left behind when it was killed: bridge, rules,
    /// helpers.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    fn clean_up(&self) -> Result<()>;
}
