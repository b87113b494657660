//! Tells why a connection to the engine broke: whether its process ended, and how.

use std::error::Error;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rondel_fault::Fault;
use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::time::Instant;

use crate::state::StateDir;

/// How long a process may take to end after its connections broke.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the process is looked at in that time.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How many bytes of the end of the log are read.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// The end of an engine's process.
enum EngineEnd {
    /// The process is gone. Its parent alone knows how it ended.
    Gone,
    /// The process was a child of this one, and ended so.
    Status(ExitStatus),
}

/// The process at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// The engine of a state directory. The process is `None` if the kernel does not report it.
    Engine(StateDir, Option<i32>),
    /// A process that serves a session on this port.
    Session(u16),
}

impl Peer {
    /// The engine's process.
    pub(crate) fn engine(&self) -> Option<i32> {
        match self {
            Peer::Engine(_, pid) => *pid,
            Peer::Session(_) => None,
        }
    }

    /// Returns the error that the process at the other end is gone if that is why a request failed
    /// with `fault`. Otherwise returns `fault`.
    pub(crate) async fn explain(&self, fault: Fault) -> Fault {
        if has_cause::<EngineEnded>(&fault) {
            return fault;
        }
        let is_broken =
            has_cause::<hyper::Error>(&fault) || has_cause::<std::io::Error>(&fault) || has_cause::<HungUp>(&fault);
        match self {
            Peer::Session(port) if is_broken => {
                Fault::environment(format!("the session on port {port} ended before it answered"))
            }
            Peer::Session(_) => fault,
            Peer::Engine(state, pid) => match pid.and_then(Pid::from_raw) {
                Some(pid) => end_within(pid, if is_broken { END_TIMEOUT } else { Duration::ZERO })
                    .await
                    .map_or(fault, |end| describe(state, pid, &end)),
                None => fault,
            },
        }
    }
}

async fn end_within(pid: Pid, timeout: Duration) -> Option<EngineEnd> {
    let deadline = Instant::now() + timeout;
    loop {
        match end_of(pid) {
            None if Instant::now() < deadline => tokio::time::sleep(POLL_INTERVAL).await,
            end => return end,
        }
    }
}

fn has_cause<E: Error + 'static>(fault: &Fault) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = Some(fault);
    while let Some(found) = error {
        if found.is::<E>() {
            return true;
        }
        error = found.source();
    }
    false
}

/// The cause of an error: the engine's process ended. How it ended is known only once.
#[derive(Debug)]
struct EngineEnded(String);

impl std::fmt::Display for EngineEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for EngineEnded {}

/// The cause of an error: the engine closed the connection before it answered.
#[derive(Debug)]
pub(crate) struct HungUp;

impl std::fmt::Display for HungUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was closed")
    }
}

impl Error for HungUp {}

fn end_of(pid: Pid) -> Option<EngineEnd> {
    match waitpid(Some(pid), WaitOptions::NOHANG) {
        Ok(Some((_, status))) => return Some(EngineEnd::Status(ExitStatus::from_raw(status.as_raw()))),
        // A child whose threads have not all ended has no status yet.
        Ok(None) => return None,
        Err(_) => {}
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X')).then_some(EngineEnd::Gone)
}

fn describe(state: &StateDir, pid: Pid, end: &EngineEnd) -> Fault {
    let pid = pid.as_raw_nonzero();
    let how = match end {
        EngineEnd::Status(status) => format!("process {pid} ended with {}", status.to_string().replace(':', "")),
        EngineEnd::Gone => format!("process {pid} is gone"),
    };
    let log = state.log();
    let fault = Fault::environment("the engine ended before it answered").caused_by(EngineEnded(how));
    let fault = match last_words(&log) {
        Some(line) => fault.with_hint(format!("the end of its log `{}`: {line}", log.display())),
        None => fault.with_hint(format!("its log is `{}`", log.display())),
    };
    fault.with_hint("run the command again: it starts another engine, and finished work is cached")
}

/// The last line of the log if it tells about the end: a warning, an error, or that the engine
/// stops.
fn last_words(log: &std::path::Path) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let last = tail.lines().rfind(|line| !line.trim().is_empty())?;
    let tells = [" WARN", " ERROR", "\"WARN\"", "\"ERROR\"", "panicked", "engine is stopping", "engine stopped"];
    tells.iter().any(|word| last.contains(word)).then(|| last.trim().to_owned())
}
