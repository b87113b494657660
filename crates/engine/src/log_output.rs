//! The log for operators: where its lines go, in which format, and what is redacted in them.
//!
//! *Invariants.* Every line passes [`LogOutput`], which redacts the secrets of all live sessions.
//! Lines are written at once, so that none is lost when the engine is killed. A log that cannot be
//! written never stops the engine.

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_session::Session;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::rotating_file::{MAX_FILE_BYTES, OnOpen, RotatingFile};

/// How many lines may wait for standard error. Of more, the newest are left to the file.
const MAX_STDERR_LINES: usize = 4096;
/// How long the end of the engine waits for standard error to be read.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);
/// How much is kept for the log file until it is opened, in bytes.
const MAX_EARLY_BYTES: usize = 256 << 10;

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A time, a level, a message and `name=value` fields.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(Fault::user(format!("`{text}` is no log format")).with_hint("use `human` or `json`")),
        }
    }
}

/// Writes log lines to standard error and to a file. Cheap to clone.
#[derive(Clone)]
pub struct LogOutput(Arc<Mutex<OutputState>>);

struct OutputState {
    stderr: Option<StderrWriter>,
    file: Option<RotatingFile>,
    /// Lines for the file from before it was opened.
    early: Vec<u8>,
    sessions: Vec<Weak<Session>>,
}

impl Default for LogOutput {
    fn default() -> Self {
        let stderr = StderrWriter::start();
        let state = OutputState { stderr, file: None, early: Vec::new(), sessions: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl LogOutput {
    /// Makes `tracing` write here, with the levels that `filter` selects.
    ///
    /// # Errors
    /// When `filter` is malformed.
    pub fn install(&self, format: LogFormat, filter: &str) -> Result<()> {
        let filter = EnvFilter::builder().parse(filter);
        let filter = filter.attempt(|| "read the filter of the engine's log".into())?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(self.clone()).with_ansi(false);
        // A second subscriber in one process is refused. The first one goes on.
        let _ = match format {
            LogFormat::Human => log.try_init(),
            LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        };
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, place, reason = panic.payload_as_str().unwrap_or_default(), "panicked");
        }));
        Ok(())
    }

    /// Opens the log file at `path`, and writes the lines into it that came before. A file that
    /// cannot be opened leaves standard error alone.
    pub(crate) fn open_file(&self, path: &Path) {
        let mut state = self.state();
        let early = std::mem::take(&mut state.early);
        if let Ok(mut file) = RotatingFile::open(path, MAX_FILE_BYTES) {
            let _ = file.write_line(&early);
            state.file = Some(file);
        }
    }

    /// Writes to the file alone from now on. `on_open` is called with the file, and with each
    /// further one after a rotation; it is called with `/dev/null` when there is no file.
    pub fn leave_stderr(&self, on_open: OnOpen) {
        let mut state = self.state();
        if let Some(stderr) = state.stderr.take() {
            stderr.finish();
        }
        match &mut state.file {
            Some(file) => file.follow(on_open),
            None => {
                if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
                    on_open(&null);
                }
            }
        }
    }

    /// Waits a moment until standard error has every line. The log goes on in the file alone.
    pub fn finish(&self) {
        let stderr = self.state().stderr.take();
        if let Some(stderr) = stderr {
            stderr.finish();
        }
    }

    /// Redacts the secrets of `session` for as long as it lives.
    pub(crate) fn redact(&self, session: &Arc<Session>) {
        let mut state = self.state();
        state.sessions.retain(|session| session.strong_count() > 0);
        state.sessions.push(Arc::downgrade(session));
    }

    fn state(&self) -> MutexGuard<'_, OutputState> {
        lock(&self.0)
    }
}

impl OutputState {
    fn write_line(&mut self, line: &[u8]) {
        if let Some(stderr) = &self.stderr {
            // A full queue belongs to a standard error that is not read.
            let _ = stderr.lines.try_send(line.to_vec());
        }
        match &mut self.file {
            Some(file) => _ = file.write_line(line),
            None if self.early.len() + line.len() <= MAX_EARLY_BYTES => self.early.extend_from_slice(line),
            None => {}
        }
    }

    /// `line` without the secrets of live sessions.
    fn redact(&self, line: &[u8]) -> Vec<u8> {
        let mut clean = line.to_vec();
        for secrets in self.sessions.iter().filter_map(Weak::upgrade).filter_map(|session| session.secrets.redaction())
        {
            clean = secrets.redact(&String::from_utf8_lossy(&clean)).into_bytes();
        }
        clean
    }
}

/// Writes to standard error in a thread of its own: a pipe that is not read never stops the engine.
struct StderrWriter {
    lines: SyncSender<Vec<u8>>,
    done: Receiver<()>,
}

impl StderrWriter {
    /// A writer, or `None` if the thread cannot be started.
    fn start() -> Option<Self> {
        let (lines, queue) = sync_channel::<Vec<u8>>(MAX_STDERR_LINES);
        let (done_sender, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name("rondel-stderr".to_owned());
        let write = move || {
            for line in queue {
                let _ = io::stderr().write_all(&line);
            }
            let _ = done_sender.send(());
        };
        thread.spawn(write).ok()?;
        Some(Self { lines, done })
    }

    /// Waits until every line is written, but not for long.
    fn finish(self) {
        drop(self.lines);
        let _ = self.done.recv_timeout(STDERR_TIMEOUT);
    }
}

impl Write for LogOutput {
    /// Writes one whole line: `tracing` formats an event and writes it at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        let clean = state.redact(line);
        state.write_line(&clean);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
