//! `rondel run`: runs a program with a session in its environment.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use rondel_client::ClientCallbacks;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::Hello;
use rustix::process::{Pid, Signal};
use rustix::termios::isatty;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use crate::program_terminal::ProgramTerminal;
use crate::progress_output::ProgressOutput;
use crate::proxy::SessionProxy;
use crate::settings::{Settings, workdir};

pub(crate) fn command() -> Command {
    Command::new("run")
        .about("Run a program with a session in its environment")
        .arg(super::query::api_version_flag())
        .arg(
            Arg::new("command")
                .value_name("PROGRAM")
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
    let (proxy, progress) =
        match crate::interrupt::cancellable(settings.interruption(), open(settings, matches)).await? {
            Ok(opened) => opened,
            Err(code) => return Ok(code),
        };
    let mut interrupt = signal(SignalKind::interrupt()).attempt(|| "listen for signals".into())?;
    let mut terminate = signal(SignalKind::terminate()).attempt(|| "listen for signals".into())?;
    let mut command = tokio::process::Command::new(program);
    // What the program writes to the terminal must not mix with the block of lines on it.
    let output = match progress.keeps_block() {
        true => ProgramTerminal::open(&mut command, progress.handle())?,
        false => None,
    };
    let mut child = command
        .args(arguments)
        .env("DAGGER_SESSION_PORT", proxy.port.to_string())
        .env("DAGGER_SESSION_TOKEN", &proxy.token)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Fault::user(format!("cannot run `{}`", program.display())).caused_by(e))?;
    // The terminal ends when no process has it any more.
    drop(command);
    // The program decides what a signal means, and ends the session by its end.
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.attempt(|| format!("wait for `{}`", program.display()))?,
            // A terminal sends Ctrl-C to the program, too.
            _ = interrupt.recv() => if !has_terminal() { forward(&child, Signal::INT) },
            _ = terminate.recv() => forward(&child, Signal::TERM),
        }
    };
    proxy.end_events();
    if let Some(output) = output {
        output.finish();
    }
    if status.success() {
        progress.finish();
    } else {
        progress.abort();
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Opens a session and serves it.
async fn open(settings: &Settings, matches: &ArgMatches) -> Result<(SessionProxy, ProgressOutput)> {
    let version = super::query::api_version(matches)?;
    let asked = matches.contains_id("api-version").then(|| version.clone());
    let progress = ProgressOutput::new(settings.progress()?);
    let terminal = crate::terminal::terminal(&progress.handle());
    let interactive = settings.interactive(terminal.is_some())?;
    let hello = Hello { version, workdir: workdir()?, interactive, ..Hello::default() };
    let callbacks = ClientCallbacks { on_event: progress.on_event(), terminal };
    let attached = settings.attach(hello, callbacks).await?;
    super::query::check_view(asked.as_deref(), &attached)?;
    Ok((crate::proxy::open(attached).await?, progress))
}

fn has_terminal() -> bool {
    isatty(std::io::stdin()) || isatty(std::io::stdout()) || isatty(std::io::stderr())
}

fn forward(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // An error means that the program has ended.
        let _ = rustix::process::kill_process(id, signal);
    }
}
