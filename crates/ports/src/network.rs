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

/// The network of one container. Dropping the last clone removes the namespace and its interfaces.
#[derive(Clone)]
pub struct Network {
    /// The network namespace.
    pub namespace: Arc<OwnedFd>,
    /// The address of the container. `None` means loopback only.
    pub address: Option<Ipv4Addr>,
    /// The text for `/etc/resolv.conf`. `None` if the network has no way out.
    pub resolv_conf: Option<String>,
    /// Keeps the lease of the address.
    pub lease: Arc<dyn Any + Send + Sync>,
}

/// A membership of a session network. Dropping it ends the membership.
pub type Membership = Box<dyn Any + Send + Sync>;

/// Connects to a port of one host. Blocks.
pub type Dial = Arc<dyn Fn(u16) -> Result<TcpStream> + Send + Sync>;

/// A host that no DNS name leads to: a service of the session. The service stays up as long as this
/// value lives.
#[derive(Clone)]
pub struct Host {
    /// Cache key of the host. Never share cached state between hosts, even if their names are
    /// equal.
    pub key: Digest,
    /// Connects to the host.
    pub dial: Dial,
    /// An empty directory for sockets and temporary files of connections to the host.
    pub folder: PathBuf,
    /// Keeps the service up, and the directory.
    pub guard: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.key)
    }
}

/// Creates networks of containers. Containers cannot reach one another, unless one of them was
/// published to a session network that the other has joined.
pub trait Networks: Send + Sync {
    /// Creates a network with outgoing connections through NAT.
    ///
    /// # Errors
    /// When the kernel refuses, or no address is left.
    fn connect(&self) -> BoxFuture<'_, Result<Network>>;

    /// The network of the host itself. Its address is unknown.
    ///
    /// # Errors
    /// When the engine runs as an ordinary user: the kernel refuses to move a container there.
    fn of_machine(&self) -> Result<Network>;

    /// Opens a listener on `127.0.0.1` and a free port inside `network`.
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

    /// Connects to a TCP port of `network` from inside of it. Blocks.
    ///
    /// # Errors
    /// When the connection is not accepted within `patience`.
    fn dial(&self, network: &Network, port: u16, patience: Duration) -> Result<TcpStream>;

    /// Creates an IPv4 socket in a network namespace, neither bound nor connected. It stays in that
    /// namespace, whichever process uses it.
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
