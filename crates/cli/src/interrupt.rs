//! Runs a command's asynchronous work on this thread and ends it on Ctrl-C and SIGTERM.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rondel_fault::{Attempt as _, Fault, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit_code;

/// Whether a signal has ended the command. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Whether a signal has ended the command.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on this thread. Ctrl-C and SIGTERM end it, with the exit code of a program that the
/// signal ended. `interruption` is set then, before `work` is dropped.
pub(crate) fn block_on(interruption: &Interruption, work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    block_on_with_signals(async { Ok(cancellable(interruption, work).await?.unwrap_or_else(|code| code)) })
}

/// Runs `work`, which handles Ctrl-C and SIGTERM itself, on this thread.
pub(crate) fn block_on_with_signals(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.attempt(|| "start".into())?.block_on(work)
}

/// Runs `work` until it finishes or a signal ends it. After a signal, returns the exit code as the
/// inner error.
pub(crate) async fn cancellable<T>(
    interruption: &Interruption,
    work: impl Future<Output = Result<T>>,
) -> Result<std::result::Result<T, ExitCode>> {
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let signal = async {
        let ended = tokio::select! {
            _ = interrupt.recv() => ("Interrupted.", exit_code::INTERRUPTED),
            _ = terminate.recv() => ("Terminated.", exit_code::TERMINATED),
        };
        // ORDER: set before `work` is dropped, which ends its display.
        interruption.0.store(true, Ordering::Relaxed);
        ended
    };
    // ORDER: `work` is polled first. If it handles a signal as its usual end, the command is not
    // cancelled.
    let (note, code) = tokio::select! {
        biased;
        result = work => return result.map(Ok),
        ended = signal => ended,
    };
    crate::output::note(note);
    Ok(Err(ExitCode::from(code)))
}

/// Runs `work` until it finishes or Ctrl-C. Returns `None` on Ctrl-C.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let mut interrupt = signals(SignalKind::interrupt())?;
    tokio::select! {
        result = work => result.map(Some),
        _ = interrupt.recv() => Ok(None),
    }
}

/// Runs `work`, which blocks and cannot be cancelled, on a thread of its own. It holds up neither a
/// signal nor the end of the process.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(work()));
    ended.await.map_err(|_| Fault::bug("a thread ended without its result"))
}

fn signals(kind: SignalKind) -> Result<Signal> {
    signal(kind).attempt(|| "listen for signals".into())
}
