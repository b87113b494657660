//! Emitting: spans, their output and their progress.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use crate::event::{Event, Outcome, SpanId, Stream, Unit, Work};
use crate::sink::{Attribute, Both, Nowhere, Sink};
use crate::throttle::{ProgressState, Throttle};
use crate::title::title;

/// Emits events under one parent span. Cheap to clone.
#[derive(Clone)]
pub struct Emitter {
    sink: Arc<dyn Sink>,
    span: Arc<SpanState>,
    call: Option<Arc<str>>,
    internal: bool,
    /// Progress is that of a part of the span.
    part: Option<Arc<Part>>,
}

/// What all emitters of one span share.
#[derive(Default)]
struct SpanState {
    id: SpanId,
    ended: AtomicBool,
    waits: AtomicUsize,
    progress: Mutex<Throttle>,
}

/// The sum of the progress of the parts of a span.
#[derive(Default)]
struct Sum {
    done: AtomicU64,
    total: AtomicU64,
}

struct Part {
    sum: Arc<Sum>,
    done: AtomicU64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Emitter {
    /// An emitter for root spans.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, span: Arc::default(), call: None, internal: false, part: None }
    }

    /// An emitter whose events go nowhere.
    pub fn nowhere() -> Self {
        Self::new(Arc::new(Nowhere))
    }

    /// The same emitter, whose events `sink` receives too.
    #[must_use]
    pub fn also(&self, sink: Arc<dyn Sink>) -> Self {
        Self { sink: Arc::new(Both(self.sink.clone(), sink)), ..self.clone() }
    }

    /// The same emitter for the work of one API call. Its spans get the id `call`.
    #[must_use]
    pub fn for_call(&self, call: impl Into<Arc<str>>) -> Self {
        Self { call: Some(call.into()), ..self.clone() }
    }

    /// The same emitter for work that the user did not write. All spans below it are internal.
    #[must_use]
    pub fn internal(&self) -> Self {
        Self { internal: true, ..self.clone() }
    }

    /// An emitter of the same receiver for work that outlives the current span. Its spans are
    /// roots.
    #[must_use]
    pub fn root(&self) -> Self {
        Self { span: Arc::default(), part: None, ..self.clone() }
    }

    /// The parent of new spans.
    pub fn parent(&self) -> SpanId {
        self.span.id
    }

    /// Opens a span. It ends with [`Span::end`]. A span that is dropped ends as cancelled.
    ///
    /// `name` becomes one line of at most [`crate::MAX_TITLE_CHARS`] characters, with digests
    /// shortened.
    pub fn span(&self, work: Work, name: impl AsRef<str>) -> Span {
        self.open(work, name.as_ref(), self.internal)
    }

    /// Opens a span for work that the user did not write, such as the process of a module's
    /// runtime. Spans below it are not internal for that reason.
    pub fn internal_span(&self, work: Work, name: impl AsRef<str>) -> Span {
        self.open(work, name.as_ref(), true)
    }

    fn open(&self, work: Work, name: &str, internal: bool) -> Span {
        let span = SpanId(NEXT.fetch_add(1, Ordering::Relaxed));
        let name = title(&self.sink.redact(name));
        self.sink.emit(Event::Start { span, parent: self.span.id, work, name, internal, at: now() });
        if let Some(call) = &self.call {
            self.sink.attribute(span, &Attribute::CallId(call.clone()));
        }
        let state = Arc::new(SpanState { id: span, ..SpanState::default() });
        Span { emitter: Emitter { span: state, part: None, ..self.clone() } }
    }

    /// Emits output of the current span.
    pub fn log(&self, stream: Stream, text: impl Into<String>) {
        self.sink.emit(Event::Log { span: self.span.id, stream, text: text.into() });
    }

    /// Reports the inputs that decided whether the work of the current span ran.
    pub fn explain(&self, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.sink.explain(self.span.id, parts);
    }

    /// Reports a fact about the current span to the engine's own log.
    pub fn attribute(&self, attribute: &Attribute) {
        self.sink.attribute(self.span.id, attribute);
    }

