//! Finds the engine, starts it when there is none, and talks to it.
//!
//! *Invariants.* The engine is found on the unix socket in the state folder and nowhere else. A client
//! never replaces a running engine. No adapter and no internals of the engine are known here.

pub mod connect;
pub mod http;
pub mod link;
pub mod state;
pub mod streams;

pub use connect::{Launch, connect};
pub use link::{Attached, Ears, attach};
pub use state::StateDir;
