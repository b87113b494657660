//! `rondel run`: runs a program with a session in its environment.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use rondel_client::ClientCallbacks;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::Hello;
use tokio::signal::unix::{SignalKind, signal};

use crate::progress_output::ProgressOutput;
use crate::settings::{Settings, workdir};

pub(crate) fn command() -> Command {
    Command::new("run")
        .about("Run a program with a session in its environment")
        .arg(super::query::api_version_flag())
        .arg(
            Arg::new("command")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString))
                .help("The program and its arguments"),
        )
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let words: Vec<&OsString> = matches.get_many("command").into_iter().flatten().collect();
    let [program, arguments @ ..] = &words[..] else { return Err(Fault::user("no program was given")) };
    let version = super::query::api_version(matches)?;
    let asked = matches.contains_id("api-version").then(|| version.clone());
    let progress = ProgressOutput::new(settings.progress()?);
    let terminal = crate::terminal::terminal(&progress);
    let interactive = settings.interactive(terminal.is_some())?;
    let hello = Hello { version, workdir: workdir()?, interactive, ..Hello::default() };
    let callbacks = ClientCallbacks { on_event: progress.on_event(), terminal };
    let attached = settings.attach(hello, callbacks).await?;
    super::query::check_view(asked.as_deref(), &attached)?;
    let proxy = crate::proxy::open(attached).await?;
    let mut terminate = signal(SignalKind::terminate()).attempt(|| "listen for signals".into())?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("DAGGER_SESSION_PORT", proxy.port.to_string())
        .env("DAGGER_SESSION_TOKEN", &proxy.token)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Fault::user(format!("cannot run `{}`", program.display())).caused_by(e))?;
    let status = tokio::select! {
        status = child.wait() => status.attempt(|| format!("wait for `{}`", program.display()))?,
        _ = terminate.recv() => return Err(Fault::cancelled("terminated")),
    };
    progress.finish();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
