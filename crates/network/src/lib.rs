//! Container networks: namespaces, bridge, NAT, name service; and the start of an engine that runs as an ordinary user.
//!
//! *Invariants.* Everything is spoken to the kernel directly; no `ip`, `nft` or `iptables` is run. Nothing exists before
//! the first container asks for a network. An interface of a container is never deleted: closing the namespace reaps it.
//! A namespace is given to another container only when it is as new: nobody else has a handle of it, no socket is or lingers
//! in it, and no process that could change its interfaces was in it (whoever runs one keeps a handle beyond the lease).
//! Each container has a link of its own. It sends with its own address and no other, and reaches the outside, the name service,
//! and containers that were published to its group. It reaches nothing else of this machine, and nothing by IPv6.
//! Names in the kernel follow from the state folder, so engines do not meet, and a run finds what a killed one left.
//! What the host firewall drops by `iptables` in its legacy form, or by an explicit rule, stays dropped.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bridge;
mod dns;
mod dns_query;
mod firewall;
mod host_addresses;
mod interfaces;
mod leases;
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
