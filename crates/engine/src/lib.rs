//! The engine: sessions, the endpoint, exec scopes, and all wiring.
//!
//! *Invariants.* This is the only crate that names adapters ([`wiring`]). What a client sees is
//! decided when it attaches ([`engine`]); what a process in a container sees is decided by its exec
//! scope alone ([`nested`]), never by anything it sends. No terminal is known here.

pub mod attach;
pub mod cache_miss_log;
pub mod client_link;
mod client_redaction;
pub mod client_registry;
pub mod config;
mod config_error;
pub mod container_machine;
pub mod endpoint;
pub mod engine;
#[cfg(test)]
mod event_path_tests;
pub mod failure_terminal;
pub mod fields;
pub mod gc;
pub mod graphql_request;
pub mod instruments;
pub mod lifecycle;
pub mod log_output;
pub mod metrics;
pub mod nested;
pub mod operator_log;
pub mod responses;
pub mod rotating_file;
pub mod streams;
pub mod warnings;
pub mod wiring;
pub mod work_tracker;

/// The version of the engine, such as `v0.1.0`.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

pub use config::Config;
pub use lifecycle::serve;
pub use log_output::{LogFormat, LogOutput};
pub use wiring::{ServeOptions, remove_state};
