//! The `rondel` command line: arguments become settings, and settings become one command.
//!
//! *Invariants.* Results go to standard output, everything else to standard error. Only this crate
//! reads arguments, ends the process or writes to a terminal. Each command is one file under
//! [`commands`].

mod background_writer;
mod build_info;
mod chain;
mod changeset;
mod commands;
mod error_report;
mod exit_code;
mod flags;
mod interrupt;
mod introspection;
mod json_output;
mod license;
mod missing_dependencies;
mod module_edit;
mod near_modules;
mod output;
mod path_text;
mod program_terminal;
mod progress_mode;
mod progress_output;
mod proxy;
mod recorder;
mod response;
mod settings;
mod stale_files;
mod style;
mod terminal;
mod tree_update;
mod usage_error;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::usage_error::Noun;

/// Stack of the thread that runs a command. The response to a chain of calls is nested as deep as
/// the chain is long. This much address space is reserved; memory is used only as needed.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    rondel_network::name_service::use_no_plugins();
    let matches = match command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            return usage_error::exit(&error, Noun::Command, json_output::is_wanted_by(std::env::args_os()));
        }
    };
    // `engine` stays on this thread: a process with a second thread cannot enter a user namespace.
    if matches.subcommand_name() == Some("engine") {
        return run(&matches);
    }
    let deep = std::thread::Builder::new().stack_size(STACK).spawn(move || run(&matches));
    deep.ok().and_then(|thread| thread.join().ok()).unwrap_or(ExitCode::FAILURE)
}

/// The whole command line. Generated documentation and completions come from it.
fn command_line() -> Command {
    Command::new("rondel")
        .about("Runs typed functions in containers and serves them as one GraphQL API")
        .version(build_info::VERSION)
        .long_version(build_info::BuildInfo::new().to_string())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args(settings::global_args())
        .args(commands::module_args())
        .after_help(exit_code::HELP)
        .subcommands(commands::all())
}

fn run(matches: &ArgMatches) -> ExitCode {
    let settings = settings::Settings::new(matches);
    match commands::run(&settings, matches, command_line) {
        Ok(code) => code,
        Err(fault) if json_output::is_wanted(matches) => {
            error_report::report_json(&fault, error_report::code_of(&fault))
        }
        Err(fault) => {
            let verbose = settings.verbosity() != rondel_progress::Verbosity::Normal;
            error_report::report_in(&fault, &places(matches), verbose, settings.is_recorded())
        }
    }
}

/// Where files that an error names are looked for: in the working directory and the named module.
fn places(matches: &ArgMatches) -> error_report::Places {
    let command = matches.subcommand().map(|(_, matches)| matches);
    let named = |matches: &ArgMatches| matches.try_get_one::<String>("mod").ok().flatten().cloned();
    let module = command.and_then(named).or_else(|| named(matches));
    error_report::Places::new(std::env::current_dir().unwrap_or_default(), module.as_deref())
}
