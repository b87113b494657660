//! `rondel`: arguments become settings, settings become one command.
//!
//! *Invariants.* Results go to standard output, everything else to standard error. Only this crate reads
//! arguments, ends the process or writes to a terminal. One command, one file, under [`commands`].

mod chain;
mod commands;
mod failure;
mod flags;
mod output;
mod proxy;
mod schema;
mod screen;
mod settings;

use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = match settings::command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let settings = settings::Settings::new(&matches);
    match commands::run(&settings, &matches) {
        Ok(code) => code,
        Err(fault) => failure::report(&fault),
    }
}
