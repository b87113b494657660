//! The adapter of the port [`Networks`]: container networks on a bridge.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rondel_fault::{Attempt, Fault, Result, lock};
use rondel_ports::BoxFuture;
use rondel_ports::network::{Membership, Network, Networks};
use rondel_ports::streams::Protocol;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::sync::oneshot;

use crate::namespace;
use crate::network_backend::Backend;
use crate::network_policy::NetworkPolicy;
use crate::options::Options;
use crate::pool::Pool;
use crate::resource_names::ResourceNames;
use crate::uplink;

/// Container networks of one engine. Nothing exists in the kernel before the first
/// [`Networks::connect`]. Everything is removed when this value and all its networks are dropped.
pub struct Bridge {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    names: ResourceNames,
    backend: Mutex<Option<Arc<Backend>>>,
    pool: Arc<Pool>,
}

impl Bridge {
    /// Networks with these options. Changes nothing on the machine yet.
    pub fn new(options: Options) -> Self {
        let names = ResourceNames::of(&options.state_dir);
        Self { shared: Arc::new(Shared { options, names, backend: Mutex::default(), pool: Arc::default() }) }
    }

    /// A warning that containers cannot reach the outside, with what to do about it. `None` if they
    /// can, or before the first network was made.
    pub fn warning(&self) -> Option<String> {
        match self.shared.lock().as_deref() {
            Some(Backend::LoopbackOnly(note)) => Some(note.clone()),
            _ => None,
        }
    }
}

impl Networks for Bridge {
    fn connect(&self) -> BoxFuture<'_, Result<Network>> {
        Box::pin(async move {
            if let Some(network) = self.shared.pool.take() {
                return Ok(network);
            }
            let (send, receive) = oneshot::channel();
            let shared = self.shared.clone();
            std::thread::Builder::new()
                .name("rondel-netns".into())
                .spawn(move || {
                    let network = shared.backend().and_then(|backend| backend.attach());
                    drop(shared);
                    let _ = send.send(network);
                })
                .attempt(|| "start a thread for a network namespace".to_owned())?;
            receive.await.unwrap_or_else(|_| Err(Fault::bug("the thread that makes a network namespace is gone")))
        })
    }

    fn of_machine(&self) -> Result<Network> {
        const OWN: &str = "/proc/thread-self/ns/net";
        if self.shared.options.rootless {
            return Err(Fault::environment(
                "cannot give a container the network of this machine: the engine is not root's",
            ));
        }
        let namespace = std::fs::File::open(OWN).attempt(|| format!("open `{OWN}`"))?;
        let resolv_conf = std::fs::read_to_string(&self.shared.options.resolv_conf).ok();
        Ok(Network { namespace: Arc::new(namespace.into()), address: None, resolv_conf, lease: Arc::new(()) })
    }

    fn listen(&self, network: &Network) -> Result<TcpListener> {
        namespace::inside(network.namespace.as_fd(), || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .attempt(|| "listen on loopback inside a container's network".to_owned())
    }

    fn socket(&self, namespace: BorrowedFd<'_>, protocol: Protocol) -> Result<OwnedFd> {
        let kind = match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        namespace::inside(namespace, || Ok(socket_with(AddressFamily::INET, kind, flags, None)?))
            .attempt(|| "make a socket inside a container's network".to_owned())
    }

    fn join(&self, network: &Network, group: &str) -> Result<Membership> {
        let (Some(policy), Some(address)) = (self.shared.policy(), network.address) else {
            return Ok(Box::new(()));
        };
        let member = policy.join(address, group);
        Ok(Box::new(member.attempt(|| format!("let the container at {address} reach the services of its session"))?))
    }

    fn publish(&self, network: &Network, group: &str, names: &[String]) -> Result<Membership> {
        let (Some(policy), Some(address)) = (self.shared.policy(), network.address) else {
            return Ok(Box::new(()));
        };
        let published = policy.publish(address, group, names);
        Ok(Box::new(published.attempt(|| format!("let containers reach the one at {address}"))?))
    }

    fn dial(&self, network: &Network, port: u16, patience: Duration) -> Result<TcpStream> {
        let address = network.address.unwrap_or(Ipv4Addr::LOCALHOST);
        namespace::inside(network.namespace.as_fd(), || {
            TcpStream::connect_timeout(&SocketAddr::from((address, port)), patience)
        })
        .attempt(|| format!("connect to port {port} of a container"))
    }

    fn clean_up(&self) -> Result<()> {
        let backend = self.shared.lock();
        if backend.is_some() {
            return Ok(());
        }
        if self.shared.options.rootless {
            uplink::end_recorded(&self.shared.names.record)
        } else {
            self.shared.names.remove_all()
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.pool.close();
    }
}

impl Shared {
    fn backend(&self) -> Result<Arc<Backend>> {
        let mut backend = self.lock();
        if let Some(ready) = backend.as_ref() {
            return Ok(ready.clone());
        }
        let ready = Arc::new(Backend::prepare(&self.options, &self.names, &self.pool)?);
        let backend_of_pool = ready.clone();
        self.pool
            .start(move || backend_of_pool.attach(), self.options.pool)
            .attempt(|| "start a thread that holds networks ready".to_owned())?;
        Ok(backend.insert(ready).clone())
    }

    /// The network policy, or `None` as long as there is no bridge.
    fn policy(&self) -> Option<Arc<NetworkPolicy>> {
        match self.lock().as_deref() {
            Some(Backend::Bridge(bridge)) => Some(bridge.policy().clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Backend>>> {
        lock(&self.backend)
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
