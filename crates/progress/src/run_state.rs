//! The state of a run, reduced from its events.
//!
//! *Invariants.* [`RunState::apply`] depends on nothing but the events and the times that it is
//! given. Memory is bounded by the work that runs at one time: of what has ended, some spans are
//! kept to be shown, and the rest is counted.

use std::collections::{BTreeMap, VecDeque};

use rondel_events::{Event, Outcome, SpanId, Stream, Work};

use crate::line::Line;
use crate::program_output::ProgramOutput;
use crate::transfer::Transfer;

/// Work that took less is counted and not shown, in microseconds.
pub const SHORT_MICROS: u64 = 100_000;
/// Work that no user wrote is shown when it takes longer, if nothing else is shown for it.
pub const LONG_MICROS: u64 = 1_000_000;
/// How many spans that ended well are kept.
const MAX_KEPT: usize = 400;
/// How many spans that failed are kept.
const MAX_FAILED: usize = 50;
/// How many of its last lines a running span has.
const MAX_LINES: usize = 20;
/// The longest line of those, in columns.
const MAX_LINE_COLUMNS: usize = 500;
/// The longest title, in columns.
const MAX_NAME_COLUMNS: usize = 200;
/// The longest error, in bytes.
const MAX_ERROR_BYTES: usize = 300;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Work that users wrote. What was cached or short is counted.
    #[default]
    Normal,
    /// Also what was cached or short.
    Verbose,
    /// Also work that no user wrote.
    All,
}

/// What a span does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It runs.
    Running,
    /// It waits for this.
    Waiting(String),
    /// It ended, at this time.
    Ended(Outcome, u64),
}

/// One piece of work.
pub struct Span {
    /// The parent span. Zero for a root.
    pub parent: SpanId,
    /// The nearest span above that is shown with its output. Zero if there is none.
    pub owner: SpanId,
    /// What kind of work.
    pub work: Work,
    /// A short title.
    pub name: String,
    /// No user wrote this work, and so it is not shown.
    pub internal: bool,
    /// Microseconds since the Unix epoch.
    pub started: u64,
    /// What it does.
    pub phase: Phase,
    /// How much is done.
    pub transfer: Option<Transfer>,
    /// Work below it failed.
    pub has_failed_child: bool,
    /// Work below it was cancelled.
    has_cancelled_child: bool,
    output: Option<Box<Output>>,
}

#[derive(Default)]
struct Output {
    program: ProgramOutput,
    lines: VecDeque<Line>,
    changed: u64,
}

/// The state of a run.
#[derive(Default)]
pub struct RunState {
    verbosity: Verbosity,
    spans: BTreeMap<SpanId, Span>,
    /// Spans that ended and are kept, in the order of their end.
    kept: VecDeque<SpanId>,
    failed_kept: usize,
    counts: Counts,
    totals: Totals,
    began: Option<u64>,
}

/// How the shown work of a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Done now.
    pub done: usize,
    /// Cached.
    pub cached: usize,
    /// Failed. Work that failed because work below it failed is not counted.
    pub failed: usize,
    /// Cancelled. Work above cancelled work is not counted.
    pub cancelled: usize,
}

/// Counts over a run, by the kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Processes that ran.
    pub execs: usize,
    /// Images that were pulled.
    pub pulls: usize,
    /// Processes and function calls whose results were cached.
    pub cached: usize,
}

/// The change that an event made, for output that prints at once.
pub enum Change {
    /// A span began.
    Started(SpanId),
    /// Whole lines of the output that is shown with this span.
    Lines(SpanId, Vec<Line>),
    /// A span ended. It is not part of the state any more unless it is kept.
    Ended(SpanId, EndedSpan),
    /// Nothing to print.
    Nothing,
}

/// A span at its end.
pub struct EndedSpan {
    /// A short title.
    pub name: String,
    /// No user wrote this work.
    pub internal: bool,
    /// The nearest span above that is shown. Zero if there is none.
    pub owner: SpanId,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Work below it failed.
    pub has_failed_child: bool,
    /// How much was transferred.
    pub transfer: Option<Transfer>,
    /// The rest of its output: a line without an end.
    pub rest: Option<Line>,
}

impl RunState {
    /// The state of a run before its first event. `began` is when the command was started, in
    /// microseconds since the Unix epoch; `None` stands for the first event.
    pub fn new(verbosity: Verbosity, began: Option<u64>) -> Self {
        Self { verbosity, began, ..Self::default() }
    }

