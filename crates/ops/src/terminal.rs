//! Runs processes on a terminal of a client. Their files are discarded.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rondel_events::{Emitter, Work};
use rondel_fault::{Fault, Result};
use rondel_link::stream::Packet;
use rondel_model::ExecOp;
use rondel_model::service::ContainerService;
use rondel_ports::CancellationToken;
use rondel_ports::outcome::outcome;
use rondel_ports::process::{ProcessStdin, ProcessTerminal};
use rondel_ports::streams::Stream;
use rondel_streams::packets;
use rondel_streams::tty::Tty;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::Ops;
use crate::context::OpContext;
use crate::environment::variable;
use crate::process::{Process, ProcessMode, title};
use crate::service::RunningContainer;

/// How long the last output may take to reach the client.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How much is read from a terminal at a time.
const READ_SIZE: usize = 16 << 10;
/// The variable with the type of the terminal.
const TERM: &str = "TERM";
/// The default type. The type of the client's terminal is not queried.
const DEFAULT_TERM: &str = "xterm-256color";

/// Why forwarding ended.
enum TerminalEnd {
    /// No process has the terminal of the container open any more.
    Shown,
    /// The client disconnected.
    Gone,
}

/// Adds `TERM` to an environment that lacks it.
pub(crate) fn with_term(mut env: Vec<(String, String)>) -> Vec<(String, String)> {
    if variable(&env, TERM).is_none() {
        env.push((TERM.to_owned(), DEFAULT_TERM.to_owned()));
    }
    env
}

impl Ops {
    /// Runs `exec` on `terminal` until the process or the client ends, and returns the exit code.
    /// Changes to files are discarded, and no result is stored.
    ///
    /// # Errors
    /// When it cannot be started, or the client disconnected.
    pub async fn interact(self: &Arc<Self>, cx: &OpContext, exec: ExecOp, terminal: Stream) -> Result<i32> {
        let exec = ExecOp { env: with_term(exec.env), ..exec };
        self.interact_after(cx, exec, terminal, String::new()).await
    }

    /// Runs `exec` on `terminal` below an introduction.
    pub(crate) async fn interact_after(
        self: &Arc<Self>,
        cx: &OpContext,
        exec: ExecOp,
        terminal: Stream,
        intro: String,
    ) -> Result<i32> {
        let (ops, of, exec) = (self.clone(), cx.clone(), Arc::new(exec));
        in_own_task(cx, title(cx, &exec), move |events, cancel| async move {
            let process = Process { ops: &ops, cx: &of, exec: &exec, events: &events, cancel: &cancel };
            process.interact(terminal, &intro).await
        })
        .await
    }

    /// Runs a further command in the container of a running service on `terminal`, until the
    /// command, the service or the client ends, and returns the exit code. The service sees its
    /// changes to files.
    ///
    /// # Errors
    /// When it cannot be started, or the client disconnected.
    pub async fn interact_inside(
        self: &Arc<Self>,
        cx: &OpContext,
        service: &ContainerService,
        inside: RunningContainer,
        args: Vec<String>,
        terminal: Stream,
    ) -> Result<i32> {
        let exec = ExecOp { args: args.clone(), env: with_term(service.exec.env.clone()), ..service.exec.clone() };
        let (ops, of, exec) = (self.clone(), cx.clone(), Arc::new(exec));
        in_own_task(cx, title(cx, &exec), move |events, cancel| async move {
            let process = Process { ops: &ops, cx: &of, exec: &exec, events: &events, cancel: &cancel };
            let enter = |asked| {
                let stdin = ProcessStdin::Terminal(asked);
                process.enter(&inside.entrance, args, &inside.api_env, stdin)
            };
            process.on_terminal(terminal, "", enter).await.map(|ended| ended.exit_code)
        })
        .await
    }
}

