//! Makes a stream of events complete: every span that starts ends exactly once, children before
//! their parents.

use std::collections::HashMap;

use crate::event::{Event, Outcome, SpanId, Work};

/// The spans of one stream of events that have started and not ended.
///
/// Memory is proportional to the number of open spans, not to the number of all spans.
#[derive(Debug, Default)]
pub struct OpenSpans {
    open: HashMap<SpanId, OpenSpan>,
}

#[derive(Debug)]
struct OpenSpan {
    parent: SpanId,
    work: Work,
    children: u32,
    is_waiting: bool,
}

impl OpenSpans {
    /// The number of open spans.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no span is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Passes `event` on to `emit`, unless its span is not open.
    ///
    /// The end of a span first ends the spans below it that are still open: they are of no use to
    /// the receiver any more, even if they run on for others. Their own ends are left out later. A
    /// span whose parent is not open starts as a root.
    pub fn apply(&mut self, event: Event, mut emit: impl FnMut(Event)) {
        match event {
            Event::Start { span, parent, work, name, internal, at } => {
                let parent = match self.open.get_mut(&parent) {
                    Some(above) => {
                        above.children += 1;
                        parent
                    }
                    None => SpanId::default(),
                };
                self.open.insert(span, OpenSpan { parent, work, children: 0, is_waiting: false });
                emit(Event::Start { span, parent, work, name, internal, at });
            }
            Event::End { span, outcome, at } => {
                let Some(ended) = self.remove(span) else { return };
                if ended.children > 0 {
                    for (child, work) in self.take_below(span) {
                        emit(Event::End { span: child, outcome: interrupted(work), at });
                    }
                }
                emit(Event::End { span, outcome, at });
            }
            event => {
                let Some(open) = self.open.get_mut(&event.span()) else { return };
                match event {
                    Event::Waiting { .. } => open.is_waiting = true,
                    // The wait was left out.
                    Event::Running { .. } if !open.is_waiting => return,
                    Event::Running { .. } => open.is_waiting = false,
                    _ => {}
                }
                emit(event);
            }
        }
    }

    /// Ends every open span at the time `at`, children before their parents.
    pub fn close(&mut self, at: u64, mut emit: impl FnMut(Event)) {
        let roots: Vec<SpanId> =
            self.open.iter().filter(|(_, span)| !self.open.contains_key(&span.parent)).map(|(id, _)| *id).collect();
        for root in sorted(roots) {
            let Some(span) = self.open.get(&root) else { continue };
            let outcome = interrupted(span.work);
            self.apply(Event::End { span: root, outcome, at }, &mut emit);
        }
    }

    fn remove(&mut self, span: SpanId) -> Option<OpenSpan> {
        let ended = self.open.remove(&span)?;
        if let Some(parent) = self.open.get_mut(&ended.parent) {
            parent.children -= 1;
        }
        Some(ended)
    }

    /// Removes every open span below `top`. Returns them, children before their parents.
    fn take_below(&mut self, top: SpanId) -> Vec<(SpanId, Work)> {
        let mut below: HashMap<SpanId, Vec<SpanId>> = HashMap::new();
        for (id, span) in &self.open {
            below.entry(span.parent).or_default().push(*id);
        }
        let (mut taken, mut next) = (Vec::new(), vec![top]);
        while let Some(parent) = next.pop() {
            for child in sorted(below.remove(&parent).unwrap_or_default()) {
                if let Some(span) = self.open.remove(&child) {
                    taken.push((child, span.work));
                    next.push(child);
                }
            }
        }
        taken.reverse();
        taken
    }
}

/// The outcome of a span that the end of its stream or of its parent ends. The end of a service is
/// no interruption: it runs as long as it is needed.
fn interrupted(work: Work) -> Outcome {
    if work == Work::Service { Outcome::Done } else { Outcome::Cancelled }
}

fn sorted(mut spans: Vec<SpanId>) -> Vec<SpanId> {
    spans.sort_unstable();
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stream;

    fn start(span: u64, parent: u64) -> Event {
        let (work, name) = (if span == 9 { Work::Service } else { Work::Exec }, String::new());
        Event::Start { span: SpanId(span), parent: SpanId(parent), work, name, internal: false, at: 0 }
    }

    fn end(span: u64) -> Event {
        Event::End { span: SpanId(span), outcome: Outcome::Failed("it failed".into()), at: 0 }
    }

    fn log(span: u64) -> Event {
        Event::Log { span: SpanId(span), stream: Stream::Stdout, text: "x".into() }
    }

    /// What comes out of `events` and the end of the stream, one word for each event.
    fn check(events: Vec<Event>, want: &str) {
        let mut open = OpenSpans::default();
        let mut words = Vec::new();
        let mut word = |event: Event| {
            words.push(match event {
                Event::Start { span, parent, .. } => format!("{}<{}", span.0, parent.0),
                Event::End { span, outcome: Outcome::Failed(_), .. } => format!("{}!", span.0),
                Event::End { span, outcome: Outcome::Done, .. } => format!("{}.", span.0),
                Event::End { span, .. } => format!("{}x", span.0),
                other => format!("{}-", other.span().0),
            });
        };
        for event in events {
            open.apply(event, &mut word);
        }
        open.close(0, &mut word);
        assert!(open.is_empty());
        assert_eq!(words.join(" "), want);
    }

    #[test]
    fn every_span_ends_once_and_children_first() {
        check(vec![start(1, 0), start(2, 1), log(2), end(2), end(1)], "1<0 2<1 2- 2! 1!");
        check(vec![start(1, 0), start(2, 1), start(3, 2), start(4, 1), end(1)], "1<0 2<1 3<2 4<1 3x 4x 2x 1!");
        check(vec![start(1, 0), start(2, 1), end(1), log(2), end(2), end(1)], "1<0 2<1 2x 1!");
        check(vec![start(1, 0), start(2, 1), start(3, 0)], "1<0 2<1 3<0 2x 1x 3x");
        check(vec![start(9, 0), start(1, 0)], "9<0 1<0 1x 9.");
    }

    #[test]
    fn unknown_spans_are_left_out() {
        check(vec![log(1), end(1), start(2, 1), end(2)], "2<0 2!");
        check(vec![start(1, 0), end(1), start(2, 1), log(1)], "1<0 1! 2<0 2x");
    }
}
