//! The terminal of this process as that of a container.

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

use crate::screen::Screen;

/// How much is read at a time.
const PIECE: usize = 16 << 10;

/// The terminal of this process, when it has one that somebody looks at.
pub(crate) fn terminal(screen: &Screen) -> Option<ShowTerminal> {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    if !(isatty(input) || isatty(output) || isatty(errors)) || open().is_err() {
        return None;
    }
    let screen = screen.clone();
    Some(Arc::new(move |stream| {
        let screen = screen.clone();
        Box::pin(async move {
            screen.pause();
            if let Err(e) = show(stream).await {
                let _ = writeln!(std::io::stderr(), "the terminal cannot be used: {e}");
            }
            screen.resume();
        })
    }))
}

/// Its own handle of the terminal: that of the standard streams is shared with others, who expect it to block.
fn open() -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/tty", flags, Mode::empty())?)
}

/// Sets a terminal back when it is dropped.
struct Raw<'a> {
    terminal: &'a Tty,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn new(terminal: &'a Tty) -> std::io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Shows a stream until it ends.
async fn show(stream: Stream) -> std::io::Result<()> {
    let terminal = Tty::new(open()?)?;
    let mut resized = signal(SignalKind::window_change())?;
    let _raw = Raw::new(&terminal)?;
    let (mut read, mut write) = tokio::io::split(stream);
    let up = async {
        let mut piece = vec![0; PIECE];
        write.write_all(&terminal.size().bytes()).await?;
        loop {
            let packet = tokio::select! {
                _ = resized.recv() => terminal.size(),
                typed = terminal.read(&mut piece) => match typed? {
                    0 => return Ok(()),
                    length => Packet::Data(piece.get(..length).unwrap_or_default().to_vec()),
                },
            };
            write.write_all(&packet.bytes()).await?;
        }
    };
    let down = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = read.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            terminal.write(piece.get(..length).unwrap_or_default()).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
