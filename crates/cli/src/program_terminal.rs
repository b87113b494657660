//! A terminal for the output of a program whose own terminal shows progress.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rondel_fault::{Attempt as _, Result};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::progress_output::ProgressHandle;

/// How long the rest of the output is waited for when the program has ended. Processes that it left
/// may keep its terminal open.
const REST_TIMEOUT: Duration = Duration::from_millis(500);

/// A pseudo-terminal. What is written to it is printed above the progress.
pub(crate) struct ProgramTerminal {
    ended: Receiver<()>,
    resizing: tokio::task::JoinHandle<()>,
}

impl ProgramTerminal {
    /// Makes a pseudo-terminal the output of `command`, for each of its streams that is a terminal.
    /// `None` if none is.
    pub(crate) fn open(command: &mut Command, progress: ProgressHandle) -> Result<Option<Self>> {
        let (stdout, stderr) = (isatty(std::io::stdout()), isatty(std::io::stderr()));
        if !stdout && !stderr {
            return Ok(None);
        }
        let (ours, programs) = open_pair().attempt(|| "open a pseudo-terminal".into())?;
        let copy = |fd: &OwnedFd| fd.try_clone().attempt(|| "open a pseudo-terminal".into());
        if stdout {
            command.stdout(copy(&programs)?);
        }
        if stderr {
            command.stderr(copy(&programs)?);
        }
        let mut resized = signal(SignalKind::window_change()).attempt(|| "listen for signals".into())?;
        let sized = copy(&ours)?;
        let resizing = tokio::spawn(async move {
            while resized.recv().await.is_some() {
                copy_size(&sized);
            }
        });
        let (end, ended) = channel();
        std::thread::spawn(move || {
            let mut ours = File::from(ours);
            let mut chunk = vec![0; 16 << 10];
            // The end of the last process that has the terminal is an error here.
            while let Ok(length) = ours.read(&mut chunk) {
                if length == 0 {
                    break;
                }
                progress.print_above(chunk.get(..length).unwrap_or_default());
            }
            let _ = end.send(());
        });
        Ok(Some(Self { ended, resizing }))
    }

    /// Waits until the output of the program that ended is printed.
    pub(crate) fn finish(self) {
        let _ = self.ended.recv_timeout(REST_TIMEOUT);
        self.resizing.abort();
    }
}

/// The two ends of a pseudo-terminal of the size of ours.
fn open_pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let programs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    // Our own terminal turns line ends into what it needs.
    let mut modes = tcgetattr(&programs)?;
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(&programs, OptionalActions::Now, &modes)?;
    copy_size(&ours);
    Ok((ours, programs))
}

fn copy_size(terminal: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(std::io::stderr()) {
        // A program that does not learn the size is no reason to end it.
        let _ = tcsetwinsize(terminal, size);
    }
}
