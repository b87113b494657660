//! The spans of a run as a tree of shown steps, and the line of one step.

use std::collections::BTreeMap;

use anstyle::Style;
use rondel_events::{Outcome, SpanId};

use crate::ending::Ending;
use crate::line::Line;
use crate::run_state::{LONG_MICROS, Phase, RunState, SHORT_MICROS, Span, Verbosity};
use crate::theme;
use crate::units::elapsed;

/// The deepest indentation, in steps.
const MAX_INDENT: usize = 8;
/// The columns of one step of indentation.
const INDENT: usize = 2;

/// A shown step.
pub struct Step<'s> {
    /// The span.
    pub span: &'s Span,
    /// How many shown steps are above it.
    pub depth: usize,
    /// Where the step above it is in the list of steps.
    pub parent: Option<usize>,
    /// Steps below it run.
    pub has_running_child: bool,
}

/// The shown steps at `now`: each is followed by those below it, in the order of their start.
pub fn steps(state: &RunState, now: u64) -> Vec<Step<'_>> {
    let shown = |id: SpanId| state.span(id).filter(|span| is_shown(state, span, now));
    let mut children: BTreeMap<SpanId, Vec<(SpanId, &Span)>> = BTreeMap::new();
    for (id, span) in state.spans().filter(|(_, span)| is_shown(state, span, now)) {
        let mut owner = span.owner;
        while owner != SpanId::default() && shown(owner).is_none() {
            owner = state.span(owner).map_or(SpanId::default(), |span| span.owner);
        }
        children.entry(owner).or_default().push((id, span));
    }
    let mut steps: Vec<Step<'_>> = Vec::new();
    // The steps above the present one, and for each the rest of those below it.
    let mut open: Vec<Option<usize>> = vec![None];
    let mut next = vec![children.remove(&SpanId::default()).unwrap_or_default().into_iter()];
    while let Some(siblings) = next.last_mut() {
        let Some((id, span)) = siblings.next() else {
            next.pop();
            open.pop();
            continue;
        };
        let parent = open.last().copied().flatten();
        if span.is_running()
            && let Some(above) = parent.and_then(|at| steps.get_mut(at))
        {
            above.has_running_child = true;
        }
        open.push(Some(steps.len()));
        next.push(children.remove(&id).unwrap_or_default().into_iter());
        steps.push(Step { span, depth: next.len() - 2, parent, has_running_child: false });
    }
    steps
}

fn is_shown(state: &RunState, span: &Span, now: u64) -> bool {
    if !span.is_running() {
        // Only what is shown is kept.
        return true;
    }
    let took = span.took(now);
    match (span.internal, state.verbosity()) {
        (true, _) => span.owner == SpanId::default() && took >= LONG_MICROS,
        (false, Verbosity::Normal) => took >= SHORT_MICROS,
        (false, _) => true,
    }
}

/// The columns before the mark of a step.
pub fn indent(depth: usize) -> usize {
    depth.min(MAX_INDENT) * INDENT
}

/// The line of a step in at most `columns` columns: mark, title, state, time. The title is cut
/// first. `ending` is that of the run, if the run has ended.
pub fn step_line(step: &Step<'_>, columns: usize, now: u64, ending: Option<Ending>) -> Line {
    let span = step.span;
    let is_over = ending.is_some_and(|ending| ending != Ending::Done);
    let cancelled = ending.unwrap_or(Ending::Aborted).cancelled();
    let (mark, mark_style, title_style) = look(span, is_over);
    let mut rest = Line::default();
    let mut note = |style: Style, text: &str| {
        if !text.is_empty() {
            rest.push(style, &format!(" {text}"));
        }
    };
    match &span.phase {
        Phase::Running | Phase::Waiting(_) if is_over => note(theme::WAITING, cancelled),
        Phase::Running => note(theme::DIM, &span.transfer.map(|t| t.describe()).unwrap_or_default()),
        Phase::Waiting(on) => note(theme::WAITING, &format!("waiting for {on}")),
        Phase::Ended(Outcome::Done, _) => note(theme::DIM, &span.transfer.map(|t| t.summary()).unwrap_or_default()),
        Phase::Ended(Outcome::Cached, _) => note(theme::DIM, "cached"),
        Phase::Ended(Outcome::Cancelled, _) => note(theme::WAITING, cancelled),
        Phase::Ended(Outcome::Failed(why), _) if !span.has_failed_child => note(theme::FAILED, reason(why)),
        Phase::Ended(Outcome::Failed(_), _) => {}
    }
    let is_cached = matches!(span.phase, Phase::Ended(Outcome::Cached, _));
    let time = if is_cached {
        Line::default()
    } else {
        Line::default().with(theme::DIM, &format!(" {}", elapsed(span.took(now))))
    };
    let before = indent(step.depth) + 2;
    let room = columns.saturating_sub(before + time.width());
    // A third of the line is enough for a state that is long.
    let rest = if rest.width() + span_width(span) > room { rest.clip((room / 3).max(12)) } else { rest };
    let title = Line::default().with(title_style, &span.name).clip(room.saturating_sub(rest.width()));
    let mut line = Line::plain(&" ".repeat(indent(step.depth))).with(mark_style, mark).with(theme::TEXT, " ");
    line.append(&title);
    line.append(&rest);
    line.append(&time);
    line.clip(columns)
}

fn span_width(span: &Span) -> usize {
    crate::line::width(&span.name)
}

fn look(span: &Span, at_end: bool) -> (&'static str, Style, Style) {
    match &span.phase {
        Phase::Running | Phase::Waiting(_) if at_end => (theme::CANCELLED_MARK, theme::WAITING, theme::TEXT),
        Phase::Running => (theme::RUNNING_MARK, theme::RUNNING, theme::TITLE),
        Phase::Waiting(_) => (theme::WAITING_MARK, theme::WAITING, theme::TEXT),
        Phase::Ended(Outcome::Done, _) => (theme::DONE_MARK, theme::DONE, theme::TEXT),
        Phase::Ended(Outcome::Cached, _) => (theme::DONE_MARK, theme::DIM, theme::DIM),
        Phase::Ended(Outcome::Cancelled, _) => (theme::CANCELLED_MARK, theme::WAITING, theme::TEXT),
        Phase::Ended(Outcome::Failed(_), _) => (theme::FAILED_MARK, theme::FAILED, theme::TITLE),
    }
}

/// The short form of an error. A process's exit code says enough: the report of the error follows.
pub fn reason(why: &str) -> &str {
    why.find("exit code: ").and_then(|at| why.get(at..)).unwrap_or(why)
}

/// A number of things.
pub fn plural(count: usize, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}
