//! Progress on a terminal: a few lines at the bottom that show running work.

use rondel_events::{Event, Outcome, SpanId};

use crate::plain::duration;
use crate::run_state::{RunState, Span};

/// At most this many lines of a span's output are shown.
const OUTPUT_LINES: usize = 4;

/// Draws the state of a run as a block of lines that replaces the one before.
#[derive(Debug, Default)]
pub struct Tty {
    state: RunState,
    drawn: usize,
}

impl Tty {
    /// The state of the run.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Applies one event.
    pub fn apply(&mut self, event: Event) {
        self.state.apply(event);
    }

    /// The bytes that replace the last block by the present one. `now` is in microseconds since the
    /// Unix epoch.
    pub fn frame(&mut self, width: usize, height: usize, now: u64) -> String {
        let lines = draw(&self.state, width, height, now);
        let mut frame = self.erase();
        for line in &lines {
            frame.push_str(line);
            frame.push_str("\r\n");
        }
        self.drawn = lines.len();
        frame
    }

    /// The bytes that erase the last block.
    pub fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

/// The lines for a terminal of `width` columns and `height` rows: running work with its last
/// output, then a summary.
pub fn draw(state: &RunState, width: usize, height: usize, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, span) in state.spans().filter(|(_, span)| span.ended.is_none()) {
        lines.push(title(span, depth(state, id), now));
        for line in span.lines.iter().rev().take(OUTPUT_LINES).rev() {
            lines.push(format!("{:indent$}│ {line}", "", indent = 2 * depth(state, id)));
        }
    }
    let room = height.saturating_sub(2).max(1);
    let skipped = lines.len().saturating_sub(room);
    lines.drain(..skipped);
    let done = state.spans().filter(|(_, span)| span.ended.is_some()).count();
    let cached = state.spans().filter(|(_, span)| matches!(span.ended, Some((Outcome::Cached, _)))).count();
    lines.push(format!("{done} done, {cached} cached"));
    lines.iter().map(|line| clip(line, width)).collect()
}

fn title(span: &Span, depth: usize, now: u64) -> String {
    let progress = match span.progress {
        Some((done, total)) if total > 0 => format!(" {}%", done.saturating_mul(100) / total),
        _ => String::new(),
    };
    format!("{:indent$}● {}{progress} {}", "", span.name, duration(span.duration(now)), indent = 2 * depth)
}

fn depth(state: &RunState, id: SpanId) -> usize {
    let parents = std::iter::successors(state.span(id), |span| state.span(span.parent));
    parents.skip(1).take(20).count()
}

fn clip(line: &str, width: usize) -> String {
    let clean = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(width.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use rondel_events::{Stream, Unit, Work};

    use super::*;

    #[test]
    fn shows_running_work_and_clips_lines() {
        let mut tty = Tty::default();
        let start = |span, parent, name: &str| Event::Start {
            span: SpanId(span),
            parent: SpanId(parent),
            work: Work::Exec,
            name: name.into(),
            internal: false,
            at: 0,
        };
        tty.apply(start(1, 0, "load greeter"));
        tty.apply(start(2, 1, "exec make"));
        tty.apply(Event::Log { span: SpanId(2), stream: Stream::Stdout, text: "one\ntwo\x1b[31m\n".into() });
        tty.apply(Event::Progress { span: SpanId(2), done: 1, total: 4, unit: Unit::Items });
        tty.apply(start(3, 0, "done"));
        tty.apply(Event::End { span: SpanId(3), outcome: Outcome::Cached, at: 1 });
        let want = ["● load greeter 1.0s", "  ● exec make 25% 1.0s", "  │ one", "  │ two [31m", "1 done, 1 cached"];
        assert_eq!(draw(tty.state(), 80, 24, 1_000_000), want);
        assert_eq!(draw(tty.state(), 5, 4, 1_000_000), ["  │ o", "  │ t", "1 don"]);
        assert!(tty.frame(80, 24, 0).starts_with("● load"));
        assert!(tty.frame(80, 24, 0).starts_with("\x1b[5A\x1b[J"));
    }
}
