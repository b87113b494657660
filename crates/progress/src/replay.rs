//! Replays recorded runs.

use rondel_events::Outcome;

use crate::line::Line;
use crate::recording::Recording;
use crate::run_state::{Change, RunState, Verbosity};

/// How often a display ticks, in microseconds.
pub const TICK_MICROS: u64 = 100_000;

/// Replays a run. Calls `show` with the state of the run every `step` microseconds, and returns the
/// state at its end. `show` returns whether to go on.
pub fn replay(
    recording: &Recording,
    verbosity: Verbosity,
    step: u64,
    mut show: impl FnMut(&RunState, u64) -> bool,
) -> RunState {
    let began = recording.header.began;
    let mut state = RunState::new(verbosity, Some(began));
    let mut events = recording.events.iter().peekable();
    let mut now = began;
    loop {
        while let Some((at, event)) = events.next_if(|(at, _)| *at <= now) {
            state.apply(event, *at);
        }
        if now >= recording.ended() {
            return state;
        }
        if !show(&state, now) {
            events.for_each(|(at, event)| drop(state.apply(event, *at)));
            return state;
        }
        now += step.max(1);
    }
}

/// The whole output of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutput {
    /// The title of the step.
    pub name: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// It failed, and not because work below it failed.
    pub is_failed: bool,
}

/// The output of each shown step that printed or failed, in the order of the steps.
pub fn outputs(recording: &Recording, verbosity: Verbosity) -> Vec<StepOutput> {
    let mut state = RunState::new(verbosity, Some(recording.header.began));
    let mut found = std::collections::BTreeMap::new();
    for (at, event) in &recording.events {
        match state.apply(event, *at) {
            Change::Lines(id, lines) => {
                let name = state.span(id).map(|span| span.name.clone()).unwrap_or_default();
                let output = found.entry(id).or_insert(StepOutput { name, lines: Vec::new(), is_failed: false });
                output.lines.extend(lines);
            }
            Change::Ended(id, ended) => {
                let is_failed =
                    matches!(ended.outcome, Outcome::Failed(_)) && !ended.has_failed_child && !ended.internal;
                if ended.rest.is_some() || is_failed || found.contains_key(&id) {
                    let fresh = StepOutput { name: ended.name, lines: Vec::new(), is_failed: false };
                    let output = found.entry(id).or_insert(fresh);
                    output.lines.extend(ended.rest);
                    output.is_failed = is_failed;
                }
            }
            Change::Started(_) | Change::Nothing => {}
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use rondel_events::{Event, SpanId, Stream, Work};

    use super::*;
    use crate::recording::Header;

    fn recording() -> Recording {
        let start = |span, internal| Event::Start {
            span: SpanId(span),
            parent: SpanId(span - 1),
            work: Work::Exec,
            name: format!("step {span}"),
            internal,
            at: 0,
        };
        let log = |span, text: &str| Event::Log { span: SpanId(span), stream: Stream::Stderr, text: text.into() };
        let end = |span, outcome| Event::End { span: SpanId(span), outcome, at: 350_000 };
        let failed = || Outcome::Failed("exit code: 1".into());
        let events = vec![
            (0, start(1, false)),
            (0, start(2, true)),
            (10_000, log(2, "why\nmo")),
            (20_000, log(2, "re")),
            (350_000, end(2, failed())),
            (350_000, end(1, failed())),
        ];
        Recording { header: Header::new("", "call", 0), events, end: None, is_cut: false }
    }

    #[test]
    fn a_run_is_shown_in_steps_of_time() {
        let mut times = Vec::new();
        let state = replay(&recording(), Verbosity::Normal, TICK_MICROS, |_, now| {
            times.push(now);
            true
        });
        assert_eq!(times, [0, 100_000, 200_000, 300_000]);
        assert_eq!(state.counts().failed, 1);
        let state = replay(&recording(), Verbosity::Normal, TICK_MICROS, |_, _| false);
        assert_eq!(state.counts().failed, 1);
    }

    #[test]
    fn output_of_internal_work_is_that_of_the_step_above() {
        let found = outputs(&recording(), Verbosity::Normal);
        let lines: Vec<String> = found[0].lines.iter().map(Line::text).collect();
        assert_eq!((found.len(), found[0].name.as_str(), found[0].is_failed), (1, "step 1", true));
        assert_eq!(lines, ["why", "more"]);
    }
}
