//! Prints an error to standard error and maps it to an exit code.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use rondel_fault::{Detail, Fault, Kind};

use crate::output::StdoutClosed;

/// The exit code of work that was cancelled.
const CANCELLED_CODE: u8 = 2;

/// The exit code when standard output has no reader: that of a program ended by SIGPIPE.
const CLOSED_OUTPUT_CODE: u8 = 128 + 13;

/// Returns whether the error is that standard output has no reader, as after `head` has exited.
fn is_closed_output(fault: &Fault) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = Some(fault);
    while let Some(found) = error {
        if found.is::<StdoutClosed>() {
            return true;
        }
        error = found.source();
    }
    false
}

/// Prints the error to standard error and returns the exit code. For a failed process that is the
/// exit code of the process.
pub(crate) fn report(fault: &Fault) -> ExitCode {
    if is_closed_output(fault) {
        return ExitCode::from(CLOSED_OUTPUT_CODE);
    }
    let mut err = std::io::stderr().lock();
    let terminal = err.is_terminal();
    let mut text = format!("Error: {}\n", fault.full_message());
    let mut code = 1;
    match fault.detail() {
        Some(Detail::Exec(failure)) => {
            code = u8::try_from(failure.exit_code).unwrap_or(1).max(1);
            if !terminal {
                for (name, stream) in [("Stdout", &failure.stdout), ("Stderr", &failure.stderr)] {
                    if !stream.trim().is_empty() {
                        text.push_str(&format!("{name}:\n{}\n", stream.trim_end()));
                    }
                }
            }
        }
        _ if fault.kind() == Kind::Cancelled => {
            code = CANCELLED_CODE;
            text = "Canceled.\n".to_owned();
        }
        _ => {}
    }
    for hint in fault.hints() {
        text.push_str(&format!("Hint: {hint}\n"));
    }
    if fault.kind() == Kind::Bug {
        text.push_str("This is a bug in rondel; please report it.\n");
    }
    let _ = err.write_all(text.as_bytes());
    ExitCode::from(code)
}
