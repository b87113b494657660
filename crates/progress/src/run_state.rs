//! The state of a run, reduced from its events.

use std::collections::BTreeMap;

use rondel_events::{Event, Outcome, SpanId, Stream, Work};

/// How many of its last lines a span caches.
const MAX_CACHED_LINES: usize = 200;

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The parent span. Zero for a root.
    pub parent: SpanId,
    /// What kind of work.
    pub work: Work,
    /// A short title.
    pub name: String,
    /// Microseconds since the Unix epoch.
    pub started: u64,
    /// The outcome and the time of the end. `None` while it runs.
    pub ended: Option<(Outcome, u64)>,
    /// Its last lines of output.
    pub lines: Vec<String>,
    /// A number in the order of appearance, from one.
    pub number: usize,
    /// Units done and in all.
    pub progress: Option<(u64, u64)>,
    partial: String,
}

/// The state of a run.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    spans: BTreeMap<SpanId, Span>,
}

/// The change that an event made, for output that prints at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// A span began.
    Started(SpanId),
    /// Whole lines of output.
    Lines(SpanId, Stream, Vec<String>),
    /// A span ended. The lines are output without a line end.
    Ended(SpanId, Vec<String>),
    /// Nothing to print.
    Nothing,
}

impl RunState {
    /// Applies one event.
    pub fn apply(&mut self, event: Event) -> StateChange {
        match event {
            Event::Start { span, parent, work, name, at, .. } => {
                let number = self.spans.len() + 1;
                let fresh = Span {
                    parent,
                    work,
                    name,
                    started: at,
                    ended: None,
                    lines: Vec::new(),
                    number,
                    progress: None,
                    partial: String::new(),
                };
                self.spans.insert(span, fresh);
                StateChange::Started(span)
            }
            Event::Log { span, stream, text } => match self.spans.get_mut(&span) {
                Some(found) => {
                    let lines = found.append_text(&text);
                    if lines.is_empty() { StateChange::Nothing } else { StateChange::Lines(span, stream, lines) }
                }
                None => StateChange::Nothing,
            },
            Event::Waiting { .. } | Event::Running { .. } => StateChange::Nothing,
            Event::Progress { span, done, total, .. } => {
                if let Some(found) = self.spans.get_mut(&span) {
                    found.progress = Some((done, total));
                }
                StateChange::Nothing
            }
            Event::End { span, outcome, at } => match self.spans.get_mut(&span) {
                Some(found) if found.ended.is_none() => {
                    let rest = std::mem::take(&mut found.partial);
                    let rest = if rest.is_empty() { Vec::new() } else { vec![rest] };
                    found.append_lines(&rest);
                    found.ended = Some((outcome, at));
                    StateChange::Ended(span, rest)
                }
                _ => StateChange::Nothing,
            },
        }
    }

    /// A span.
    pub fn span(&self, id: SpanId) -> Option<&Span> {
        self.spans.get(&id)
    }

    /// Every span, in the order in which they were opened.
    pub fn spans(&self) -> impl Iterator<Item = (SpanId, &Span)> {
        self.spans.iter().map(|(id, span)| (*id, span))
    }

    /// How many processes ran, images were pulled, and results were cached.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for span in self.spans.values() {
            let ran = matches!(span.ended, Some((Outcome::Done | Outcome::Failed(_), _)));
            let cached = matches!(span.ended, Some((Outcome::Cached, _)));
            match span.work {
                Work::Exec if ran => totals.execs += 1,
                Work::Exec | Work::Function if cached => totals.cached += 1,
                Work::Pull if ran => totals.pulls += 1,
                _ => {}
            }
        }
        totals
    }
}

/// Counts over a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Processes that ran.
    pub execs: usize,
    /// Images that were pulled.
    pub pulls: usize,
    /// Processes and function calls whose results were cached.
    pub cached: usize,
}

impl Span {
    fn append_text(&mut self, text: &str) -> Vec<String> {
        self.partial.push_str(text);
        let mut lines: Vec<String> = Vec::new();
        while let Some(end) = self.partial.find('\n') {
            let line = self.partial[..end].trim_end_matches('\r').to_owned();
            self.partial.drain(..=end);
            lines.push(line);
        }
        self.append_lines(&lines);
        lines
    }

    fn append_lines(&mut self, lines: &[String]) {
        self.lines.extend_from_slice(lines);
        let extra = self.lines.len().saturating_sub(MAX_CACHED_LINES);
        self.lines.drain(..extra);
    }

    /// How long it took or takes, in microseconds.
    pub fn duration(&self, now: u64) -> u64 {
        self.ended.as_ref().map_or(now, |(_, at)| *at).saturating_sub(self.started)
    }
}
