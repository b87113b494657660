//! The failure of a process, as clients turn it into an error of their own type.

/// A process that ended with a status that was not expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFailure {
    /// The full command line.
    pub cmd: Vec<String>,
    /// The exit code; 128 + signal for a process that a signal ended.
    pub exit_code: i32,
    /// The tail of standard output, redacted.
    pub stdout: String,
    /// The tail of standard error, redacted.
    pub stderr: String,
}
