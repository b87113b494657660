//! Progress as lines, for logs: numbered steps with their output and times.

use std::collections::BTreeMap;

use rondel_events::{Event, Outcome, SpanId};

use crate::final_frame::outcome_word;
use crate::line::Line;
use crate::log_groups::LogGroups;
use crate::run_state::{Change, EndedSpan, LONG_MICROS, Phase, RunState, SHORT_MICROS, Span};
use crate::theme;
use crate::tree::reason;
use crate::units::elapsed;

/// A step without a line for this long gets one.
const HEARTBEAT_MICROS: u64 = 10_000_000;
/// How many lines of a group are held. More are printed as a group of their own.
const MAX_GROUP_LINES: usize = 2000;

/// Turns events into lines.
pub struct Plain {
    state: RunState,
    groups: LogGroups,
    is_listing: bool,
    color: bool,
    /// Steps that have a number and run.
    steps: BTreeMap<SpanId, Numbered>,
    last_number: usize,
}

struct Numbered {
    number: usize,
    /// When the last line about it was printed.
    printed_at: u64,
    /// Lines of its group.
    held: Vec<String>,
}

impl Plain {
    /// Lines for the state of a run. A `listing` prints nothing unless something fails or takes
    /// long. `color` allows SGR sequences.
    pub fn new(state: RunState, groups: LogGroups, is_listing: bool, color: bool) -> Self {
        Self { state, groups, is_listing, color, steps: BTreeMap::new(), last_number: 0 }
    }

    /// The state of the run.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Whether lines have SGR sequences.
    pub fn uses_color(&self) -> bool {
        self.color
    }

    /// Whether anything was printed.
    pub fn has_printed(&self) -> bool {
        self.last_number > 0
    }

    /// Applies one event, received at `now`, and returns the lines for it.
    pub fn apply(&mut self, event: &Event, now: u64) -> Vec<String> {
        match self.state.apply(event, now) {
            Change::Lines(id, lines) => self.output(id, &lines, now),
            Change::Ended(id, ended) => self.ended(id, ended, now),
            Change::Started(_) | Change::Nothing => Vec::new(),
        }
    }

    /// The lines for the passing of time: steps that turned out not to be short, and signs of life
    /// of those that take long.
    pub fn tick(&mut self, now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let delay = if self.is_listing { LONG_MICROS } else { SHORT_MICROS };
        let waiting: Vec<SpanId> = self
            .state
            .spans()
            .filter(|(id, span)| !self.steps.contains_key(id) && is_due(span, now, delay))
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            self.number(id, now, &mut lines);
        }
        let parents: Vec<SpanId> = self.state.spans().filter(|(_, s)| s.is_running()).map(|(_, s)| s.owner).collect();
        for (id, step) in &mut self.steps {
            let Some(span) = self.state.span(*id).filter(|span| span.is_running()) else { continue };
            if now.saturating_sub(step.printed_at) < HEARTBEAT_MICROS || parents.contains(id) {
                continue;
            }
            step.printed_at = now;
            let doing = match (&span.phase, &span.transfer) {
                (Phase::Waiting(on), _) => format!(" waiting for {on}"),
                (_, Some(transfer)) => format!(" {}", transfer.describe()),
                _ => String::new(),
            };
            let line = prefix(step.number).with(theme::RUNNING, &format!("… {}{doing}", span.name));
            let line = line.with(theme::DIM, &format!(" [{}]", elapsed(span.took(now))));
            lines.push(line.ansi(self.color));
        }
        lines
    }

    /// The lines that were held for groups that did not end.
    pub fn rest(&mut self) -> Vec<String> {
        std::mem::take(&mut self.steps).into_values().flat_map(|step| step.held).collect()
    }

    fn output(&mut self, id: SpanId, output: &[Line], now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(span) = self.state.span(id) else { return lines };
        let is_hidden = span.internal || (self.is_listing && !is_due(span, now, LONG_MICROS));
        if is_hidden && !self.steps.contains_key(&id) {
            return lines;
        }
        self.number(id, now, &mut lines);
        let title = span_title(&self.state, id);
        let color = self.color;
        let Some(step) = self.steps.get_mut(&id) else { return lines };
        step.printed_at = now;
        let output = output.iter().map(|text| output_line(step.number, text).ansi(color));
        if !self.groups.are_used() {
            lines.extend(output);
            return lines;
        }
        step.held.extend(output);
        if step.held.len() > MAX_GROUP_LINES {
            let head = prefix(step.number).with(theme::TEXT, &title).with(theme::DIM, " (continues)");
            lines.extend(self.groups.group(step.number, &head.ansi(color), std::mem::take(&mut step.held), now));
        }
        lines
    }

    fn ended(&mut self, id: SpanId, ended: EndedSpan, now: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let failed = matches!(ended.outcome, Outcome::Failed(_));
        let shown = failed || !self.is_listing;
        if !self.steps.contains_key(&id) {
            // An internal step that failed is shown by the one above it.
            if (ended.internal && !(failed && ended.owner == SpanId::default())) || !shown {
                return lines;
            }
            self.last_number += 1;
            let fresh = Numbered { number: self.last_number, printed_at: now, held: Vec::new() };
            self.steps.insert(id, fresh);
        }
        let Some(mut step) = self.steps.remove(&id) else { return lines };
        step.held.extend(ended.rest.iter().map(|rest| output_line(step.number, rest).ansi(self.color)));
        let end = end_line(step.number, &ended).ansi(self.color);
        // The output of what failed is not folded.
        if failed || step.held.is_empty() || !self.groups.are_used() {
            lines.append(&mut step.held);
            lines.push(end);
        } else {
            lines.extend(self.groups.group(step.number, &end, step.held, now));
        }
        lines
    }

    /// Gives a step its number, and adds the line that says so.
    fn number(&mut self, id: SpanId, now: u64, lines: &mut Vec<String>) {
        if self.steps.contains_key(&id) {
            return;
        }
        self.last_number += 1;
        self.steps.insert(id, Numbered { number: self.last_number, printed_at: now, held: Vec::new() });
        if !self.groups.are_used() {
            let line = prefix(self.last_number).with(theme::TEXT, &span_title(&self.state, id));
            lines.push(line.ansi(self.color));
        }
    }
}

