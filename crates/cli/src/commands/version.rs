//! `rondel version`: prints the version.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rondel_fault::Result;

use crate::build_info::BuildInfo;
use crate::json_output::{json_flag, print_json};

pub(crate) fn command() -> Command {
    Command::new("version")
        .about("Print the version, what it was built from, and the newest API version that it serves")
        .arg(json_flag())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let info = BuildInfo::new();
    if matches.get_flag("json") {
        return print_json(&info);
    }
    crate::output::write(&format!("rondel {info}\n"))?;
    Ok(ExitCode::SUCCESS)
}
