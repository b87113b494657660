//! Runs a command's asynchronous work on this thread and ends it on Ctrl-C.

use std::future::Future;
use std::process::ExitCode;

use rondel_fault::{Attempt as _, Fault, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs `work` on this thread. Ctrl-C ends it with an error of the kind `Cancelled`.
pub(crate) fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.attempt(|| "start".into())?.block_on(async {
        let mut interrupt = interrupts()?;
        // ORDER: `work` is polled first. If it handles Ctrl-C as its usual end, the command is not
        // cancelled.
        tokio::select! {
            biased;
            result = work => result,
            _ = interrupt.recv() => Err(Fault::cancelled("interrupted")),
        }
    })
}

/// Runs `work` until it finishes or Ctrl-C. Returns `None` on Ctrl-C.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let mut interrupt = interrupts()?;
    tokio::select! {
        result = work => result.map(Some),
        _ = interrupt.recv() => Ok(None),
    }
}

fn interrupts() -> Result<Signal> {
    signal(SignalKind::interrupt()).attempt(|| "listen for signals".into())
}
