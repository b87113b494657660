//! How this machine speaks HTTP: trust, proxies and time limits, files by address, and the bounds
//! under which it is served.
//!
//! *Invariants.* Nothing is read from the environment here: [`ProxyEnvironment`] carry it. No message holds the user name,
//! password or query of an address, since any of them may be a secret. What is written stays within the file that the caller
//! names.

mod bodies;
mod connection;
mod door;
mod fetch;
mod outside;
mod proxy_env;
mod server;

pub use bodies::{Admission, Admitted, BODY_LIMIT, RequestLimits};
pub use connection::{Limits, body, client, is_loopback, network, origin, shown};
pub use door::Door;
pub use fetch::Web;
pub use outside::{check, outside_client};
pub use proxy_env::ProxyEnvironment;
pub use server::{ServerLimits, serve};
