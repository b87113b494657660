//! Shows progress: reduces events to a state, and draws the state as lines.
//!
//! *Invariants.* [`RunState::apply`] is a pure reducer; [`plain`] and [`tty`] only draw what it
//! holds, so that a recorded run replays to the same lines. Nothing here reads a clock, a terminal
//! or a file.

pub mod plain;
pub mod run_state;
pub mod tty;

pub use plain::Plain;
pub use run_state::{RunState, Span};
pub use tty::Tty;
