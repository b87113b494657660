//! Output for programs: the flag of commands that list something, and the result.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use rondel_fault::{Fault, Result};
use serde::Serialize;

use crate::output;

/// The flag for output as JSON.
pub(crate) fn json_flag() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON; an error is JSON on standard error, too")
}

/// Returns whether a command lists something as JSON. `matches` are those of the whole command
/// line. The `--json` of `call` is about the result of functions alone.
pub(crate) fn is_wanted(matches: &ArgMatches) -> bool {
    let mut found = matches;
    while let Some((name, below)) = found.subcommand() {
        if name == "call" {
            return false;
        }
        found = below;
    }
    matches!(found.try_get_one::<bool>("json"), Ok(Some(true)))
}

/// Like [`is_wanted`], for a command line that is wrong.
pub(crate) fn is_wanted_by(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.collect();
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    has("--json") && !has("call") && !has("run")
}

/// Prints a result as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<ExitCode> {
    let value = serde_json::to_value(value).map_err(|e| Fault::bug("cannot encode the result").caused_by(e))?;
    output::write(&output::json(&value))?;
    Ok(ExitCode::SUCCESS)
}
