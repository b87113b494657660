//! `rondel`: arguments become settings, settings become one command.
//!
//! *Invariants.* Results go to standard output, everything else to standard error. Only this crate reads
//! arguments, ends the process or writes to a terminal. One command, one file, under [`commands`].

mod chain;
mod changes;
mod commands;
mod failure;
mod flags;
mod output;
mod proxy;
mod schema;
mod screen;
mod settings;
mod terminal;
mod writer;

use std::process::ExitCode;

/// The answer to a chain of calls is nested as deep as the chain is long; this much is reserved, not used.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    let matches = match settings::command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // An engine enters its user namespace before there is a second thread.
    if matches.subcommand_name() == Some("engine") {
        return run(&matches);
    }
    let deep = std::thread::Builder::new().stack_size(STACK).spawn(move || run(&matches));
    deep.ok().and_then(|thread| thread.join().ok()).unwrap_or(ExitCode::FAILURE)
}

fn run(matches: &clap::ArgMatches) -> ExitCode {
    let settings = settings::Settings::new(matches);
    match commands::run(&settings, matches) {
        Ok(code) => code,
        Err(fault) => failure::report(&fault),
    }
}
