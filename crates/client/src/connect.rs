//! Connects to the engine, and starts one if none runs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rondel_fault::{Attempt as _, Fault, Result};
use rustix::fs::MemfdFlags;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::state::StateDir;
use crate::stopped_process::StoppedProcess;

/// How long a new engine may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a starting or ending engine is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The command that starts an engine.
#[derive(Debug, Clone)]
pub struct EngineCommand {
    /// The program.
    pub program: PathBuf,
    /// The configuration file. `None` leaves the choice to the engine.
    pub config: Option<PathBuf>,
}

/// Connects to the engine of `state`. `launch` starts one if none runs.
///
/// # Errors
/// When no engine answers and none can be started.
pub async fn connect(state: &StateDir, launch: Option<&EngineCommand>) -> Result<UnixStream> {
    let socket = state.socket();
    let deadline = Instant::now() + START_TIMEOUT;
    let mut held_by: Option<(i32, Instant)> = None;
    loop {
        match rondel_streams::unix::connect(&socket).await {
            Ok(stream) => return Ok(stream),
            Err(e) if nobody_listens(&e) => {}
            Err(e) => {
                let what = format!("cannot connect to the engine at `{}`", socket.display());
                return Err(Fault::environment(what).caused_by(e));
            }
        }
        let Some(launch) = launch else {
            return Err(Fault::user(format!("no engine is running for `{}`", state.path().display())));
        };
        if !state.is_held() {
            held_by = None;
            match start(state, launch).await {
                Ok(()) => {
                    let stream = UnixStream::connect(&socket).await;
                    return stream.map_err(|e| no_answer(state, "it ended at once", None).caused_by(e));
                }
                // Another client started an engine at the same time. It listens soon.
                Err(_) if state.is_held() => {}
                Err(fault) => return Err(fault),
            }
        } else {
            let holder = state.holder();
            if let Some((pid, fault)) = holder.and_then(|pid| Some((pid, StoppedProcess::fault(pid)?))) {
                // The process may be continued in a moment.
                let since = held_by.filter(|(known, _)| *known == pid).map_or_else(Instant::now, |(_, since)| since);
                held_by = Some((pid, since));
                if since.elapsed() >= StoppedProcess::GRACE_PERIOD {
                    return Err(fault);
                }
            }
            if Instant::now() >= deadline {
                let who = holder.map_or_else(|| "another one".to_owned(), |pid| format!("process {pid}"));
                return Err(no_answer(state, &format!("{who} holds the state directory and does not listen"), None));
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn nobody_listens(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Starts an engine and waits until it listens, or until an engine that another client started at
/// the same time does.
async fn start(state: &StateDir, launch: &EngineCommand) -> Result<()> {
    state.make()?;
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(io::Error::from)
        .attempt(|| "make a pipe for the new engine".into())?;
    let early = spawn(state, launch, tell)?;
    let mut ready = tokio::net::unix::pipe::Receiver::from_owned_fd(ready).attempt(|| "watch the new engine".into())?;
    let mut line = String::new();
    let line_read =
        tokio::time::timeout(START_TIMEOUT, tokio::io::BufReader::new(&mut ready).read_line(&mut line)).await;
    match line_read {
        Ok(Ok(_)) if line.trim() == "ready" => Ok(()),
        Ok(Ok(_)) if UnixStream::connect(state.socket()).await.is_ok() => Ok(()),
        Ok(Ok(_)) => Err(no_answer(state, line.trim(), Some(early))),
        Ok(Err(e)) => Err(no_answer(state, "it cannot be watched", Some(early)).caused_by(e)),
        Err(_) => Err(no_answer(state, "it takes too long", Some(early))),
    }
}

/// Starts an engine. Returns the file with its output from before it had the state directory: an
/// engine does not write to a directory that it refuses.
fn spawn(state: &StateDir, launch: &EngineCommand, tell: OwnedFd) -> Result<File> {
    let early = rustix::fs::memfd_create("rondel-engine-log", MemfdFlags::CLOEXEC).map_err(io::Error::from);
    let early = File::from(early.attempt(|| "make a log for the new engine".into())?);
    let log = early.try_clone().attempt(|| "make a log for the new engine".into())?;
    let mut command = Command::new(&launch.program);
    command.args(["engine", "serve", "--announce", "--log", "--state-dir"]).arg(state.path());
    if let Some(config) = &launch.config {
        command.env(crate::state::CONFIG_VARIABLE, config);
    }
    command.stdin(Stdio::null()).stdout(tell).stderr(log).current_dir("/").process_group(0);
    command.spawn().attempt(|| format!("start the engine `{}`", launch.program.display()))?;
    Ok(early)
}

/// The error of an engine that did not start. `early` is its output from before it had the state
/// directory.
fn no_answer(state: &StateDir, why: &str, early: Option<File>) -> Fault {
    let why = if why.is_empty() { "it ended before it listened" } else { why };
    let mut fault = Fault::environment(format!("the engine did not start: {why}"));
    let mut text = String::new();
    if let Some(mut early) = early {
        let _ = early.rewind().and_then(|()| early.read_to_string(&mut text));
    }
    if let Some(tail) = tail(&text) {
        fault = fault.with_hint(format!("the engine said: {tail}"));
    } else if let Some(tail) = std::fs::read_to_string(state.log()).ok().and_then(|text| tail(&text)) {
        fault = fault.with_hint(format!("the end of `{}` says: {tail}", state.log().display()));
    }
    fault
}

fn tail(text: &str) -> Option<String> {
    let tail: Vec<&str> = text.lines().rev().take(3).collect();
    (!tail.is_empty()).then(|| tail.into_iter().rev().collect::<Vec<_>>().join(" | "))
}
