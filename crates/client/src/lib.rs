//! Finds the engine, starts one if none runs, and talks to it.
//!
//! *Invariants.* The engine is found on the unix socket in the state directory, unless the
//! environment names a session that another process serves. A client never replaces a running
//! engine. No adapter and no internals of the engine are known here.

pub mod connect;
pub mod endpoint;
mod engine_end;
mod http;
pub mod link;
mod refusal;
pub mod state;
mod stopped_process;
pub mod streams;

pub use connect::{EngineCommand, connect};
pub use endpoint::{Endpoint, OpenSession};
pub use link::{Attached, ClientCallbacks, attach};
pub use state::StateDir;
