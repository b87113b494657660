//! The commands of `rondel`. Each command is one file with its arguments and its `run`.

mod cache;
mod call;
mod engine;
mod functions;
mod query;
mod run;
mod session;
mod up;
mod version;

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rondel_fault::{Fault, Result};

use crate::interrupt::block_on;
use crate::settings::Settings;

/// The arguments of every command, in the order of `rondel help`.
pub(crate) fn all() -> Vec<Command> {
    vec![
        call::command(),
        functions::command(),
        query::command(),
        up::command(),
        run::command(),
        session::command(),
        cache::command(),
        engine::command(),
        version::command(),
    ]
}

/// Runs the command that the arguments name.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("call", m)) => block_on(call::run(settings, m)),
        Some(("functions", m)) => block_on(functions::run(settings, m)),
        Some(("query", m)) => block_on(query::run(settings, m)),
        Some(("up", m)) => block_on(up::run(settings, m)),
        Some(("run", m)) => block_on(run::run(settings, m)),
        Some(("session", m)) => block_on(session::run(settings, m)),
        Some(("cache", m)) => block_on(cache::run(settings, m)),
        Some(("engine", m)) => engine::run(settings, m),
        Some(("version", _)) => version::run(),
        _ => Err(Fault::bug("a command without an implementation")),
    }
}
