//! Terminals: reads and writes either side of one without blocking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rondel_link::stream::Packet;
use rustix::io::Errno;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;

/// The size of a terminal that reports none.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// A side of a terminal, opened so that it does not block.
pub struct Tty(AsyncFd<OwnedFd>);

impl Tty {
    /// A terminal for use in the calling runtime.
    ///
    /// # Errors
    /// When the kernel cannot report when it is ready.
    #[expect(deprecated, reason = "what replaces it is unsafe, for descriptors that may change; this one is owned")]
    pub fn new(terminal: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::new(terminal)?))
    }

    /// Reads. Cancellation safe. At its end a terminal returns an error, or zero bytes.
    ///
    /// # Errors
    /// When it hung up.
    pub async fn read(&self, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match rustix::io::read(self.0.get_ref(), &mut *piece) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When it hung up.
    pub async fn write(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let mut ready = self.0.writable().await?;
            match rustix::io::write(self.0.get_ref(), data) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                other => data = data.get(other?..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Its size, as a packet.
    pub fn size(&self) -> Packet {
        let (columns, rows) =
            rustix::termios::tcgetwinsize(self.0.get_ref()).map_or(DEFAULT_SIZE, |s| (s.ws_col, s.ws_row));
        let or = |number, usual| if number == 0 { usual } else { number };
        Packet::Size { columns: or(columns, DEFAULT_SIZE.0), rows: or(rows, DEFAULT_SIZE.1) }
    }

    /// Sets its size. Has no effect on a terminal that hung up.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = rustix::termios::tcsetwinsize(self.0.get_ref(), size);
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
