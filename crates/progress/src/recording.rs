//! The format of a recorded run: JSON lines that are only appended.
//!
//! The first line is a [`Header`]. Each further line is an event as clients receive it, the time at
//! which the next events were received (`{"at":…}`), or the end (`{"end":…,"at":…}`). Times are
//! microseconds since the Unix epoch.

use rondel_events::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ending::Ending;

/// The version of the format.
const FORMAT: u64 = 1;
/// From this size on, output and progress are left out, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// From this size on, everything is left out, in bytes.
const MAX_ALL_BYTES: usize = 32 << 20;
/// The longest run that is read, in microseconds: a year. A recording may come from someone else,
/// and replay takes time for time.
const MAX_RUN_MICROS: u64 = 366 * 24 * 3600 * 1_000_000;
/// Events without a time of their own get it as exactly as this, in microseconds.
const CLOCK_STEP_MICROS: u64 = 10_000;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub recording: u64,
    /// The version of Rondel.
    pub version: String,
    /// The command, without its arguments.
    pub command: String,
    /// When it was started.
    pub began: u64,
}

impl Header {
    /// The header of a new recording.
    pub fn new(version: &str, command: &str, began: u64) -> Self {
        Self { recording: FORMAT, version: version.to_owned(), command: command.to_owned(), began }
    }
}

/// Turns a run into the lines of its recording.
#[derive(Debug)]
pub struct Encoder {
    bytes: usize,
    clock: u64,
    is_cut: bool,
}

impl Encoder {
    /// An encoder, and the first line.
    pub fn new(header: &Header) -> (Self, String) {
        let mut encoder = Self { bytes: 0, clock: header.began, is_cut: false };
        let line = encoder.line(header);
        (encoder, line)
    }

    /// The lines for one event that was received at `now`. Empty when the recording is full.
    pub fn event(&mut self, event: &Event, now: u64) -> String {
        let is_detail = matches!(event, Event::Log { .. } | Event::Progress { .. });
        if self.bytes > if is_detail { MAX_BYTES } else { MAX_ALL_BYTES } {
            if std::mem::replace(&mut self.is_cut, true) {
                return String::new();
            }
            return self.line(&json!({"cut": true}));
        }
        let mut lines = String::new();
        match time(event) {
            Some(at) => self.clock = self.clock.max(at),
            None if now >= self.clock + CLOCK_STEP_MICROS => {
                self.clock = now;
                lines = self.line(&json!({"at": now}));
            }
            None => {}
        }
        lines + &self.line(event)
    }

    /// The last line.
    pub fn end(&mut self, ending: Ending, now: u64) -> String {
        self.line(&end_value(ending, now))
    }

    fn line(&mut self, value: &impl Serialize) -> String {
        let line = serde_json::to_string(value).map(|line| line + "\n").unwrap_or_default();
        self.bytes += line.len();
        line
    }
}

/// The last line of a recording, and of events as JSON: how the run ended, and when.
pub(crate) fn end_value(ending: Ending, now: u64) -> Value {
    json!({"end": ending.name(), "at": now})
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The header.
    pub header: Header,
    /// The events, each with the time at which it was received, in that order.
    pub events: Vec<(u64, Event)>,
    /// How and when the run ended. `None` if the command was killed.
    pub end: Option<(Ending, u64)>,
    /// Output was left out because there was too much.
    pub is_cut: bool,
}

/// A line that is not one of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from one.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for BadLine {}

impl Recording {
    /// Reads a recording. A last line without an end is what a killed command left, and is ignored.
    ///
    /// # Errors
    /// The first line that is not one of a recording.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut lines = text.split_inclusive('\n').enumerate().map(|(at, line)| (at + 1, line));
        let bad = |line: usize, reason: String| BadLine { line, reason };
        let first = lines.next().map(|(_, line)| line).unwrap_or_default();
        let header: Header = serde_json::from_str(first)
            .map_err(|_| bad(1, "this is not the beginning of a recording of `rondel`".to_owned()))?;
        if header.recording != FORMAT {
            return Err(bad(
                1,
                format!("the recording has the format {}, and this program reads {FORMAT}", header.recording),
            ));
        }
        let Some(last) = header.began.checked_add(MAX_RUN_MICROS) else {
            return Err(bad(1, "its time is none of a clock".to_owned()));
        };
        let mut clock = header.began;
        let mut recording = Self { header, events: Vec::new(), end: None, is_cut: false };
        for (number, line) in lines {
            if !line.ends_with('\n') {
                break;
            }
            let value: Value = serde_json::from_str(line.trim_end()).map_err(|e| bad(number, reason(&e)))?;
            let at = value["at"].as_u64();
            if at.is_some_and(|at| at > last) {
                return Err(bad(number, "its time is more than a year after the beginning".to_owned()));
            }
            if value.get("event").is_some() {
                let event: Event = serde_json::from_value(value).map_err(|e| bad(number, reason(&e)))?;
                clock = clock.max(time(&event).unwrap_or(0));
                recording.events.push((clock, event));
            } else if let Some(end) = value["end"].as_str() {
                recording.end = Some((Ending::from_name(end), at.unwrap_or(clock)));
            } else if value["cut"].as_bool().is_some() {
                recording.is_cut = true;
            } else if let Some(at) = at {
                clock = clock.max(at);
            } else {
                return Err(bad(number, "this is no event".to_owned()));
            }
        }
        Ok(recording)
    }

    /// How the run ended.
    pub fn ending(&self) -> Ending {
        self.end.map_or(Ending::Aborted, |(ending, _)| ending)
    }

    /// When the run ended: the time of its last event if the command was killed.
    pub fn ended(&self) -> u64 {
        let last = self.events.last().map_or(self.header.began, |(at, _)| *at);
        self.end.map_or(last, |(_, at)| at.max(last))
    }
}

