//! The `rondel` command line: arguments become settings, and settings become one command.
//!
//! *Invariants.* Results go to standard output, everything else to standard error. Only this crate
//! reads arguments, ends the process or writes to a terminal. Each command is one file under
//! [`commands`].

mod background_writer;
mod chain;
mod changeset;
mod commands;
mod error_report;
mod flags;
mod interrupt;
mod introspection;
mod output;
mod progress_output;
mod proxy;
mod settings;
mod terminal;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Stack of the thread that runs a command. The response to a chain of calls is nested as deep as
/// the chain is long. This much address space is reserved; memory is used only as needed.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    let matches = match command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
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
        .version(concat!("v", env!("CARGO_PKG_VERSION")))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(settings::global_args())
        .subcommands(commands::all())
}

fn run(matches: &ArgMatches) -> ExitCode {
    let settings = settings::Settings::new(matches);
    match commands::run(&settings, matches) {
        Ok(code) => code,
        Err(fault) => error_report::report(&fault),
    }
}