fn span_title(state: &RunState, id: SpanId) -> String {
    state.span(id).map(|span| span.name.clone()).unwrap_or_default()
}

fn is_due(span: &Span, now: u64, delay: u64) -> bool {
    let hides = span.internal && (span.owner != SpanId::default() || span.took(now) < LONG_MICROS);
    span.is_running() && !hides && span.took(now) >= delay
}

fn prefix(number: usize) -> Line {
    Line::default().with(theme::DIM, &format!("{number:<4}"))
}

fn output_line(number: usize, text: &Line) -> Line {
    let mut line = prefix(number).with(theme::DIM, "| ");
    line.append(text);
    line
}

fn end_line(number: usize, ended: &EndedSpan) -> Line {
    let word = outcome_word(&ended.outcome);
    let took = format!("[{}]", elapsed(ended.took));
    let line = prefix(number).with(theme::TEXT, &ended.name).with(theme::TEXT, " ");
    match &ended.outcome {
        Outcome::Cached => line.with(theme::DIM, word),
        Outcome::Cancelled => line.with(theme::WAITING, word).with(theme::DIM, &format!(" {took}")),
        Outcome::Done => {
            let moved = ended.transfer.map(|transfer| format!(" {}", transfer.summary())).unwrap_or_default();
            line.with(theme::DONE, word).with(theme::DIM, &format!(" {took}{moved}"))
        }
        Outcome::Failed(why) => {
            let why = if ended.has_failed_child { String::new() } else { format!(" {}", reason(why)) };
            line.with(theme::FAILED, word).with(theme::DIM, &format!(" {took}")).with(theme::FAILED, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use rondel_events::{Stream, Unit, Work};

    use super::*;
    use crate::run_state::Verbosity;

    const SECOND: u64 = 1_000_000;

    fn start(span: u64, parent: u64, name: &str, internal: bool, at: u64) -> Event {
        Event::Start { span: SpanId(span), parent: SpanId(parent), work: Work::Exec, name: name.into(), internal, at }
    }

    fn log(span: u64, text: &str) -> Event {
        Event::Log { span: SpanId(span), stream: Stream::Stdout, text: text.into() }
    }

    fn end(span: u64, outcome: Outcome, at: u64) -> Event {
        Event::End { span: SpanId(span), outcome, at }
    }

    fn plain(groups: LogGroups, is_listing: bool) -> Plain {
        Plain::new(RunState::new(Verbosity::Normal, Some(0)), groups, is_listing, false)
    }

    #[test]
    fn a_recorded_run() {
        let mut plain = plain(LogGroups::None, false);
        let mut lines = Vec::new();
        for (event, now) in [
            (start(7, 0, "exec make", false, SECOND), SECOND),
            (log(7, "a\nb"), SECOND),
            (log(7, "c\r\nd"), SECOND),
            (
                end(7, Outcome::Failed("process \"make\" failed: exit code: 1\nmore".into()), 3 * SECOND + 500_000),
                4 * SECOND,
            ),
            (end(7, Outcome::Done, 5 * SECOND), 5 * SECOND),
        ] {
            lines.extend(plain.apply(&event, now));
        }
        assert_eq!(
            lines,
            ["1   exec make", "1   | a", "1   | bc", "1   | d", "1   exec make ERROR [2.5s] exit code: 1"]
        );
        assert_eq!(plain.state().totals().execs, 1);
    }

    #[test]
    fn short_and_cached_steps_are_one_line() {
        let mut plain = plain(LogGroups::None, false);
        assert_eq!(plain.apply(&start(1, 0, "exec a", false, 0), 0), [""; 0]);
        assert_eq!(plain.apply(&end(1, Outcome::Cached, 10), 10), ["1   exec a CACHED"]);
        plain.apply(&start(2, 0, "pull b", false, 0), 0);
        plain.apply(&Event::Progress { span: SpanId(2), done: 0, total: 9_000_000, unit: Unit::Bytes }, 0);
        assert_eq!(plain.tick(SHORT_MICROS), ["2   pull b"]);
        assert_eq!(plain.tick(2 * SHORT_MICROS), [""; 0]);
        plain.apply(
            &Event::Progress { span: SpanId(2), done: 9_000_000, total: 9_000_000, unit: Unit::Bytes },
            3 * SECOND,
        );
        assert_eq!(plain.apply(&end(2, Outcome::Done, 3 * SECOND), 0), ["2   pull b DONE [3.0s] 9.0 MB, 3.0 MB/s"]);
    }

    #[test]
    fn long_steps_give_a_sign_of_life() {
        let mut plain = plain(LogGroups::None, false);
        plain.apply(&start(1, 0, "build", false, 0), 0);
        plain.apply(&start(2, 1, "exec pip", false, 0), 0);
        assert_eq!(plain.tick(SECOND), ["1   build", "2   exec pip"]);
        assert_eq!(plain.tick(10 * SECOND), [""; 0]);
        assert_eq!(plain.tick(11 * SECOND), ["2   … exec pip [11.0s]"]);
        plain.apply(&Event::Waiting { span: SpanId(2), on: "service db".into(), at: 0 }, 0);
        assert_eq!(plain.tick(20 * SECOND), [""; 0]);
        assert_eq!(plain.tick(21 * SECOND), ["2   … exec pip waiting for service db [21.0s]"]);
    }

    #[test]
    fn internal_work_is_part_of_the_step_above() {
        let mut plain = plain(LogGroups::None, false);
        plain.apply(&start(1, 0, "install dependencies", false, 0), 0);
        plain.apply(&start(2, 1, "exec pip", true, 0), 0);
        assert_eq!(plain.apply(&log(2, "Collecting x\n"), 0), ["1   install dependencies", "1   | Collecting x"]);
        assert_eq!(plain.apply(&end(2, Outcome::Failed("exit code: 1".into()), 0), 0), [""; 0]);
        let failed = end(1, Outcome::Failed("exit code: 1".into()), SECOND);
        assert_eq!(plain.apply(&failed, SECOND), ["1   install dependencies ERROR [1.0s] exit code: 1"]);
        assert_eq!(plain.state().counts().failed, 1);
    }

    #[test]
    fn a_listing_is_silent_unless_something_fails_or_takes_long() {
        let mut plain = plain(LogGroups::None, true);
        plain.apply(&start(1, 0, "load ci", false, 0), 0);
        assert!(plain.apply(&log(1, "noise\n"), 0).is_empty() && plain.tick(SECOND / 2).is_empty());
        assert!(plain.apply(&end(1, Outcome::Done, SECOND / 2), 0).is_empty() && !plain.has_printed());
        plain.apply(&start(2, 0, "load lint", false, 0), 0);
        assert_eq!(plain.tick(SECOND), ["1   load lint"]);
        plain.apply(&start(3, 0, "load test", false, SECOND), SECOND);
        let failed = end(3, Outcome::Failed("no such file".into()), SECOND);
        assert_eq!(plain.apply(&failed, SECOND), ["2   load test ERROR [0.0s] no such file"]);
    }

    #[test]
    fn logs_of_ci_get_groups() {
        let mut plain = plain(LogGroups::GitHub, false);
        plain.apply(&start(1, 0, "exec a", false, 0), 0);
        assert!(plain.apply(&log(1, "out\n"), 0).is_empty() && plain.tick(SECOND).is_empty());
        assert_eq!(
            plain.apply(&end(1, Outcome::Done, SECOND), SECOND),
            ["::group::1   exec a DONE [1.0s]", "1   | out", "::endgroup::"]
        );
        plain.apply(&start(2, 0, "exec b", false, 0), 0);
        plain.apply(&log(2, "why\n"), 0);
        let failed = end(2, Outcome::Failed("exit code: 2".into()), SECOND);
        assert_eq!(plain.apply(&failed, SECOND), ["2   | why", "2   exec b ERROR [1.0s] exit code: 2"]);
        plain.apply(&start(3, 0, "exec c", false, 0), 0);
        plain.apply(&log(3, "held\n"), 0);
        assert_eq!(plain.rest(), ["3   | held"]);
    }
}
