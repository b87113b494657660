//! Plain progress output, for logs: one line after the other.

use rondel_events::{Event, Outcome};

use crate::run_state::{RunState, Span, StateChange};

/// Turns events into plain lines.
#[derive(Debug, Default)]
pub struct Plain {
    state: RunState,
}

impl Plain {
    /// The state of the run.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Applies one event and returns the lines for it.
    pub fn lines(&mut self, event: Event) -> Vec<String> {
        match self.state.apply(event) {
            StateChange::Started(id) => self.about(id, |span| format!("{:<4}{}", span.number, span.name)),
            StateChange::Lines(id, _, lines) => lines.iter().flat_map(|line| self.output(id, line)).collect(),
            StateChange::Ended(id, rest) => {
                let mut lines: Vec<String> = rest.iter().flat_map(|line| self.output(id, line)).collect();
                lines.extend(self.about(id, |span| {
                    let took = duration(span.duration(span.started));
                    let how = match span.ended.as_ref().map(|(outcome, _)| outcome) {
                        Some(Outcome::Cached) => "CACHED".to_owned(),
                        Some(Outcome::Failed(why)) => format!("ERROR [{took}] {}", first_line(why)),
                        Some(Outcome::Cancelled) => format!("CANCELED [{took}]"),
                        _ => format!("DONE [{took}]"),
                    };
                    format!("{:<4}{} {how}", span.number, span.name)
                }));
                lines
            }
            StateChange::Nothing => Vec::new(),
        }
    }

    fn output(&self, id: rondel_events::SpanId, line: &str) -> Vec<String> {
        self.about(id, |span| format!("{:<4}| {line}", span.number))
    }

    fn about(&self, id: rondel_events::SpanId, line: impl FnOnce(&Span) -> String) -> Vec<String> {
        self.state.span(id).map(line).into_iter().collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A duration of `micros` microseconds, for people.
pub fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1}s", micros as f64 / 1e6),
        _ => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use rondel_events::{SpanId, Stream, Work};

    use super::*;

    #[test]
    fn a_recorded_run() {
        let id = SpanId(7);
        let log = |text: &str| Event::Log { span: id, stream: Stream::Stdout, text: text.into() };
        let run = [
            Event::Start {
                span: id,
                parent: SpanId(0),
                work: Work::Exec,
                name: "exec make".into(),
                internal: false,
                at: 1_000_000,
            },
            log("a\nb"),
            log("c\r\nd"),
            Event::End { span: id, outcome: Outcome::Failed("exit code: 1\nmore".into()), at: 3_500_000 },
            Event::End { span: id, outcome: Outcome::Done, at: 4_000_000 },
        ];
        let mut plain = Plain::default();
        let lines: Vec<String> = run.into_iter().flat_map(|e| plain.lines(e)).collect();
        assert_eq!(
            lines,
            ["1   exec make", "1   | a", "1   | bc", "1   | d", "1   exec make ERROR [2.5s] exit code: 1"]
        );
        assert_eq!(plain.state().totals().execs, 1);
    }

    #[test]
    fn durations() {
        for (micros, want) in [(12, "12µs"), (1_500, "1.5ms"), (2_000_000, "2.0s"), (61_000_000, "1m01s")] {
            assert_eq!(duration(micros), want);
        }
    }
}
