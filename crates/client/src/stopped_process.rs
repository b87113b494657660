//! Detects that the engine's process is stopped by a signal, so that no client waits for ever.

use std::time::Duration;

use rondel_fault::Fault;
use tokio::time::Instant;

/// How often a process that does not answer is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Detection of stopped processes.
pub(crate) struct StoppedProcess;

impl StoppedProcess {
    /// How long a process has to be stopped before it is reported. A person may stop it for a
    /// moment.
    pub(crate) const GRACE_PERIOD: Duration = Duration::from_secs(3);

    /// The error if the process `pid` is stopped now. A traced process does not count as stopped.
    pub(crate) fn fault(pid: i32) -> Option<Fault> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        (state == Some('T')).then(|| {
            Fault::environment(format!("the engine does not answer: its process {pid} is stopped")).with_hint(format!(
                "`kill -CONT {pid}` lets it go on; `kill -KILL {pid}` ends it, and the next command starts another"
            ))
        })
    }

    /// Returns when the process has been stopped for [`Self::GRACE_PERIOD`]. Never returns if it is
    /// not stopped or does not exist.
    pub(crate) async fn wait(pid: Option<i32>) -> Fault {
        let Some(pid) = pid else { return std::future::pending().await };
        let mut since = None;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            match Self::fault(pid) {
                None => since = None,
                Some(fault) if since.get_or_insert_with(Instant::now).elapsed() >= Self::GRACE_PERIOD => return fault,
                Some(_) => {}
            }
        }
    }
}