    /// Reports how many bytes of the current span are done, of `total`, which is zero when it is
    /// unknown. May be called for every piece: only some of the calls are reported, and always the
    /// last one.
    pub fn bytes(&self, done: u64, total: u64) {
        self.progress(done, total, Unit::Bytes);
    }

    /// As [`Emitter::bytes`], for things that the title names.
    pub fn items(&self, done: u64, total: u64) {
        self.progress(done, total, Unit::Items);
    }

    fn progress(&self, done: u64, total: u64, unit: Unit) {
        let progress = match &self.part {
            None => ProgressState { done, total, unit },
            Some(part) => {
                let before = part.done.swap(done, Ordering::Relaxed);
                // Wraps when a part starts anew, and so subtracts.
                let change = done.wrapping_sub(before);
                let done = part.sum.done.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
                ProgressState { done, total: part.sum.total.load(Ordering::Relaxed), unit }
            }
        };
        self.report(|throttle| throttle.push(progress, now()));
    }

    fn report(&self, choose: impl FnOnce(&mut Throttle) -> Option<ProgressState>) {
        // ORDER: emitted under the lock, so that older progress never follows newer.
        let mut throttle = self.span.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if self.span.id != SpanId::default()
            && !self.span.ended.load(Ordering::Relaxed)
            && let Some(ProgressState { done, total, unit }) = choose(&mut throttle)
        {
            self.sink.emit(Event::Progress { span: self.span.id, done, total, unit });
        }
    }

    /// Sums the bytes of parts of the current span, whose sizes are `total` altogether.
    pub fn parts(&self, total: u64) -> Parts {
        Parts { emitter: self.clone(), sum: Arc::new(Sum { done: AtomicU64::new(0), total: AtomicU64::new(total) }) }
    }

    /// Waits for `work`. If it is not ready at once, the span is reported as waiting for `on`
    /// meanwhile.
    pub async fn waiting<F: Future>(&self, on: impl FnOnce() -> String, work: F) -> F::Output {
        let mut work = pin!(work);
        let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        match first {
            Poll::Ready(done) => done,
            Poll::Pending => {
                let _waiting = self.wait(&on());
                work.await
            }
        }
    }

    /// Reports that the current span waits for `on`, until the result is dropped.
    pub fn wait(&self, on: &str) -> Waiting {
        self.span.waits.fetch_add(1, Ordering::Relaxed);
        if self.span.id != SpanId::default() {
            let on = title(&self.sink.redact(on));
            self.sink.emit(Event::Waiting { span: self.span.id, on, at: now() });
        }
        Waiting(self.clone())
    }
}

/// A span that waits.
pub struct Waiting(Emitter);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Emitter { sink, span, .. } = &self.0;
        let is_last = span.waits.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && span.id != SpanId::default() && !span.ended.load(Ordering::Relaxed) {
            sink.emit(Event::Running { span: span.id, at: now() });
        }
    }
}

/// The parts of a span whose progress is summed, such as the layers of an image.
#[derive(Clone)]
pub struct Parts {
    emitter: Emitter,
    sum: Arc<Sum>,
}

impl Parts {
    /// An emitter of the span whose progress is that of one further part.
    pub fn part(&self) -> Emitter {
        let part = Part { sum: self.sum.clone(), done: AtomicU64::new(0) };
        Emitter { part: Some(Arc::new(part)), ..self.emitter.clone() }
    }

    /// Adds bytes that are done. May be called from several threads at once.
    pub fn add(&self, bytes: u64) {
        let done = self.sum.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.emitter.bytes(done, self.sum.total.load(Ordering::Relaxed));
    }

    /// Adds parts of `size` altogether to the total.
    pub fn grow(&self, size: u64) {
        self.sum.total.fetch_add(size, Ordering::Relaxed);
    }

    /// As [`Emitter::wait`].
    pub fn wait(&self, on: &str) -> Waiting {
        self.emitter.wait(on)
    }

    /// Subtracts a part of `size`, which turned out not to be needed, from the total.
    pub fn skip(&self, size: u64) {
        self.sum.total.fetch_sub(size, Ordering::Relaxed);
    }
}

/// An open span.
pub struct Span {
    emitter: Emitter,
}

