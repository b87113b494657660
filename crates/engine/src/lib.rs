//! The engine: sessions, the endpoint, exec scopes, and all wiring.
//!
//! *Invariants.* This is the only crate that names adapters ([`wiring`]). What a client sees is decided
//! when it attaches ([`sessions`]); what a process in a container sees is decided by its exec scope alone
//! ([`nested`]), never by anything it sends. No terminal is known here.

pub mod answer;
pub mod attach;
pub mod config;
pub mod container_machine;
pub mod endpoint;
pub mod explained;
pub mod failure_terminal;
pub mod fields;
pub mod gc;
pub mod metrics;
pub mod nested;
pub mod notes;
pub mod serve;
pub mod sessions;
pub mod streams;
pub mod wiring;

pub use config::Config;
pub use serve::{ServeOptions, serve};
pub use wiring::remove_state;
