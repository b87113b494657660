//! Progress as text that is printed once and never changed: lines, dots, output, events.

use rondel_events::{Event, Outcome, SpanId};

use crate::ending::Ending;
use crate::final_frame::summary;
use crate::line::Line;
use crate::log_groups::LogGroups;
use crate::plain::Plain;
use crate::recording::end_value;
use crate::run_state::{Change, LONG_MICROS, RunState};
use crate::theme;

/// How many dots are in a row.
const DOTS_IN_ROW: usize = 80;

/// What is printed.
pub enum Printer {
    /// Steps, output and times.
    Plain(Box<Plain>),
    /// One character for each step that ended.
    Dots {
        /// The state of the run.
        state: RunState,
        /// How many are in the present row.
        in_row: usize,
        /// Colours are used.
        color: bool,
    },
    /// The output of programs, with the step that it is of.
    Logs {
        /// The state of the run.
        state: RunState,
        /// Colours are used.
        color: bool,
    },
    /// Each event, as JSON.
    Json(RunState),
    /// Nothing.
    Quiet(RunState),
}

impl Printer {
    /// Steps, output and times.
    pub fn plain(state: RunState, groups: LogGroups, is_listing: bool, color: bool) -> Self {
        Printer::Plain(Box::new(Plain::new(state, groups, is_listing, color)))
    }

    /// One character for each step that ended: `.` done, `:` cached, `F` failed, `-` cancelled.
    pub fn dots(state: RunState, color: bool) -> Self {
        Printer::Dots { state, in_row: 0, color }
    }

    /// The state of the run.
    pub fn state(&self) -> &RunState {
        match self {
            Printer::Plain(plain) => plain.state(),
            Printer::Dots { state, .. } | Printer::Logs { state, .. } => state,
            Printer::Json(state) | Printer::Quiet(state) => state,
        }
    }

    /// Applies one event, received at `now`, and returns the text for it, line ends included.
    pub fn apply(&mut self, event: &Event, now: u64) -> String {
        match self {
            Printer::Plain(plain) => joined(plain.apply(event, now)),
            Printer::Dots { state, in_row, color } => match state.apply(event, now) {
                Change::Ended(_, ended) if !ended.internal => {
                    let (dot, style) = match ended.outcome {
                        Outcome::Done => (".", theme::DONE),
                        Outcome::Cached => (":", theme::DIM),
                        Outcome::Failed(_) => ("F", theme::FAILED),
                        Outcome::Cancelled => ("-", theme::WAITING),
                    };
                    *in_row = *in_row % DOTS_IN_ROW + 1;
                    let line_end = if *in_row == DOTS_IN_ROW { "\n" } else { "" };
                    Line::default().with(style, dot).ansi(*color) + line_end
                }
                _ => String::new(),
            },
            Printer::Logs { state, color } => match state.apply(event, now) {
                Change::Lines(id, lines) => {
                    let title = title(state, id);
                    lines.iter().map(|line| log_line(&title, line, *color)).collect()
                }
                Change::Ended(_, ended) => ended.rest.iter().map(|rest| log_line(&ended.name, rest, *color)).collect(),
                _ => String::new(),
            },
            Printer::Json(state) => {
                state.apply(event, now);
                serde_json::to_string(event).map(|line| line + "\n").unwrap_or_default()
            }
            Printer::Quiet(state) => {
                state.apply(event, now);
                String::new()
            }
        }
    }

    /// The text for the passing of time.
    pub fn tick(&mut self, now: u64) -> String {
        match self {
            Printer::Plain(plain) => joined(plain.tick(now)),
            _ => String::new(),
        }
    }