impl Span {
    /// An emitter whose events belong to this span.
    pub fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    /// Ends the span.
    pub fn end(self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&self, outcome: Outcome) {
        self.emitter.report(Throttle::flush);
        if !self.emitter.span.ended.swap(true, Ordering::Relaxed) {
            self.emitter.sink.emit(Event::End { span: self.emitter.span.id, outcome, at: now() });
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}

/// The time, in microseconds since the Unix epoch.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Event>>);

    impl Sink for Recorder {
        fn emit(&self, event: Event) {
            self.0.lock().expect("no panic").push(event);
        }
    }

    impl Recorder {
        /// The events without ids and times.
        fn words(&self) -> Vec<String> {
            let word = |event: &Event| match event {
                Event::Start { name, internal, .. } => {
                    format!("start {name}{}", if *internal { " internal" } else { "" })
                }
                Event::Waiting { on, .. } => format!("waiting {on}"),
                Event::Running { .. } => "running".into(),
                Event::End { outcome, .. } => format!("end {outcome:?}"),
                Event::Log { text, .. } => format!("log {text}"),
                Event::Progress { done, total, unit, .. } => format!("{done}/{total} {unit:?}"),
            };
            self.0.lock().expect("no panic").iter().map(word).collect()
        }
    }

    fn recorded(run: impl FnOnce(Emitter)) -> Vec<String> {
        let recorder = Arc::new(Recorder::default());
        run(Emitter::new(recorder.clone()));
        recorder.words()
    }

    #[test]
    fn the_last_progress_comes_before_the_end() {
        let words = recorded(|events| {
            let span = events.span(Work::Pull, "pull");
            (0..=1000).for_each(|done| span.emitter().bytes(done, 2000));
            span.emitter().items(7, 0);
            let late = span.emitter().clone();
            span.end(Outcome::Done);
            late.items(8, 0);
        });
        // More is reported when the test is interrupted for a while.
        assert!(words.len() < 100, "{words:?}");
        assert_eq!(words[..2], ["start pull", "0/2000 Bytes"]);
        assert_eq!(words[words.len() - 2..], ["7/0 Items", "end Done"]);
    }

    #[test]
    fn parts_are_summed() {
        let words = recorded(|events| {
            let span = events.span(Work::Pull, "pull");
            let parts = span.emitter().parts(60);
            let [one, other] = [parts.part(), parts.part()];
            one.bytes(5, 10);
            other.bytes(20, 40);
            // A part that starts anew, and one that is not needed.
            one.bytes(0, 10);
            one.bytes(10, 10);
            parts.skip(10);
            other.bytes(40, 40);
        });
        assert_eq!(words[..2], ["start pull", "5/60 Bytes"]);
        assert_eq!(words[words.len() - 2..], ["50/50 Bytes", "end Cancelled"]);
    }

    #[test]
    fn internal_work_is_marked() {
        let words = recorded(|events| {
            let runtime = events.internal_span(Work::Exec, "runtime");
            drop(runtime.emitter().span(Work::Exec, "own"));
            drop(events.internal().span(Work::Load, "sdk").emitter().span(Work::Exec, "below"));
        });
        let starts: Vec<_> = words.iter().filter(|word| word.starts_with("start")).collect();
        assert_eq!(starts, ["start runtime internal", "start own", "start sdk internal", "start below internal"]);
    }

    #[test]
    fn only_real_waits_are_reported() {
        fn poll<F: Future>(work: F) -> Poll<F::Output> {
            pin!(work).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        }
        let words = recorded(|events| {
            let span = events.span(Work::Exec, "exec");
            let ready = span.emitter().waiting(|| unreachable!("it does not wait"), std::future::ready(1));
            assert_eq!(poll(ready), Poll::Ready(1));
            // Polled once, and dropped: the wait ends.
            assert!(poll(span.emitter().waiting(|| "service db".into(), std::future::pending::<()>())).is_pending());
            let [one, other] = ["a", "b"].map(|on| span.emitter().wait(on));
            drop(one);
            drop(other);
            let late = span.emitter().wait("c");
            span.end(Outcome::Done);
            drop(late);
        });
        let want = ["waiting service db", "running", "waiting a", "waiting b", "running", "waiting c", "end Done"];
        assert_eq!(words, [&["start exec"], &want[..]].concat());
    }
}