/// What is wrong with one line, without the position that the parser counts from the line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The time that the event itself tells.
fn time(event: &Event) -> Option<u64> {
    match event {
        Event::Start { at, .. } | Event::End { at, .. } | Event::Waiting { at, .. } | Event::Running { at, .. } => {
            Some(*at)
        }
        Event::Log { .. } | Event::Progress { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use rondel_events::{Outcome, SpanId, Stream, Work};

    use super::*;

    fn start(at: u64) -> Event {
        Event::Start {
            span: SpanId(1),
            parent: SpanId(0),
            work: Work::Exec,
            name: "exec a".into(),
            internal: false,
            at,
        }
    }

    fn log(text: &str) -> Event {
        Event::Log { span: SpanId(1), stream: Stream::Stdout, text: text.into() }
    }

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let header = Header::new("0.1.0", "call", 1_000);
        let (mut encoder, mut text) = Encoder::new(&header);
        let end = Event::End { span: SpanId(1), outcome: Outcome::Done, at: 900_000 };
        for (event, now) in [(start(2_000), 2_500), (log("a"), 3_000), (log("b"), 50_000), (end.clone(), 900_000)] {
            text.push_str(&encoder.event(&event, now));
        }
        text.push_str(&encoder.end(Ending::Done, 950_000));
        let recording = Recording::parse(&text).expect("it is a recording");
        let want = [(2_000, start(2_000)), (2_000, log("a")), (50_000, log("b")), (900_000, end)];
        assert_eq!(recording.events, want);
        assert_eq!((recording.header, recording.end), (header, Some((Ending::Done, 950_000))));
    }

    #[test]
    fn output_is_bounded_and_steps_go_on() {
        let (mut encoder, _) = Encoder::new(&Header::new("", "", 0));
        let big = "x".repeat(1 << 20);
        let text: String = (0..40).map(|_| encoder.event(&log(&big), 0)).collect();
        assert!(text.len() < MAX_BYTES + (2 << 20) && text.ends_with("{\"cut\":true}\n"));
        assert!(encoder.event(&start(0), 0).contains("exec a"));
    }

    #[test]
    fn damaged_and_foreign_files_are_named_by_line() {
        let header = "{\"recording\":1,\"version\":\"\",\"command\":\"\",\"began\":0}\n";
        let check = |text: &str, want: &str| {
            let found = Recording::parse(text).map(|_| String::new()).unwrap_or_else(|bad| bad.to_string());
            assert!(found.starts_with(want), "{found}");
        };
        check("", "line 1: this is not the beginning");
        check("hello\n", "line 1: this is not the beginning");
        check(&header.replace(":1,", ":7,"), "line 1: the recording has the format 7");
        check(&format!("{header}{{\"at\":1}}\n{{\"ev\n"), "line 3: EOF while parsing a string");
        check(&format!("{header}{{\"event\":\"nonsense\"}}\n"), "line 2: unknown variant `nonsense`");
        check(&format!("{header}{{\"x\":1}}\n"), "line 2: this is no event");
        check(&format!("{header}{{\"at\":{}}}\n", u64::MAX), "line 2: its time is more than a year after");
        check(&format!("{header}{{\"end\":\"done\",\"at\":{}}}\n", u64::MAX), "line 2: its time is more than");
        check(&header.replace("\"began\":0", &format!("\"began\":{}", u64::MAX)), "line 1: its time is none");
        // What a killed command left.
        check(&format!("{header}{{\"at\":1}}\n{{\"ev"), "");
    }
}
