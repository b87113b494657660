//! Connects to the engine, and starts one if none runs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
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

/// How long the process of an engine may take to end after it closed its output.
const END_TIMEOUT: Duration = Duration::from_secs(1);

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
            Err(e) => return Err(not_connected(state, e)),
        }
        let Some(launch) = launch else {
            return Err(Fault::user(format!("no engine is running for `{}`", state.path().display())));
        };
        if !state.is_held() {
            held_by = None;
            match start(state, launch).await {
                Ok(()) => {
                    let stream = UnixStream::connect(&socket).await;
                    return stream.map_err(|e| not_started(state, "it ended at once", None).caused_by(e));
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
                let why = format!("{who} holds the state directory `{}` and does not listen", state.path().display());
                return Err(not_started(state, &why, None));
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The error that the engine's socket refuses this process. Says whose it is.
fn not_connected(state: &StateDir, error: io::Error) -> Fault {
    use std::os::unix::fs::MetadataExt as _;
    let socket = state.socket();
    let what = format!("cannot connect to the engine at `{}`", socket.display());
    let owner = std::fs::metadata(&socket).or_else(|_| std::fs::metadata(state.path())).map(|found| found.uid());
    let me = rustix::process::geteuid().as_raw();
    match owner {
        Ok(owner) if error.kind() == io::ErrorKind::PermissionDenied && owner != me => {
            Fault::denied(format!("{what}: it belongs to the user with the id {owner}, and this is the user {me}"))
                .with_hint("each user has an engine: name a state directory of your own with `--state-dir`, or none")
        }
        _ => Fault::environment(what).caused_by(error),
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
    let (mut child, early) = spawn(state, launch, tell)?;
    let mut ready = tokio::net::unix::pipe::Receiver::from_owned_fd(ready).attempt(|| "watch the new engine".into())?;
    let mut line = String::new();
    let line_read =
        tokio::time::timeout(START_TIMEOUT, tokio::io::BufReader::new(&mut ready).read_line(&mut line)).await;
    match line_read {
        Ok(Ok(_)) if line.trim() == "ready" => Ok(()),
        Ok(Ok(_)) if UnixStream::connect(state.socket()).await.is_ok() => Ok(()),
        Ok(Ok(_)) => match serde_json::from_str(&line) {
            Ok(refusal) => Err(crate::refusal::fault(refusal).context("the engine did not start")),
            Err(_) => Err(not_started(state, &end_of(&mut child, line.trim()).await, Some(early))),
        },
        Ok(Err(e)) => Err(not_started(state, "it cannot be watched", Some(early)).caused_by(e)),
        Err(_) => {
            let why = format!("it was not ready within {} s", START_TIMEOUT.as_secs());
            Err(not_started(state, &why, Some(early)))
        }
    }
}

/// Describes how an engine ended that said `said` and did not explain itself.
async fn end_of(child: &mut Child, said: &str) -> String {
    let deadline = Instant::now() + END_TIMEOUT;
    let status = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(POLL_INTERVAL).await,
            ended => break ended.ok().flatten(),
        }
    };
    let how = status.map_or_else(
        || "it ended".to_owned(),
        |status| format!("it ended with {}", status.to_string().replace(':', "")),
    );
    if said.is_empty() { how } else { format!("{how}: {said}") }
}

/// Starts an engine. Returns its process, and the file with its output from before it had the state
/// directory: an engine does not write to a directory that it refuses.
fn spawn(state: &StateDir, launch: &EngineCommand, tell: OwnedFd) -> Result<(Child, File)> {
    let early = rustix::fs::memfd_create("rondel-engine-log", MemfdFlags::CLOEXEC).map_err(io::Error::from);
    let early = File::from(early.attempt(|| "make a log for the new engine".into())?);
    let log = early.try_clone().attempt(|| "make a log for the new engine".into())?;
    let mut command = Command::new(&launch.program);
    command.args(["engine", "serve", "--announce", "--log", "--state-dir"]).arg(state.path());
    if let Some(config) = &launch.config {
        command.env(crate::state::CONFIG_VARIABLE, config);
    }
    command.stdin(Stdio::null()).stdout(tell).stderr(log).current_dir("/").process_group(0);
    let child = command.spawn().attempt(|| format!("start the engine `{}`", launch.program.display()))?;
    Ok((child, early))
}

/// The error of an engine that did not start. `early` is its output from before it had the state
/// directory.
fn not_started(state: &StateDir, why: &str, early: Option<File>) -> Fault {
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
