//! HTTP of this machine: clients with trust, proxies and time limits; download of files; and a
//! server with bounds.
//!
//! *Invariants.* Nothing is read from the environment here: a [`ProxyEnvironment`] carries it. No
//! message holds the user name, password or query of an address, since any of them may be a secret.
//! Only the file that the caller names is written.

mod bodies;
mod connection;
mod egress_client;
mod fetch;
mod proxy_env;
mod server;
mod unix_relay;

pub use bodies::{Admission, Admitted, BODY_LIMIT, RequestLimits};
pub use connection::{Limits, body, client, is_loopback, network, origin, shown};
pub use egress_client::{check, egress_checked_client};
pub use fetch::Web;
pub use proxy_env::ProxyEnvironment;
pub use server::{ServerLimits, serve};
pub use unix_relay::UnixRelay;
