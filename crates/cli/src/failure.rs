//! How an error is told to a person, and which exit code it becomes.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use rondel_fault::{Detail, Fault, Kind};

/// The exit code of work that was cancelled.
const CANCELLED: u8 = 2;

/// Tells the error on standard error and gives the exit code: that of the failed process, when there is one.
pub(crate) fn report(fault: &Fault) -> ExitCode {
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
            code = CANCELLED;
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
