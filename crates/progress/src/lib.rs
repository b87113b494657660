//! Shows progress: reduces events to a state, and draws the state as lines.
//!
//! *Invariants.* [`RunState::apply`] is a pure reducer; [`live`], [`final_frame`] and [`printer`]
//! only draw what it holds, so that a recorded run replays to the same frames. Nothing here reads a
//! clock, a terminal or a file: times, sizes and texts are arguments.

pub mod ending;
pub mod final_frame;
pub mod line;
pub mod live;
pub mod log_groups;
pub mod plain;
pub mod printer;
pub mod program_output;
pub mod recording;
pub mod replay;
pub mod run_state;
pub mod screen;
pub mod svg;
pub mod theme;
pub mod transfer;
pub mod tree;
pub mod units;

pub use ending::Ending;
pub use line::Line;
pub use log_groups::LogGroups;
pub use printer::Printer;
pub use run_state::{RunState, Span, Totals, Verbosity};
pub use screen::Screen;
