//! Services: processes, tunnels and ports of a client's machine that containers reach by name, as
//! data.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rondel_digest::Digest;
use serde::{Serialize, Serializer};

use crate::exec::{ExecOp, TerminalCommand};
use crate::health::Healthcheck;

/// A service that containers reach by a name. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    kind: ServiceKind,
    name: Option<GivenName>,
    /// Derived from the kind alone.
    hostname: String,
    digest: Digest,
}

/// What a service is.
#[derive(Clone, Debug, Serialize)]
pub enum ServiceKind {
    /// A process in a container.
    Container(Box<ContainerService>),
    /// Ports of a client's machine that lead to another service.
    Tunnel(TunnelService),
    /// Ports that lead to a client's machine.
    Host(HostService),
}

/// A process that runs until it is stopped. Its files are discarded.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerService {
    /// The process, without volatile variables.
    pub exec: ExecOp,
    /// What it listens on.
    pub ports: Vec<ServicePort>,
    /// The health check that decides whether it is ready.
    pub health: Option<Healthcheck>,
    /// The default command of a terminal in it.
    #[serde(skip)]
    // IDENTITY: it does not influence the service.
    pub terminal: Option<Arc<TerminalCommand>>,
}

/// Ports of a client's machine that lead to another service.
#[derive(Clone, Debug, Serialize)]
pub struct TunnelService {
    /// Where they lead.
    pub service: Service,
    /// The forwarded ports. Empty: every port of the service.
    pub ports: Vec<Forward>,
    /// Whether every port of the service is also forwarded under its own number.
    pub native: bool,
    /// The client whose machine it is.
    // IDENTITY: two clients have two machines.
    pub client: Arc<str>,
}

/// Ports that lead to a client's machine.
#[derive(Clone, Debug, Serialize)]
pub struct HostService {
    /// The host as the client's machine sees it.
    pub host: String,
    /// Which ports.
    pub ports: Vec<Forward>,
    /// The client whose machine it is.
    // IDENTITY: two clients have two machines.
    pub client: Arc<str>,
}

/// A port that leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// The port to listen on. `None`: any free port.
    pub frontend: Option<u16>,
    /// The port to connect to.
    pub backend: u16,
    /// The transport.
    pub protocol: Protocol,
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that a container exposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePort {
    /// Its number.
    pub number: u16,
    /// The transport.
    pub protocol: Protocol,
    /// Its purpose.
    #[serde(skip)]
    // IDENTITY: a description for people.
    pub description: Option<Arc<str>>,
    /// Whether starting the service does not wait for this port.
    pub skip_health_check: bool,
}

/// A name that a user gave to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GivenName {
    /// The name.
    pub name: String,
    /// The module whose code gave the name, which is known only to that module. `None`: the whole
    /// session knows it.
    // IDENTITY: two modules may use the same name for two services.
    pub module: Option<Digest>,
}

/// A service under a name that a container knows it by.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceBinding {
    /// The name.
    pub alias: String,
    /// The service.
    pub service: Service,
}

impl Service {
    /// A service named after its content, or by `name`.
    pub fn new(kind: ServiceKind, name: Option<GivenName>) -> Self {
        let own = rondel_digest::of("service/v1", &kind);
        let digest = match &name {
            None => own,
            Some(name) => rondel_digest::of("service/v1/named", &(own, name)),
        };
        Self(Arc::new(Inner { kind, name, hostname: label(&own), digest }))
    }

    /// The same service under another name.
    #[must_use]
    pub fn named(&self, name: GivenName) -> Self {
        Self::new(self.0.kind.clone(), Some(name))
    }

    /// What it is.
    pub fn kind(&self) -> &ServiceKind {
        &self.0.kind
    }

    /// The name that a user gave it.
    pub fn given_name(&self) -> Option<&GivenName> {
        self.0.name.as_ref()
    }

    /// The name under which containers reach it: the given one, or one that follows from its
    /// content.
    pub fn hostname(&self) -> &str {
        self.0.name.as_ref().map_or(&self.0.hostname, |given| &given.name)
    }

    /// What it is, name included: two services with the same digest are one.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The ports on which containers reach it.
    pub fn ports(&self) -> Vec<ServicePort> {
        let forwarded = |forwards: &[Forward]| {
            let port = |forward: &Forward| ServicePort {
                number: forward.frontend.unwrap_or(forward.backend),
                protocol: forward.protocol,
                description: None,
                skip_health_check: false,
            };
            forwards.iter().map(port).collect()
        };
        match &self.0.kind {
            ServiceKind::Container(container) => container.ports.clone(),
            ServiceKind::Tunnel(tunnel) => forwarded(&tunnel.ports),
            ServiceKind::Host(host) => forwarded(&host.ports),
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.hostname())
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Service {}

impl Hash for Service {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

/// A service is hashed as its digest, so that services that need services cost one step each.
impl Serialize for Service {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(self.0.digest.as_bytes())
    }
}

impl Protocol {
    /// The name in image configurations.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// The protocol that an image configuration or the API names.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "tcp" | "TCP" => Some(Protocol::Tcp),
            "udp" | "UDP" => Some(Protocol::Udp),
            _ => None,
        }
    }
}

/// A digest as one label of a host name: the first 8 bytes in the digits and letters `0`–`9`,
/// `a`–`v`.
pub fn label(digest: &Digest) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let bytes = digest.as_bytes();
    let number = bytes.iter().take(8).fold(0_u128, |number, byte| number << 8 | u128::from(*byte)) << 1;
    (0..13).rev().map(|place| char::from(DIGITS[(number >> (5 * place)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(port: u16) -> Service {
        let ports = vec![Forward { frontend: None, backend: port, protocol: Protocol::Tcp }];
        Service::new(ServiceKind::Host(HostService { host: "localhost".into(), ports, client: "c".into() }), None)
    }

    #[test]
    fn names_follow_from_content() {
        assert_eq!(host(80).hostname(), host(80).hostname());
        assert_ne!(host(80).hostname(), host(81).hostname());
        assert_eq!(host(80).hostname().len(), 13);
        assert!(host(80).hostname().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }

    #[test]
    fn a_given_name_makes_another_service() {
        let named = |module| host(80).named(GivenName { name: "www".into(), module });
        assert_eq!(named(None).hostname(), "www");
        assert_ne!(named(None).digest(), host(80).digest());
        assert_ne!(named(None).digest(), named(Some(Digest::of_bytes(b"m"))).digest());
        assert_eq!(named(None), named(None));
    }

    #[test]
    fn labels_use_every_bit() {
        assert_eq!(label(&Digest::from_bytes([0; 32])), "0000000000000");
        assert_eq!(label(&Digest::from_bytes([255; 32])), "vvvvvvvvvvvvu");
    }
}
