//! Connects the terminal of this process to a terminal in a container.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rondel_client::streams::{ShowTerminal, Stream};
use rondel_link::stream::Packet;
use rondel_streams::tty::Tty;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, isatty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::progress_output::ProgressHandle;

/// How many bytes are read at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// Returns the callback that shows a container's terminal on this one. `None` if no standard stream
/// is a terminal or the terminal cannot be opened.
pub(crate) fn terminal(progress: &ProgressHandle) -> Option<ShowTerminal> {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    if !(isatty(input) || isatty(output) || isatty(errors)) || open().is_err() {
        return None;
    }
    let progress = progress.clone();
    Some(Arc::new(move |stream| {
        let progress = progress.clone();
        Box::pin(async move {
            progress.pause();
            if let Err(e) = show(stream).await {
                let _ = writeln!(std::io::stderr(), "the terminal cannot be used: {e}");
            }
            progress.resume();
        })
    }))
}

/// Opens the terminal again. The standard streams' own description is shared with other processes,
/// which expect blocking reads.
fn open() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/tty", flags, Mode::empty())?)
}

/// Puts a terminal into raw mode and restores it when dropped.
struct RawMode<'a> {
    terminal: &'a Tty,
    before: Termios,
}

impl<'a> RawMode<'a> {
    fn new(terminal: &'a Tty) -> std::io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Shows a stream on the terminal until it ends.
async fn show(stream: Stream) -> std::io::Result<()> {
    let terminal = Tty::new(open()?)?;
    let mut resized = signal(SignalKind::window_change())?;
    let _raw = RawMode::new(&terminal)?;
    let (mut read, mut write) = tokio::io::split(stream);
    let up = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        write.write_all(&terminal.size().bytes()).await?;
        loop {
            let packet = tokio::select! {
                _ = resized.recv() => terminal.size(),
                typed = terminal.read(&mut chunk) => match typed? {
                    0 => return Ok(()),
                    length => Packet::Data(chunk.get(..length).unwrap_or_default().to_vec()),
                },
            };
            write.write_all(&packet.bytes()).await?;
        }
    };
    let down = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = read.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            terminal.write(chunk.get(..length).unwrap_or_default()).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