    /// The text at the end: one summary. `is_call` says that it tells whether a process was
    /// started, also if nothing was printed before.
    pub fn finish(&mut self, now: u64, ending: Ending, is_call: bool) -> String {
        let summarized = |state: &RunState, color: bool| summary(state, now, ending, is_call).ansi(color) + "\n";
        match self {
            Printer::Plain(plain) => {
                let rest = joined(plain.rest());
                let has_more = plain.has_printed() || is_call;
                let color = plain.uses_color();
                rest + &if has_more && !is_silent(plain.state(), ending) {
                    summarized(plain.state(), color)
                } else {
                    String::new()
                }
            }
            Printer::Dots { state, in_row, color } => {
                let line_end = if *in_row % DOTS_IN_ROW > 0 { "\n" } else { "" };
                let has_more = *in_row > 0 || is_call;
                line_end.to_owned() + &if has_more { summarized(state, *color) } else { String::new() }
            }
            Printer::Json(_) => end_value(ending, now).to_string() + "\n",
            Printer::Logs { .. } | Printer::Quiet(_) => String::new(),
        }
    }
}

/// Whether an aborted run has nothing to tell: the error says it all.
pub(crate) fn is_silent(state: &RunState, ending: Ending) -> bool {
    let has_steps = state.counts() != Default::default() || state.spans().next().is_some();
    ending != Ending::Done && !has_steps
}

/// Whether the run of a command that lists something is worth a display at `now`.
pub fn is_listing_shown(state: &RunState, now: u64) -> bool {
    state.counts().failed > 0 || state.spans().any(|(_, span)| span.is_running() && span.took(now) >= LONG_MICROS)
}

fn joined(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

fn title(state: &RunState, id: SpanId) -> String {
    state.span(id).map(|span| span.name.clone()).unwrap_or_default()
}

fn log_line(title: &str, text: &Line, color: bool) -> String {
    let mut line = Line::default().with(theme::DIM, &format!("{title} | "));
    line.append(text);
    line.ansi(color) + "\n"
}

#[cfg(test)]
mod tests {
    use rondel_events::{Stream, Work};

    use super::*;

    fn run() -> Vec<Event> {
        let (a, b) = (SpanId(1), SpanId(2));
        let start = |span, name: &str, at| Event::Start {
            span,
            parent: SpanId(0),
            work: Work::Exec,
            name: name.into(),
            internal: false,
            at,
        };
        vec![
            start(a, "exec make", 0),
            start(b, "exec test", 1),
            Event::Log { span: a, stream: Stream::Stdout, text: "one\ntw".into() },
            Event::End { span: a, outcome: Outcome::Done, at: 2_000_000 },
            Event::End { span: b, outcome: Outcome::Failed("exit code: 1".into()), at: 2_000_000 },
        ]
    }

    fn printed(mut printer: Printer, ending: Ending) -> String {
        let mut text: String = run().iter().map(|event| printer.apply(event, 2_000_000)).collect();
        text.push_str(&printer.finish(3_000_000, ending, false));
        text
    }

    fn state() -> RunState {
        RunState::new(crate::run_state::Verbosity::Normal, Some(0))
    }

    #[test]
    fn each_way_prints_the_run() {
        assert_eq!(printed(Printer::dots(state(), false), Ending::Aborted), ".F\n✘ 1 failed, 1 done in 3.0s\n");
        let logs = Printer::Logs { state: state(), color: false };
        assert_eq!(printed(logs, Ending::Aborted), "exec make | one\nexec make | tw\n");
        assert_eq!(printed(Printer::Quiet(state()), Ending::Aborted), "");
        let json = printed(Printer::Json(state()), Ending::Aborted);
        let (events, end) = json.trim_end().rsplit_once('\n').expect("several lines");
        let events: Vec<Event> = events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        assert_eq!((events, end), (run(), r#"{"end":"aborted","at":3000000}"#));
    }

    #[test]
    fn a_call_without_events_is_summarized() {
        let mut printer = Printer::plain(state(), LogGroups::None, false, false);
        assert_eq!(printer.finish(26_400, Ending::Done, true), "✔ done in 26.4ms, no process was started\n");
        assert_eq!(printer.finish(26_400, Ending::Done, false), "");
        assert_eq!(printer.finish(26_400, Ending::Aborted, true), "");
    }
}