    /// Applies one event, which was received at `now`.
    pub fn apply(&mut self, event: &Event, now: u64) -> Change {
        self.began.get_or_insert(now);
        match event {
            Event::Start { span, parent, work, name, internal, at } => {
                let fresh = Span {
                    parent: *parent,
                    owner: self.owner(*parent),
                    work: *work,
                    name: crate::line::prefix(name, MAX_NAME_COLUMNS).to_owned(),
                    internal: *internal && self.verbosity < Verbosity::All,
                    started: *at,
                    phase: Phase::Running,
                    transfer: None,
                    has_failed_child: false,
                    has_cancelled_child: false,
                    output: None,
                };
                // A service may run until after the end of the run.
                self.totals.execs += usize::from(*work == Work::Service);
                self.spans.insert(*span, fresh);
                Change::Started(*span)
            }
            Event::Waiting { span, on, .. } => self.set_phase(*span, Phase::Waiting(on.clone())),
            Event::Running { span, .. } => self.set_phase(*span, Phase::Running),
            Event::Log { span, stream, text } => self.log(*span, *stream, text, now),
            Event::Progress { span, done, total, unit } => {
                if let Some(span) = self.spans.get_mut(span).filter(|span| span.is_running()) {
                    match &mut span.transfer {
                        Some(transfer) => transfer.update(*done, *total, *unit, now),
                        none => *none = Some(Transfer::new(*done, *total, *unit, now)),
                    }
                }
                Change::Nothing
            }
            Event::End { span, outcome, at } => self.end(*span, outcome, *at),
        }
    }

    /// The span that shows the work and the output of the children of `parent`.
    fn owner(&self, parent: SpanId) -> SpanId {
        match self.spans.get(&parent) {
            Some(span) if span.internal => span.owner,
            Some(_) => parent,
            None => SpanId::default(),
        }
    }

    fn set_phase(&mut self, id: SpanId, phase: Phase) -> Change {
        if let Some(span) = self.spans.get_mut(&id).filter(|span| span.is_running()) {
            span.phase = phase;
        }
        Change::Nothing
    }

    fn log(&mut self, id: SpanId, stream: Stream, text: &str, now: u64) -> Change {
        let shown = match self.spans.get(&id) {
            Some(span) if span.internal && self.spans.contains_key(&span.owner) => span.owner,
            _ => id,
        };
        let Some(span) = self.spans.get_mut(&shown).filter(|span| span.is_running()) else { return Change::Nothing };
        let output = span.output.get_or_insert_default();
        output.changed = now;
        let mut lines = output.program.write(text);
        if stream == Stream::Note {
            lines.extend(output.program.finish());
        }
        output.keep(&lines);
        if lines.is_empty() { Change::Nothing } else { Change::Lines(shown, lines) }
    }

    fn end(&mut self, id: SpanId, outcome: &Outcome, at: u64) -> Change {
        let Some(span) = self.spans.get_mut(&id).filter(|span| span.is_running()) else { return Change::Nothing };
        let rest = span.output.as_mut().and_then(|output| {
            let rest = output.program.finish();
            output.keep(rest.as_slice());
            rest
        });
        let outcome = match outcome {
            Outcome::Failed(why) => Outcome::Failed(brief(why)),
            other => other.clone(),
        };
        let ended = EndedSpan {
            name: span.name.clone(),
            internal: span.internal,
            owner: span.owner,
            took: at.saturating_sub(span.started),
            has_failed_child: span.has_failed_child,
            transfer: span.transfer,
            outcome,
            rest,
        };
        span.phase = Phase::Ended(ended.outcome.clone(), at);
        let (owner, parent, work) = (span.owner, span.parent, span.work);
        let counts_as_cancelled = ended.outcome == Outcome::Cancelled && !span.has_cancelled_child;
        let failed = matches!(ended.outcome, Outcome::Failed(_));
        if !failed {
            span.output = None;
        }
        let is_shown = !ended.internal || (failed && ended.owner == SpanId::default());
        self.count(&ended, work, is_shown);
        if counts_as_cancelled && is_shown {
            self.counts.cancelled += 1;
        }
        if ended.outcome == Outcome::Cancelled
            && let Some(above) = self.spans.get_mut(&owner)
        {
            above.has_cancelled_child = true;
        }
        if failed && is_shown {
            self.mark_failed(parent);
        }
        if is_shown && self.is_kept(&ended) {
            self.keep(id, failed);
        } else {
            self.spans.remove(&id);
        }
        Change::Ended(id, ended)
    }

