//! The services of the engine that every handler uses, and the seals of its MAC key.

use std::sync::Arc;

use rondel_digest::Digest;
use rondel_ops::Ops;
use rondel_ports::cache::Cache;
use rondel_ports::index::Index;
use rondel_schema::Registry;

/// The services of the engine that every handler uses.
pub struct Services {
    /// Evaluates ops.
    pub ops: Arc<Ops>,
    /// The result index, which keeps results across sessions and restarts.
    pub index: Arc<dyn Index>,
    /// The engine itself: its name, its clients, its local cache.
    pub engine_info: Arc<dyn EngineInfo>,
    /// The core API in every view.
    pub registry: Arc<Registry>,
    /// The key of MACs: random, made once per state directory.
    pub mac_key: [u8; 32],
    /// Whether types of modules come from their source where it decides them.
    pub types_from_source: bool,
    /// Variables of the engine's own environment that builds of modules get.
    pub build_variables: Vec<(String, String)>,
}

/// The engine as handlers see it.
pub trait EngineInfo: Cache {
    /// Its name.
    fn name(&self) -> String;

    /// The attached clients.
    fn clients(&self) -> Vec<String>;
}

impl Services {
    /// The MAC of `plaintext` under this engine's key. Cache keys hold it in place of the
    /// plaintext.
    pub fn mac(&self, plaintext: &[u8]) -> Digest {
        Digest::from_bytes(*blake3::keyed_hash(&self.mac_key, plaintext).as_bytes())
    }

    /// The seal of a repository address that a client of the user's named.
    pub fn egress_seal(&self, url: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of repositories", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, url.as_bytes()).as_bytes())
    }

    /// The seal of a directory of a client's machine in which this engine itself found a module.
    pub fn host_seal(&self, directory: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of host directories", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, directory.as_bytes()).as_bytes())
    }

    /// The seal of the call `text`, which holds an entitlement. Its key is derived for this use
    /// alone, because clients can choose the text of [`Services::mac`] and see the MAC.
    pub fn entitlement_seal(&self, text: &str) -> Digest {
        let key = blake3::derive_key("rondel 2026-11 seals of entitlements", &self.mac_key);
        Digest::from_bytes(*blake3::keyed_hash(&key, text.as_bytes()).as_bytes())
    }
}
