//! The frame while work runs: what runs now, its last output, what ended, and counts.

use std::collections::BTreeSet;

use rondel_events::Work;

use crate::line::Line;
use crate::run_state::{Phase, RunState};
use crate::theme;
use crate::tree::{Step, indent, step_line, steps};
use crate::units::elapsed;

/// How many lines of output a step has at least, if there is room for any.
const OUTPUT_LINES: usize = 3;
/// How many lines of output a step has at most.
const MAX_OUTPUT_LINES: usize = 8;

/// The lines for a terminal of `width` columns and `height` rows, at `now`: at most half of the
/// rows, each at least one column narrower than the terminal. Empty if there is nothing to show.
pub fn draw(state: &RunState, width: usize, height: usize, now: u64) -> Vec<Line> {
    let steps = steps(state, now);
    if steps.is_empty() && state.counts() == crate::run_state::Counts::default() {
        return Vec::new();
    }
    let columns = width.saturating_sub(1).max(1);
    let room = (height / 2).max(1) - 1;
    let picked = Picked::new(&steps, room);
    let mut lines = Vec::new();
    for (at, step) in steps.iter().enumerate().filter(|(at, _)| picked.steps.contains(at)) {
        lines.push(step_line(step, columns, now, None));
        let output = picked.output.get(at).copied().unwrap_or(0);
        let gutter = Line::plain(&" ".repeat(indent(step.depth) + 2)).with(theme::DIM, "│ ");
        for text in step.span.last_lines(output) {
            let mut line = gutter.clone();
            line.append(&text);
            lines.push(line.clip(columns));
        }
    }
    if picked.hidden > 0 && room > 0 {
        lines.push(Line::default().with(theme::DIM, &format!("  +{} more", picked.hidden)).clip(columns));
    }
    lines.push(status_line(state, &steps, now).clip(columns));
    lines
}

/// Which steps are shown, and with how many lines of output.
struct Picked {
    steps: BTreeSet<usize>,
    /// For each step.
    output: Vec<usize>,
    /// Steps that run or failed and are not shown.
    hidden: usize,
}

impl Picked {
    /// Picks for `room` rows. What failed comes first, then what runs, then half of the rest for
    /// output, and then what ended last.
    fn new(steps: &[Step<'_>], room: usize) -> Self {
        let of = |kind: fn(&Step<'_>) -> bool| (0..steps.len()).filter(move |at| steps.get(*at).is_some_and(kind));
        let failed = of(|step| step.span.is_failed());
        let running = of(|step| step.span.is_running());
        let active: Vec<usize> = failed.chain(running).collect();
        let fits = if active.len() > room { room.saturating_sub(1) } else { active.len() };
        let mut picked = Self {
            steps: active.iter().take(fits).copied().collect(),
            output: vec![0; steps.len()],
            hidden: active.len() - fits,
        };
        let mut left = room.saturating_sub(fits + usize::from(picked.hidden > 0));

        let mut printing: Vec<usize> = picked.steps.iter().copied().filter(|at| prints(&steps[*at])).collect();
        // Those that printed last come first. Steps with others below them come last.
        printing.sort_by_key(|at| {
            let step = &steps[*at];
            (step.has_running_child, std::cmp::Reverse(step.span.printed_at()))
        });
        let ended: Vec<usize> = of(|step| !step.span.is_running() && !step.span.is_failed()).collect();
        let share = left - ended.len().min(left / 2);
        left -= picked.share_output(steps, &printing, share, OUTPUT_LINES);
        let newest = ended.iter().rev().take(left).copied();
        let before = picked.steps.len();
        picked.steps.extend(newest);
        left -= picked.steps.len() - before;
        picked.share_output(steps, &printing, left, MAX_OUTPUT_LINES);
        picked
    }

    /// Gives steps lines of output, one after the other, each at most `most` in all. Returns how
    /// many were given.
    fn share_output(&mut self, steps: &[Step<'_>], printing: &[usize], room: usize, most: usize) -> usize {
        let mut given = 0;
        for at in printing {
            let wanted = steps[*at].span.last_lines(most).len();
            let more = wanted.saturating_sub(self.output[*at]).min(room - given);
            self.output[*at] += more;
            given += more;
        }
        given
    }
}

fn prints(step: &Step<'_>) -> bool {
    step.span.printed_at().is_some()
}

/// The last line: what runs, what is done, and the time.
fn status_line(state: &RunState, steps: &[Step<'_>], now: u64) -> Line {
    let leaves = steps.iter().filter(|step| step.span.is_running() && !step.has_running_child);
    let (mut running, mut waiting, mut services) = (0, 0, 0);
    for step in leaves {
        match (&step.span.phase, step.span.work) {
            (Phase::Waiting(_), _) => waiting += 1,
            (_, Work::Service) => services += 1,
            _ => running += 1,
        }
    }
    let counts = state.counts();
    let mut line = Line::default().with(theme::DIM, &elapsed(state.elapsed(now)));
    let parts = [
        (counts.failed, theme::FAILED, "failed"),
        (running, theme::RUNNING, "running"),
        (waiting, theme::WAITING, "waiting"),
        (services, theme::RUNNING, if services == 1 { "service" } else { "services" }),
        (counts.done, theme::DONE, "done"),
        (counts.cached, theme::DIM, "cached"),
        (counts.cancelled, theme::WAITING, "cancelled"),
    ];
    for (count, style, what) in parts {
        if count > 0 {
            line.push(theme::DIM, " · ");
            line.push(style, &format!("{count} {what}"));
        }
    }
    line
}
