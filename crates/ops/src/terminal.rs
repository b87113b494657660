//! Processes on a terminal of a client: what they leave is thrown away.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rondel_events::{Outcome, Work};
use rondel_fault::{Fault, Kind, Result};
use rondel_link::stream::Packet;
use rondel_model::ExecOp;
use rondel_ports::CancellationToken;
use rondel_ports::process::ProcessTerminal;
use rondel_ports::streams::Stream;
use rondel_streams::packets;
use rondel_streams::tty::Tty;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::Ops;
use crate::cx::OpCx;
use crate::process::{Process, Special, title};

/// How long what a process said last may take to be shown.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much is read of a terminal at a time.
const PIECE: usize = 16 << 10;

/// Why bytes flow no more.
enum End {
    /// Nobody has the terminal of the container open any more.
    Shown,
    /// The client is gone.
    Gone,
}

impl Ops {
    /// Runs `exec` on `terminal`, to the end of the process or of the client; its exit code. Nothing of what the process does to
    /// files is kept, and nothing is remembered.
    ///
    /// # Errors
    /// When it cannot be started, or the client is gone.
    pub async fn interact(self: &Arc<Self>, cx: &OpCx, exec: ExecOp, terminal: Stream) -> Result<i32> {
        let cancel = CancellationToken::new();
        let stop = cancel.clone().drop_guard();
        let (ops, cx) = (self.clone(), cx.clone());
        // A task of its own cleans up even when nobody waits any more.
        let task = tokio::spawn(async move {
            let span = cx.events.span(Work::Exec, format!("terminal {}", title(&cx, &exec)));
            let exec = Arc::new(exec);
            let process = Process { ops: &ops, cx: &cx, exec: &exec, events: span.emitter(), cancel: &cancel };
            let ended = process.interact(terminal).await;
            span.end(match &ended {
                Ok(_) => Outcome::Done,
                Err(fault) if fault.kind() == Kind::Cancelled => Outcome::Cancelled,
                Err(fault) => Outcome::Failed(fault.to_string()),
            });
            ended
        });
        let ended = task.await.unwrap_or_else(|e| Err(Fault::bug(format!("a terminal panicked: {e}"))));
        drop(stop.disarm());
        ended
    }
}

impl Process<'_> {
    async fn interact(&self, terminal: Stream) -> Result<i32> {
        if self.exec.args.is_empty() {
            return Err(Fault::user("no command has been set"));
        }
        let gone = || Fault::cancelled("the client closed its terminal");
        let inputs = try_join_all(self.exec.inputs().into_iter().map(|fs| self.ops.tree(self.cx, fs))).await?;
        let (mut typed, shown) = tokio::io::split(terminal);
        let Ok(Some(Packet::Size { columns, rows })) = packets::read(&mut typed).await else { return Err(gone()) };
        let (give, given) = oneshot::channel();
        let asked = ProcessTerminal { columns, rows, master: give };
        let mut run = std::pin::pin!(self.run(inputs, [None, None], Some(Special::Terminal(asked))));
        let mut carry = std::pin::pin!(carry(given, typed, shown));
        let finished = tokio::select! {
            finished = &mut run => {
                // ORDER: what the process said last is shown before the terminal is the client's again.
                let _ = tokio::time::timeout(LAST_WORDS, carry).await;
                finished
            }
            end = &mut carry => match end {
                End::Shown => run.await,
                End::Gone => {
                    self.cancel.cancel();
                    let _ = run.await;
                    return Err(gone());
                }
            }
        };
        let finished = finished?;
        let exit_code = finished.exit_code;
        self.ops
            .blocking(move |ops| {
                finished.trees.discard(&*ops.ports().snapshots);
                Ok(exit_code)
            })
            .await
    }
}

/// Carries bytes between a client and the terminal that will be given.
async fn carry(
    given: oneshot::Receiver<OwnedFd>,
    mut typed: impl AsyncRead + Unpin,
    mut shown: impl AsyncWrite + Unpin,
) -> End {
    let Some(master) = given.await.ok().and_then(|master| Tty::new(master).ok()) else {
        return End::Shown;
    };
    let up = async {
        loop {
            match packets::read(&mut typed).await {
                Ok(Some(Packet::Data(data))) => {
                    if master.write(&data).await.is_err() {
                        // Whoever typed is told by the end of what is shown.
                        std::future::pending::<()>().await;
                    }
                }
                Ok(Some(Packet::Size { columns, rows })) => master.resize(columns, rows),
                Ok(None) | Err(_) => return,
            }
        }
    };
    let down = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = match master.read(&mut piece).await {
                Ok(length) if length > 0 => length,
                _ => break,
            };
            if shown.write_all(piece.get(..length).unwrap_or_default()).await.is_err() {
                return End::Gone;
            }
        }
        let _ = shown.shutdown().await;
        End::Shown
    };
    tokio::select! {
        () = up => End::Gone,
        end = down => end,
    }
}