    /// Marks the shown span above a failed one.
    fn mark_failed(&mut self, parent: SpanId) {
        let mut above = parent;
        while let Some(span) = self.spans.get_mut(&above) {
            span.has_failed_child = true;
            if !span.internal {
                break;
            }
            above = span.parent;
        }
    }

    fn count(&mut self, ended: &EndedSpan, work: Work, is_shown: bool) {
        let ran = matches!(ended.outcome, Outcome::Done | Outcome::Failed(_));
        match work {
            Work::Exec if ran => self.totals.execs += 1,
            Work::Pull if ran => self.totals.pulls += 1,
            Work::Exec | Work::Function if ended.outcome == Outcome::Cached => self.totals.cached += 1,
            _ => {}
        }
        if is_shown {
            match ended.outcome {
                Outcome::Done => self.counts.done += 1,
                Outcome::Cached => self.counts.cached += 1,
                Outcome::Failed(_) if !ended.has_failed_child => self.counts.failed += 1,
                Outcome::Failed(_) | Outcome::Cancelled => {}
            }
        }
    }

    fn is_kept(&self, ended: &EndedSpan) -> bool {
        match ended.outcome {
            Outcome::Failed(_) => self.failed_kept < MAX_FAILED,
            Outcome::Cached => self.verbosity >= Verbosity::Verbose,
            Outcome::Done | Outcome::Cancelled => ended.took >= SHORT_MICROS || self.verbosity >= Verbosity::Verbose,
        }
    }

    fn keep(&mut self, id: SpanId, failed: bool) {
        if failed {
            self.failed_kept += 1;
            return;
        }
        self.kept.push_back(id);
        if self.kept.len() > MAX_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.spans.remove(&oldest);
        }
    }

    /// A span that runs or is kept.
    pub fn span(&self, id: SpanId) -> Option<&Span> {
        self.spans.get(&id)
    }

    /// The spans that run or are kept, in the order in which they were opened.
    pub fn spans(&self) -> impl Iterator<Item = (SpanId, &Span)> {
        self.spans.iter().map(|(id, span)| (*id, span))
    }

    /// How the shown work ended so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many processes ran, images were pulled, and results were cached.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How much is shown.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// How long the run has taken until `now`, in microseconds.
    pub fn elapsed(&self, now: u64) -> u64 {
        self.began.map_or(0, |began| now.saturating_sub(began))
    }
}

impl Span {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Ended(..))
    }

    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        matches!(self.phase, Phase::Ended(Outcome::Failed(_), _))
    }

    /// How long it took or has taken, in microseconds.
    pub fn took(&self, now: u64) -> u64 {
        let end = match self.phase {
            Phase::Ended(_, at) => at,
            _ => now,
        };
        end.saturating_sub(self.started)
    }

    /// The last `count` lines of its output, the incomplete one included.
    pub fn last_lines(&self, count: usize) -> Vec<Line> {
        let Some(output) = &self.output else { return Vec::new() };
        let incomplete = output.program.incomplete().map(|line| line.clip(MAX_LINE_COLUMNS));
        let complete = count.saturating_sub(usize::from(incomplete.is_some())).min(output.lines.len());
        let lines = output.lines.iter().skip(output.lines.len() - complete).cloned();
        lines.chain(incomplete).take(count).collect()
    }

    /// When it last printed something, in microseconds since the Unix epoch.
    pub fn printed_at(&self) -> Option<u64> {
        self.output.as_ref().map(|output| output.changed)
    }
}

impl Output {
    fn keep(&mut self, lines: &[Line]) {
        let fresh = lines.get(lines.len().saturating_sub(MAX_LINES)..).unwrap_or_default();
        self.lines.extend(fresh.iter().map(|line| line.clip(MAX_LINE_COLUMNS)));
        self.lines.drain(..self.lines.len().saturating_sub(MAX_LINES));
    }
}

/// The first line of an error, of bounded length.
fn brief(why: &str) -> String {
    let line = why.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let end = (0..=MAX_ERROR_BYTES.min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    line.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
