//! Connects to the engine, and starts it when there is none.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rondel_fault::{Attempt as _, Fault, Result};
use tokio::io::AsyncBufReadExt as _;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::state::StateDir;

/// How long a new engine may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait between looks at an engine that starts or ends.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How to start an engine.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// The configuration file, when one was named.
    pub config: Option<PathBuf>,
}

/// A connection to the engine of `state`, which `launch` starts when there is none.
///
/// # Errors
/// When no engine answers and none can be started.
pub async fn connect(state: &StateDir, launch: Option<&Launch>) -> Result<UnixStream> {
    let socket = state.socket();
    let deadline = Instant::now() + START_LIMIT;
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
            match start(state, launch).await {
                Ok(()) => {
                    let stream = UnixStream::connect(&socket).await;
                    return stream.map_err(|e| no_answer(state, "it ended at once").caused_by(e));
                }
                // The engine of another client was faster, and listens soon.
                Err(_) if state.is_held() => {}
                Err(fault) => return Err(fault),
            }
        } else if Instant::now() >= deadline {
            return Err(no_answer(state, "another one has the state folder and does not listen"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn nobody_listens(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Starts an engine and waits until it listens, or until another one that was started at the same time does.
async fn start(state: &StateDir, launch: &Launch) -> Result<()> {
    state.make()?;
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(io::Error::from)
        .attempt(|| "make a pipe for the new engine".into())?;
    spawn(state, launch, tell)?;
    let mut ready = tokio::net::unix::pipe::Receiver::from_owned_fd(ready).attempt(|| "watch the new engine".into())?;
    let mut line = String::new();
    let told = tokio::time::timeout(START_LIMIT, tokio::io::BufReader::new(&mut ready).read_line(&mut line)).await;
    match told {
        Ok(Ok(_)) if line.trim() == "ready" => Ok(()),
        Ok(Ok(_)) if UnixStream::connect(state.socket()).await.is_ok() => Ok(()),
        Ok(Ok(_)) => Err(no_answer(state, line.trim())),
        Ok(Err(e)) => Err(no_answer(state, "it cannot be watched").caused_by(e)),
        Err(_) => Err(no_answer(state, "it takes too long")),
    }
}

fn spawn(state: &StateDir, launch: &Launch, tell: OwnedFd) -> Result<()> {
    let open = std::fs::OpenOptions::new().create(true).append(true).open(state.log());
    let log = open.attempt(|| format!("open the engine's log `{}`", state.log().display()))?;
    let mut command = Command::new(&launch.program);
    command.args(["engine", "serve", "--announce", "--state-dir"]).arg(state.path());
    if let Some(config) = &launch.config {
        command.env(crate::state::CONFIG_VARIABLE, config);
    }
    command.stdin(Stdio::null()).stdout(tell).stderr(log).current_dir("/").process_group(0);
    command.spawn().attempt(|| format!("start the engine `{}`", launch.program.display()))?;
    Ok(())
}

fn no_answer(state: &StateDir, why: &str) -> Fault {
    let why = if why.is_empty() { "it ended before it listened" } else { why };
    let mut fault = Fault::environment(format!("the engine did not start: {why}"));
    if let Some(tail) = log_tail(&state.log()) {
        fault = fault.with_hint(format!("the end of `{}` says: {tail}", state.log().display()));
    }
    fault
}

fn log_tail(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let tail: Vec<&str> = text.lines().rev().take(3).collect();
    (!tail.is_empty()).then(|| tail.into_iter().rev().collect::<Vec<_>>().join(" | "))
}
