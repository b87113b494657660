//! Prints an error to standard error and maps it to an exit code.
//!
//! A report is the end of the output, on a terminal as in a pipe. It says what failed, then what
//! led to that, and ends with the root cause and with hints. One sentence is one line.

mod excerpt;
mod locate;
mod render;

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use rondel_fault::{Detail, Fault, Kind};
use serde_json::{Value, json};

use crate::exit_code;
use crate::output::StdoutClosed;
use crate::style::Style;
pub(crate) use locate::{Places, relative};
pub(crate) use render::{Options, render};

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

/// Prints an error that names no files to standard error and returns the exit code.
pub(crate) fn report(fault: &Fault) -> ExitCode {
    report_in(fault, &Places::default(), false, false)
}

/// Prints the error to standard error and returns the exit code. Files of the user are looked for
/// in `places`. With `verbose`, the calls of libraries and SDKs are shown too. A run that
/// `is_recorded` can be asked for all of its output.
pub(crate) fn report_in(fault: &Fault, places: &Places, verbose: bool, is_recorded: bool) -> ExitCode {
    let code = ExitCode::from(code_of(fault));
    if is_closed_output(fault) {
        return code;
    }
    let err = std::io::stderr();
    let size = rustix::termios::tcgetwinsize(&err).ok().filter(|size| err.is_terminal() && size.ws_col > 0);
    let width = size.map(|size| usize::from(size.ws_col));
    let text = render(&places.localized(fault), &Options { width, style: Style::stderr(), verbose, is_recorded });
    let _ = err.lock().write_all(text.as_bytes());
    code
}

/// Prints the error to standard error as one line of JSON, for `--json`. Returns the exit code
/// `code`.
pub(crate) fn report_json(fault: &Fault, code: u8) -> ExitCode {
    if !is_closed_output(fault) {
        let _ = writeln!(std::io::stderr().lock(), "{}", json(fault, code));
    }
    ExitCode::from(code)
}

/// The exit code of an error. For a failed process that is the exit code of the process.
pub(crate) fn code_of(fault: &Fault) -> u8 {
    match fault.detail() {
        _ if is_closed_output(fault) => exit_code::CLOSED_OUTPUT,
        Some(Detail::Exec(failure)) => u8::try_from(failure.exit_code).unwrap_or(1).max(1),
        _ => 1,
    }
}

/// The error as a JSON object, for `--json`.
fn json(fault: &Fault, code: u8) -> Value {
    let causes = fault.causes();
    let location = causes.iter().rev().find_map(|cause| cause.frames.iter().rev().find(|frame| frame.is_own()));
    let output = causes.iter().rev().find_map(|cause| cause.exec.as_ref()).map(|exec| &exec.output);
    json!({
        "message": fault.full_message(),
        "code": fault.code().as_str(),
        "kind": match fault.kind() {
            Kind::User => "user",
            Kind::Environment => "environment",
            Kind::Denied => "denied",
            Kind::Cancelled => "cancelled",
            Kind::Bug => "bug",
        },
        "exitCode": code,
        "location": location,
        "output": output,
        "hints": fault.hints(),
        "causes": causes,
        "siblings": fault.siblings().iter().map(|sibling| json(sibling, code_of(sibling))).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use rondel_fault::{Cause, ExecFailure, Frame};

    use super::*;

    fn exec() -> Fault {
        let failure =
            ExecFailure { cmd: vec!["make".into()], exit_code: 42, stdout: String::new(), stderr: "no rule".into() };
        let cause = Cause::of_streams("exit code: 42", &failure);
        Fault::exec("exit code: 42", failure).with_causes(vec![cause])
    }

    #[test]
    fn exit_codes() {
        let closed = Fault::environment("write the result").caused_by(StdoutClosed);
        for (fault, want) in [
            (Fault::user("x"), 1),
            (Fault::bug("x"), 1),
            // The code of an interrupt is for a signal of the user alone.
            (Fault::cancelled("x"), 1),
            (exec().context("call it"), 42),
            (closed, 141),
        ] {
            assert_eq!(code_of(&fault), want, "{fault}");
        }
        let odd = ExecFailure { cmd: vec![], exit_code: 300, stdout: String::new(), stderr: String::new() };
        assert_eq!(code_of(&Fault::exec("x", odd)), 1);
    }

    #[test]
    fn json_of_an_error() {
        let frame = Frame { file: "a.py".into(), line: 3, ..Frame::default() };
        let library = Frame { file: "/lib/b.py".into(), line: 4, ..Frame::default() };
        let raised = Cause { call: "ci go".into(), frames: vec![frame, library], ..Cause::default() };
        let causes = std::iter::once(raised).chain(exec().causes().to_vec()).collect();
        let got = json(&exec().with_causes(causes).with_hint("look"), 42);
        assert_eq!(got["location"], json!({"file": "a.py", "line": 3}));
        assert_eq!(got["output"], json!({"text": "no rule"}));
        assert_eq!((&got["exitCode"], &got["code"], &got["kind"]), (&json!(42), &json!("EXEC_FAILED"), &json!("user")));
        assert_eq!((&got["hints"], &got["message"]), (&json!(["look"]), &json!("exit code: 42")));
        assert_eq!(got["causes"].as_array().map(Vec::len), Some(2));
        let several = json(&Fault::user("a").with_siblings(vec![exec()]), 1);
        assert_eq!((&several["siblings"][0]["exitCode"], &got["siblings"]), (&json!(42), &json!([])));
        let plain = json(&Fault::not_found("no such module"), 1);
        assert_eq!(
            (&plain["location"], &plain["output"], &plain["code"]),
            (&Value::Null, &Value::Null, &json!("NOT_FOUND"))
        );
    }
}
