//! `rondel help`: prints help on a command.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::{Attempt as _, Result};

use crate::exit_code;
use crate::usage_error::{self, Noun};

pub(crate) fn command() -> Command {
    Command::new("help")
        .about("Print help on a command")
        .arg(Arg::new("command").value_name("COMMAND").num_args(0..).help("The command, such as `cache ls`"))
}

pub(crate) fn run(matches: &ArgMatches, command_line: fn() -> Command) -> Result<ExitCode> {
    let words: Vec<&String> = matches.get_many("command").into_iter().flatten().collect();
    let mut found = command_line();
    found.build();
    for word in &words {
        // Words behind a command without commands are its own arguments.
        if !found.has_subcommands() {
            break;
        }
        let Some(below) = found.find_subcommand(word).cloned() else { return Ok(unknown(command_line(), &words)) };
        found = below;
    }
    match found.print_help() {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::from(exit_code::CLOSED_OUTPUT)),
        printed => printed.map(|()| ExitCode::SUCCESS).attempt(|| "write the result".into()),
    }
}

/// Reports words that are no command, with the parser's own error.
fn unknown(root: Command, words: &[&String]) -> ExitCode {
    let line = std::iter::once("rondel").chain(words.iter().map(|word| word.as_str()));
    match root.try_get_matches_from(line) {
        Err(error) => usage_error::exit(&error, Noun::Command, false),
        Ok(_) => ExitCode::from(exit_code::USAGE),
    }
}
