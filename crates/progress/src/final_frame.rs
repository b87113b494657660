//! The frame that stays when a run has ended: its main steps, the place of a failure, one summary.

use std::collections::BTreeSet;

use rondel_events::{Outcome, SpanId, Work};

use crate::ending::Ending;
use crate::line::Line;
use crate::run_state::RunState;
use crate::theme;
use crate::tree::{Step, step_line, steps};
use crate::units::{duration, elapsed};

/// How many lines of steps stay at most.
const MAX_STEPS: usize = 12;
/// Steps that ended well stay if fewer than this many steps are above them.
const MAX_DEPTH: usize = 2;

/// The lines for a terminal of `width` columns and `height` rows. With `is_call`, the last line
/// says whether a process was started.
pub fn draw(state: &RunState, width: usize, height: usize, now: u64, ending: Ending, is_call: bool) -> Vec<Line> {
    let columns = width.saturating_sub(1).max(1);
    let all = steps(state, now);
    let steps: Vec<&Step<'_>> = all.iter().collect();
    let room = MAX_STEPS.min((height / 2).max(1) - 1);
    let is_failed = |step: &&Step<'_>| step.span.is_failed();
    let is_interrupted = |step: &&Step<'_>| {
        ending != Ending::Done && step.span.is_running() && step.span.work != Work::Service && !step.has_running_child
    };
    let ended = |step: &&Step<'_>| !step.span.is_running() && !step.span.is_failed();
    let at_depth = |depth: usize| steps.iter().enumerate().filter(move |(_, step)| step.depth == depth);
    // What matters most comes first. A step comes with those above it.
    let mut wanted: Vec<usize> = Vec::new();
    let leaves_first = [
        indexes(&steps, |step| is_failed(step) && !step.span.has_failed_child),
        indexes(&steps, is_interrupted),
        indexes(&steps, is_failed),
    ];
    wanted.extend(leaves_first.into_iter().flatten());
    for depth in 0..MAX_DEPTH {
        wanted.extend(at_depth(depth).filter(|(_, step)| ended(step)).map(|(at, _)| at));
    }
    let mut picked = BTreeSet::new();
    let mut hidden = 0;
    for at in wanted {
        if picked.contains(&at) {
            continue;
        }
        let above = std::iter::successors(Some(at), |at| steps.get(*at).and_then(|step| step.parent));
        let chain: Vec<usize> = above.filter(|at| !picked.contains(at)).collect();
        if picked.len() + chain.len() <= room {
            picked.extend(chain);
        } else {
            hidden += 1;
        }
    }
    // The line that tells how many are hidden takes the place of one.
    if hidden > 0 && picked.len() == room && room > 1 {
        let last = picked.iter().rev().copied().find(|at| {
            let step = steps.get(*at);
            step.is_some_and(ended)
                && !picked.iter().any(|other| steps.get(*other).is_some_and(|s| s.parent == Some(*at)))
        });
        if let Some(last) = last {
            picked.remove(&last);
            hidden += 1;
        }
    }
    let mut lines: Vec<Line> =
        picked.iter().filter_map(|at| steps.get(*at)).map(|step| step_line(step, columns, now, Some(ending))).collect();
    if hidden > 0 && lines.len() < room {
        lines.push(Line::default().with(theme::DIM, &format!("  +{hidden} more")).clip(columns));
    }
    lines.push(summary(state, now, ending, is_call).clip(columns));
    lines
}

fn indexes(steps: &[&Step<'_>], is_wanted: impl Fn(&&Step<'_>) -> bool) -> Vec<usize> {
    steps.iter().enumerate().filter(|(_, step)| is_wanted(step)).map(|(at, _)| at).collect()
}

/// One line about the whole run. `processes` adds that no process was started, if that is so.
pub fn summary(state: &RunState, now: u64, ending: Ending, processes: bool) -> Line {
    let counts = state.counts();
    let running = if ending == Ending::Done { 0 } else { running_leaves(state) };
    let cancelled = counts.cancelled + running;
    let (mark, style) = match ending {
        Ending::Done => (theme::DONE_MARK, theme::DONE),
        Ending::Interrupted => (theme::CANCELLED_MARK, theme::WAITING),
        Ending::Aborted if counts.failed == 0 && cancelled > 0 => (theme::CANCELLED_MARK, theme::WAITING),
        Ending::Aborted => (theme::FAILED_MARK, theme::FAILED),
    };
    let parts = [
        (counts.failed, theme::FAILED, "failed"),
        (counts.done, theme::TEXT, "done"),
        (counts.cached, theme::TEXT, "cached"),
        (cancelled, theme::WAITING, ending.cancelled()),
    ];
    let mut line = Line::default().with(style, mark).with(theme::TEXT, " ");
    let mut is_first = true;
    for (count, style, what) in parts {
        if count > 0 {
            line.push(theme::TEXT, if is_first { "" } else { ", " });
            line.push(style, &format!("{count} {what}"));
            is_first = false;
        }
    }
    let micros = state.elapsed(now);
    let time = if micros < 1_000_000 { duration(micros) } else { elapsed(micros) };
    let word = match ending {
        Ending::Done if is_first => "done ",
        Ending::Aborted if is_first => "failed ",
        Ending::Interrupted if is_first => "interrupted ",
        _ => "",
    };
    line.push(theme::TEXT, if is_first { word } else { " " });
    line.push(theme::DIM, &format!("in {time}"));
    if processes && state.totals().execs == 0 && ending == Ending::Done {
        line.push(theme::DIM, ", no process was started");
    }
    line
}

/// How many spans run, services and those with others below them aside.
fn running_leaves(state: &RunState) -> usize {
    let running = || state.spans().filter(|(_, span)| span.is_running() && !span.internal);
    let above: BTreeSet<SpanId> = running().map(|(_, span)| span.owner).collect();
    running().filter(|(id, span)| span.work != Work::Service && !above.contains(id)).count()
}

/// The word for an outcome in lines of a log.
pub fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "DONE",
        Outcome::Cached => "CACHED",
        Outcome::Failed(_) => "ERROR",
        Outcome::Cancelled => "CANCELED",
    }
}
