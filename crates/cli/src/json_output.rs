//! Output for programs: the flag of commands that list something, and the result.

use std::process::ExitCode;

use clap::{Arg, ArgAction};
use rondel_fault::{Fault, Result};
use serde::Serialize;

use crate::output;

/// The flag for output as JSON.
pub(crate) fn json_flag() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON; an error is JSON on standard error, too")
}

/// Prints a result as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<ExitCode> {
    let value = serde_json::to_value(value).map_err(|e| Fault::bug("cannot encode the result").caused_by(e))?;
    output::write(&output::json(&value))?;
    Ok(ExitCode::SUCCESS)
}
