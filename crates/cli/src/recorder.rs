//! Records the events of each run in the state directory, for `rondel trace`.
//!
//! *Invariants.* A recording is a file that only this user can read. A run that emits no event has
//! none. Errors of recording never reach the run.

use std::fs::{DirBuilder, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rondel_events::Event;
use rondel_progress::Ending;
use rondel_progress::recording::{Encoder, Header};

/// The directory of recordings in the state directory.
const DIRECTORY: &str = "traces";
/// How many recordings are kept.
const MAX_RUNS: usize = 20;
/// The last second that can be written, in the year 9999.
const LAST_TIME: Duration = Duration::from_secs(253_402_300_799);
/// What is written at a time, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// The recording of one run.
pub(crate) struct Recorder {
    state_dir: PathBuf,
    header: Header,
    file: Option<(BufWriter<File>, Encoder)>,
    has_failed: bool,
}

impl Recorder {
    /// A recording in `state_dir`, whose file is made with the first event.
    pub(crate) fn new(state_dir: &Path, command: &str, began: u64) -> Self {
        let header = Header::new(env!("CARGO_PKG_VERSION"), command, began);
        Self { state_dir: state_dir.to_owned(), header, file: None, has_failed: false }
    }

    /// Records an event that was received at `now`.
    pub(crate) fn event(&mut self, event: &Event, now: u64) {
        self.write(|encoder| encoder.event(event, now));
    }

    /// Records the end of the run.
    pub(crate) fn end(&mut self, ending: Ending, now: u64) {
        if self.file.is_some() {
            self.write(|encoder| encoder.end(ending, now));
            self.flush();
        }
    }

    /// Writes what is in memory.
    pub(crate) fn flush(&mut self) {
        if let Some((file, _)) = &mut self.file {
            self.has_failed |= file.flush().is_err();
        }
    }

    fn write(&mut self, lines: impl FnOnce(&mut Encoder) -> String) {
        if self.has_failed {
            return;
        }
        if self.file.is_none() {
            self.file = self.open().ok();
        }
        let written = self.file.as_mut().map(|(file, encoder)| file.write_all(lines(encoder).as_bytes()));
        self.has_failed = !matches!(written, Some(Ok(())));
    }

    fn open(&self) -> std::io::Result<(BufWriter<File>, Encoder)> {
        let directory = self.state_dir.join(DIRECTORY);
        if !directory.is_dir() {
            DirBuilder::new().mode(0o700).create(&directory)?;
        }
        remove_old(&directory);
        let path = recording_of_this_process(&self.state_dir, self.header.began);
        let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
        let (encoder, first) = Encoder::new(&self.header);
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        file.write_all(first.as_bytes())?;
        Ok((file, encoder))
    }
}

/// The file of the recording of this process, if there is one. `began` is when its command was
/// started.
pub(crate) fn recording_of_this_process(state_dir: &Path, began: u64) -> PathBuf {
    state_dir.join(DIRECTORY).join(format!("{}.jsonl", run_name(began)))
}

/// The recordings in the state directory: names of runs with their files, the newest first.
pub(crate) fn recordings(state_dir: &Path) -> Vec<(String, PathBuf)> {
    recordings_in(&state_dir.join(DIRECTORY))
}

fn recordings_in(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.to_owned();
        Some((name, path))
    });
    let mut found: Vec<_> = named.collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found
}

/// Makes room for one more recording.
fn remove_old(directory: &Path) {
    for (_, path) in recordings_in(directory).into_iter().skip(MAX_RUNS - 1) {
        // Another process may have removed it.
        let _ = std::fs::remove_file(path);
    }
}

/// The name of the run of this process: when it began, in UTC, and its process.
fn run_name(began: u64) -> String {
    format!("{}-{}", timestamp(began).replace([':', '-'], "").replace(' ', "-"), std::process::id())
}

/// A time in UTC, from microseconds since the Unix epoch.
pub(crate) fn timestamp(micros: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(micros).min(LAST_TIME);
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', "")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rondel_events::{SpanId, Work};
    use rondel_progress::recording::Recording;

    use super::*;

    fn start() -> Event {
        let (span, parent) = (SpanId(1), SpanId(0));
        Event::Start { span, parent, work: Work::Exec, name: "exec a".into(), internal: false, at: 1 }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_798_761_599, "2026-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (u64::MAX / 1_000_000, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(timestamp(seconds * 1_000_000), want);
        }
    }

    #[test]
    fn a_run_is_recorded_for_this_user_alone_and_old_ones_go() {
        let state = tempfile::tempdir().expect("a directory");
        let mut silent = Recorder::new(state.path(), "call", 1);
        silent.end(Ending::Done, 2);
        assert!(!state.path().join(DIRECTORY).exists(), "a run without events leaves nothing");
        for run in 0..MAX_RUNS as u64 + 5 {
            let mut recorder = Recorder::new(state.path(), "call", run * 1_000_000);
            recorder.event(&start(), 1);
            recorder.end(Ending::Done, 2);
        }
        let found = recordings(state.path());
        assert_eq!(found.len(), MAX_RUNS);
        assert!(found[0].0.starts_with("19700101-000024-"), "{}", found[0].0);
        let mode = |path: &Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
        assert_eq!((mode(&found[0].1), mode(&state.path().join(DIRECTORY))), (0o600, 0o700));
        let text = std::fs::read_to_string(&found[0].1).expect("it is text");
        let recording = Recording::parse(&text).expect("it is a recording");
        assert_eq!((recording.events.len(), recording.ending()), (1, Ending::Done));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_no_error() {
        let mut recorder = Recorder::new(Path::new("/nonexistent/state"), "call", 1);
        recorder.event(&start(), 1);
        recorder.end(Ending::Done, 2);
    }
}
