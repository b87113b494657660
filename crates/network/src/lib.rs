//! Container networks: namespaces, bridge, NAT and name service. Also starts the engine of an
//! ordinary user in its user namespace.
//!
//! *Invariants.*
//!
//! * The kernel is configured over netlink. No `ip`, `nft` or `iptables` is run.
//! * Nothing exists before the first container needs a network.
//! * An interface of a container is never deleted. The kernel removes it when its namespace is
//!   closed.
//! * A namespace is reused for another container only when it is as good as new: there is no other
//!   handle of it, no socket is or lingers in it, and no process that could change its interfaces
//!   was in it. The caller that runs such a process keeps a handle beyond the lease.
//! * Each container has a veth pair of its own. It can send only with its own address. It reaches
//!   the outside, the name service, and containers that were published to its group, which is the
//!   network of its session. It reaches nothing else of this machine, and nothing by IPv6.
//! * The names of kernel resources are derived from the state directory. So the resources of two
//!   engines never collide, and an engine finds what a killed one left behind.
//! * Packets that the host firewall drops by legacy `iptables` or by an explicit rule stay dropped.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bridge;
mod dns;
mod dns_query;
mod firewall;
mod host_addresses;
mod interfaces;
mod leases;
pub mod name_service;
mod namespace;
mod netlink;
mod network_backend;
mod network_policy;
mod nftables;
mod options;
mod pool;
#[cfg(test)]
mod raw_frames_tests;
mod resolv_conf;
mod resource_names;
pub mod rootless;
#[cfg(test)]
mod test_machine;
mod uplink;

pub use bridge::Bridge;
pub use host_addresses::is_host_or_container_address;
pub use options::Options;
