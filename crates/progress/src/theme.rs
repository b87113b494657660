//! What colours and marks mean. Colours are those of the terminal's palette.

use anstyle::{AnsiColor, Style};

/// Work that was done.
pub const DONE: Style = AnsiColor::Green.on_default();
/// Work that failed.
pub const FAILED: Style = AnsiColor::Red.on_default().bold();
/// Work that runs.
pub const RUNNING: Style = AnsiColor::Cyan.on_default();
/// Work that waits, or was interrupted.
pub const WAITING: Style = AnsiColor::Yellow.on_default();
/// Titles of what failed, and of what runs.
pub const TITLE: Style = Style::new().bold();
/// Everything that matters less: times, counts, what was cached.
pub const DIM: Style = Style::new().dimmed();
/// Text.
pub const TEXT: Style = Style::new();

/// Work that was done.
pub const DONE_MARK: &str = "✔";
/// Work that failed.
pub const FAILED_MARK: &str = "✘";
/// Work that runs.
pub const RUNNING_MARK: &str = "●";
/// Work that waits.
pub const WAITING_MARK: &str = "◌";
/// Work that was cancelled or interrupted.
pub const CANCELLED_MARK: &str = "⊘";
