//! Events to state, state to lines.
//!
//! *Invariants.* [`State::apply`] is a pure reducer; [`plain`] and [`tty`] only draw what it holds, so
//! that a recorded run replays to the same lines. Nothing here reads a clock, a terminal or a file.

pub mod plain;
pub mod state;
pub mod tty;

pub use plain::Plain;
pub use state::{Span, State};
pub use tty::Tty;
