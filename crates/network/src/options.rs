//! The settings of container networks.

use std::path::PathBuf;

use rondel_ports::egress::Cidr;

/// How to build networks of containers.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine's state directory. The names of bridge and rules are derived from it.
    pub state_dir: PathBuf,
    /// Whether the engine runs as an ordinary user, in a user namespace of its own.
    pub rootless: bool,
    /// How many networks are made in advance.
    pub pool: usize,
    /// The resolver settings of the host.
    pub resolv_conf: PathBuf,
    /// Addresses of this machine or its link that containers may reach nevertheless.
    pub allowed: Vec<Cidr>,
}

impl Options {
    /// Two networks held ready, and the host's own resolver settings.
    pub fn new(state_dir: impl Into<PathBuf>, rootless: bool) -> Self {
        let (state_dir, resolv_conf) = (state_dir.into(), PathBuf::from("/etc/resolv.conf"));
        Self { state_dir, rootless, pool: 2, resolv_conf, allowed: Vec::new() }
    }
}
