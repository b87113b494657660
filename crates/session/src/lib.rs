//! Sessions, clients and exec scopes as handlers see them, and the services every handler may use.
//!
//! *Invariants.* A [`Client`] is reached from a handler through [`client`] only; there is no global. The
//! exec scope ([`ExecScope`]) is made by the engine and read by handlers; no API, header or variable
//! writes it. Plaintext of secrets lives in [`secrets::SecretStore`] and nowhere else in this crate.

pub mod client;
pub mod entitlements;
pub mod remotes;
pub mod scope;
pub mod secrets;
pub mod services;
pub mod sockets;

use std::sync::Arc;

use rondel_digest::Digest;
use rondel_ops::Ops;
use rondel_ports::cache::Cache;
use rondel_ports::index::Index;
use rondel_schema::Registry;

pub use client::{
    Args, Caller, Client, ClientLink, Evaluator, Handler, Prepare, Resolver, ResolverContext, Session, client,
    client_on_machine,
};
pub use entitlements::{Grants, check_entitled};
pub use remotes::{KnownRemote, Remotes};
pub use scope::{ActingModule, CallOutcome, ExecScope, FunctionCall};
pub use secrets::{Provided, SecretStore};
pub use services::{ClientServices, SessionServices};
pub use sockets::SocketStore;

/// What every handler may use.
pub struct Services {
    /// Evaluates deferred work.
    pub ops: Arc<Ops>,
    /// Remembers results across sessions and restarts.
    pub index: Arc<dyn Index>,
    /// The engine itself: who it is, who is attached, what it keeps.
    pub engine_info: Arc<dyn EngineInfo>,
    /// The core API, every view of it.
    pub registry: Arc<Registry>,
    /// The key of MACs over plaintext: random, made once per state folder.
    pub mac_key: [u8; 32],
}

/// The engine as handlers see it.
pub trait EngineInfo: Cache {
    /// Its name.
    fn name(&self) -> String;

    /// The clients that are attached.
    fn clients(&self) -> Vec<String>;
}

impl Services {
    /// What stands for `plaintext` in keys: a MAC of it under this engine's key.
    pub fn mac(&self, plaintext: &[u8]) -> Digest {
        Digest::from_bytes(*blake3::keyed_hash(&self.mac_key, plaintext).as_bytes())
    }

    /// What says in a call that the user named the repository at `url`.
    pub fn reach_seal(&self, url: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of repositories", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, url.as_bytes()).as_bytes())
    }

    /// What says in a call that this engine itself found a module at `directory` of a client's machine.
    pub fn host_seal(&self, directory: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of host directories", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, directory.as_bytes()).as_bytes())
    }

    /// A MAC of `text` under a key of its own: of what [`Services::mac`] is given, clients may
    /// choose the text and see the MAC.
    pub fn entitlement_seal(&self, text: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of entitlements", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, text.as_bytes()).as_bytes())
    }
}
