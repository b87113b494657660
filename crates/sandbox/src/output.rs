//! The standard streams of a container, and waiting for its end.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::process::{Exit, OutputSink};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::sealed_program::{NotExecuted, ReportPipe, StartReport};

const PIECE_BYTES: usize = 64 * 1024;

/// A pipe from a process into a sink. The engine's end does not block.
pub(crate) struct Stream {
    reader: Option<File>,
    sink: OutputSink,
}

impl Stream {
    /// Makes a pipe. Returns the process's end too, which belongs to the process's user, who may
    /// reopen it.
    ///
    /// # Errors
    /// When the kernel makes no pipe.
    pub(crate) fn new(sink: OutputSink, user: u32) -> Result<(Self, OwnedFd)> {
        let make = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
            rustix::fs::fchown(&writer, Some(rustix::fs::Uid::from_raw(user)), None)?;
            Ok::<_, Errno>((reader, writer))
        };
        let (reader, writer) = make().attempt(|| "make a pipe for the output of the container".into())?;
        Ok((Self { reader: Some(File::from(reader)), sink }, writer))
    }

    /// Delivers the bytes that are in the pipe now.
    fn deliver(&mut self, piece: &mut [u8]) {
        while let Some(reader) = &mut self.reader {
            match reader.read(piece) {
                Ok(0) => self.reader = None,
                Ok(length) => {
                    if let Some(bytes) = piece.get(..length) {
                        (self.sink)(bytes);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.reader = None,
            }
        }
    }
}

/// A file in memory with these bytes, positioned at the start.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn input(bytes: &[u8], user: u32) -> Result<OwnedFd> {
    let what = || "keep the standard input of the container in memory".to_owned();
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC).attempt(what)?);
    file.write_all(bytes).attempt(what)?;
    file.rewind().attempt(what)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).attempt(what)?;
    rustix::fs::fchown(&file, Some(rustix::fs::Uid::from_raw(user)), None).attempt(what)?;
    Ok(file.into())
}

/// How a container ended.
pub(crate) enum Ended {
    /// The command ran.
    Exit(Exit),
    /// The command could not be executed.
    NotExecuted(NotExecuted),
}

/// Delivers output until the container has ended and all output is delivered. `running` is called
/// when the command runs.
///
/// # Errors
/// When the kernel reports no exit status, or `running` fails.
pub(crate) fn watch(
    pidfd: BorrowedFd<'_>,
    mut streams: [Stream; 2],
    report: ReportPipe,
    running: impl FnOnce() -> Result<()>,
) -> Result<Ended> {
    let mut start = StartState { report: Some(report), running: Some(running), failure: None };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let (ended, reported, ready) = {
            let mut polled = vec![PollFd::new(&pidfd, PollFlags::IN)];
            polled.extend(start.report.as_ref().map(|report| PollFd::new(report, PollFlags::IN)));
            let before = polled.len();
            polled.extend(
                streams
                    .iter()
                    .filter_map(|stream| stream.reader.as_ref())
                    .map(|reader| PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)),
            );
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).attempt(|| "wait for the container".into()),
            }
            let is_ready = |polled: Option<&PollFd<'_>>| polled.is_some_and(|polled| !polled.revents().is_empty());
            (is_ready(polled.first()), before > 1 && is_ready(polled.get(1)), polled.len() > before)
        };
        if reported {
            start.read()?;
        }
        if ended {
            break;
        }
        if ready {
            streams.iter_mut().for_each(|stream| stream.deliver(&mut piece));
        }
    }
    let exit = wait(pidfd)?;
    // ORDER: with pid 1 every process of the container has ended, so the pipes hold all remaining
    // output.
    streams.iter_mut().for_each(|stream| stream.deliver(&mut piece));
    start.read()?;
    Ok(start.failure.map_or(Ended::Exit(exit), Ended::NotExecuted))
}

/// The state of a command's start, as the report pipe tells it.
struct StartState<F> {
    report: Option<ReportPipe>,
    running: Option<F>,
    failure: Option<NotExecuted>,
}

impl<F: FnOnce() -> Result<()>> StartState<F> {
    fn read(&mut self) -> Result<()> {
        match self.report.as_mut().map(ReportPipe::read) {
            None | Some(StartReport::Nothing) => return Ok(()),
            Some(StartReport::Running) => {
                if let Some(running) = self.running.take() {
                    running()?;
                }
            }
            Some(StartReport::NotExecuted(failure)) => self.failure = Some(failure),
        }
        self.report = None;
        Ok(())
    }
}

/// Waits for the end of pid 1, and so of every process of the container.
///
/// # Errors
/// When the kernel reports no exit status.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    let status = loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other.attempt(|| "wait for the end of the container".into())?,
        }
    };
    let code = status
        .and_then(|status| status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)));
    code.map(|code| Exit { code, limit: None })
        .ok_or_else(|| Fault::bug("the kernel reported neither an exit code nor a signal"))
}