/// Runs `work` in its own task, which cleans up even when the caller is dropped.
async fn in_own_task<F: Future<Output = Result<i32>> + Send>(
    cx: &OpContext,
    title: String,
    work: impl FnOnce(Emitter, CancellationToken) -> F + Send + 'static,
) -> Result<i32> {
    let cancel = CancellationToken::new();
    let stop = cancel.clone().drop_guard();
    let span = cx.events.span(Work::Exec, format!("terminal {title}"));
    let task = tokio::spawn(async move {
        let ended = work(span.emitter().clone(), cancel).await;
        span.end(outcome(&ended));
        ended
    });
    let ended = task.await.unwrap_or_else(|e| Err(Fault::bug(format!("a terminal panicked: {e}"))));
    drop(stop.disarm());
    ended
}

impl Process<'_> {
    async fn interact(&self, terminal: Stream, intro: &str) -> Result<i32> {
        if self.exec.args.is_empty() {
            return Err(crate::exec::no_command());
        }
        let inputs = try_join_all(self.exec.inputs().into_iter().map(|fs| self.ops.tree(self.cx, fs))).await?;
        let run = |asked| self.run(inputs, [None, None], Some(ProcessMode::Terminal(asked)));
        let finished = self.on_terminal(terminal, intro, run).await?;
        let exit_code = finished.exit_code;
        self.ops
            .blocking(move |ops| {
                finished.rest.trees.discard(&*ops.ports().snapshots);
                Ok(exit_code)
            })
            .await
    }

    /// Connects the terminal of a client with the container's terminal that `run` uses, below
    /// `intro`.
    async fn on_terminal<T, F: Future<Output = Result<T>>>(
        &self,
        terminal: Stream,
        intro: &str,
        run: impl FnOnce(ProcessTerminal) -> F,
    ) -> Result<T> {
        let gone = || Fault::cancelled("the client closed its terminal");
        let (mut typed, mut shown) = tokio::io::split(terminal);
        let Ok(Some(Packet::Size { columns, rows })) = packets::read(&mut typed).await else { return Err(gone()) };
        if shown.write_all(intro.as_bytes()).await.is_err() {
            return Err(gone());
        }
        let (give, given) = oneshot::channel();
        let mut run = std::pin::pin!(run(ProcessTerminal { columns, rows, master: give }));
        let mut carry = std::pin::pin!(carry(given, typed, shown));
        tokio::select! {
            finished = &mut run => {
                // ORDER: the last output is shown before the client gets its terminal back.
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, carry).await;
                finished
            }
            end = &mut carry => match end {
                TerminalEnd::Shown => run.await,
                TerminalEnd::Gone => {
                    self.cancel.cancel();
                    let _ = run.await;
                    Err(gone())
                }
            }
        }
    }
}

/// Forwards bytes between a client and the terminal that `given` will receive.
async fn carry(
    given: oneshot::Receiver<OwnedFd>,
    mut typed: impl AsyncRead + Unpin,
    mut shown: impl AsyncWrite + Unpin,
) -> TerminalEnd {
    let Some(master) = given.await.ok().and_then(|master| Tty::new(master).ok()) else {
        return TerminalEnd::Shown;
    };
    let up = async {
        loop {
            match packets::read(&mut typed).await {
                Ok(Some(Packet::Data(data))) => {
                    if master.write(&data).await.is_err() {
                        // The client learns of the end by the end of the output.
                        std::future::pending::<()>().await;
                    }
                }
                Ok(Some(Packet::Size { columns, rows })) => master.resize(columns, rows),
                Ok(None) | Err(_) => return,
            }
        }
    };
    let down = async {
        let mut piece = vec![0; READ_SIZE];
        loop {
            let length = match master.read(&mut piece).await {
                Ok(length) if length > 0 => length,
                _ => break,
            };
            if shown.write_all(piece.get(..length).unwrap_or_default()).await.is_err() {
                return TerminalEnd::Gone;
            }
        }
        let _ = shown.shutdown().await;
        TerminalEnd::Shown
    };
    tokio::select! {
        () = up => TerminalEnd::Gone,
        end = down => end,
    }
}
