//! One command, one file.

mod cache;
mod call;
mod engine;
mod functions;
mod query;
mod run;
mod session;
mod up;
mod version;

use std::future::Future;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use rondel_fault::{Attempt as _, Fault, Result};

use crate::settings::Settings;

/// Every command.
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

/// Runs the command that was given.
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

/// Runs `work` on this thread; interrupting it is a cancellation.
pub(crate) fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.attempt(|| "start".into())?.block_on(async {
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
            .attempt(|| "listen for signals".into())?;
        // ORDER: the work sees an interruption first; where that is its usual end, it is no cancellation.
        tokio::select! {
            biased;
            result = work => result,
            _ = interrupt.recv() => Err(Fault::cancelled("interrupted")),
        }
    })
}

/// Waits for work whose usual end is that somebody interrupts it: nothing then.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .attempt(|| "listen for signals".into())?;
    tokio::select! {
        result = work => result.map(Some),
        _ = interrupt.recv() => Ok(None),
    }
}
