//! The services of a session: one instance of each, which runs as long as it has users.
//!
//! *Invariants.* An instance is found by the digest of its service; two of them never run at once.
//! Its users are the processes that it is bound to, and the session if a client started the service
//! explicitly. Without users it is stopped after a pause, so that the next user may find it
//! running; at once when the session has ended. Each instance is one task, which ends with it.

mod bindings;
mod container;
mod health;
mod instance;
mod launch;
mod registry;
mod tunnel;

pub use bindings::ClientServices;
pub use instance::ServiceUse;
pub use launch::RunningService;
pub use registry::SessionServices;
pub use tunnel::forwards;
