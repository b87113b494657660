//! The commands of `rondel`. Each command is one file with its arguments and its `run`.

mod cache;
mod call;
mod client;
mod config;
mod develop;
mod engine;
mod engine_status;
mod functions;
mod help;
mod init;
mod install;
mod query;
mod run;
mod session;
mod trace;
mod uninstall;
mod up;
mod update;
mod version;

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::{Fault, Result};

use crate::interrupt::{block_on, block_on_with_signals};
use crate::settings::Settings;

/// The arguments of every command, in the order of `rondel help`.
pub(crate) fn all() -> Vec<Command> {
    vec![
        call::command(),
        functions::command(),
        query::command(),
        up::command(),
        init::command(),
        install::command(),
        uninstall::command(),
        update::command(),
        develop::command(),
        client::command(),
        config::command(),
        run::command(),
        session::command(),
        trace::command(),
        cache::command(),
        engine::command(),
        version::command(),
        help::command(),
    ]
}

/// The flags that select a module, before the name of a command that takes them.
pub(crate) fn module_args() -> [Arg; 2] {
    [functions::module_flag_without_variable(), functions::explain_flag()]
}

/// Checks that flags before the name of the command are flags of that command.
fn check_module_args(matches: &ArgMatches) -> Result<(), Fault> {
    let name = matches.subcommand_name().unwrap_or_default();
    let command = all().into_iter().find(|command| command.get_name() == name);
    let takes = |id: &str| command.iter().flat_map(Command::get_arguments).any(|arg| arg.get_id() == id);
    let given = [("mod", "-m", matches.contains_id("mod")), ("explain", "--explain", matches.get_flag("explain"))];
    match given.into_iter().find(|(id, _, given)| *given && !takes(id)) {
        Some((_, flag, _)) => Err(Fault::user(format!("`{name}` takes no `{flag}`"))),
        None => Ok(()),
    }
}

/// Runs the command that the arguments name. `command_line` makes the whole command line anew.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches, command_line: fn() -> Command) -> Result<ExitCode> {
    if let Err(fault) = check_module_args(matches) {
        return Ok(crate::usage_error::report(&fault, crate::json_output::is_wanted(matches)));
    }
    match matches.subcommand() {
        Some(("call", m)) => block_on(settings.interruption(), call::run(settings, m)),
        Some(("functions", m)) => block_on(settings.interruption(), functions::run(settings, m)),
        Some(("query", m)) => block_on(settings.interruption(), query::run(settings, m)),
        Some(("up", m)) => block_on(settings.interruption(), up::run(settings, m)),
        Some(("run", m)) => block_on_with_signals(run::run(settings, m)),
        Some(("init", m)) => block_on(settings.interruption(), init::run(settings, m)),
        Some(("install", m)) => block_on(settings.interruption(), install::run(settings, m)),
        Some(("uninstall", m)) => block_on(settings.interruption(), uninstall::run(settings, m)),
        Some(("update", m)) => block_on(settings.interruption(), update::run(settings, m)),
        Some(("develop", m)) => block_on(settings.interruption(), develop::run(settings, m)),
        Some(("client", m)) => block_on(settings.interruption(), client::run(settings, m)),
        Some(("config", m)) => block_on(settings.interruption(), config::run(settings, m)),
        Some(("session", m)) => block_on(settings.interruption(), session::run(settings, m)),
        Some(("trace", m)) => trace::run(settings, m),
        Some(("cache", m)) => block_on(settings.interruption(), cache::run(settings, m)),
        Some(("engine", m)) => engine::run(settings, m),
        Some(("version", m)) => version::run(m),
        Some(("help", m)) => help::run(m, command_line),
        _ => Err(Fault::bug("a command without an implementation")),
    }
}
