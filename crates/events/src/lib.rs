//! Spans, logs and progress as plain data, and the narrow way to emit them.
//!
//! *Invariants.* Nothing here knows exporters or screens. Emitting never blocks and never fails. An
//! [`Emitter`] is passed down as a value; there is no global one. The emitter of an event
//! removes secrets from its text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Names one span within one engine run. Zero is "no span".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct SpanId(pub u64);

/// The kind of work that a span describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Loading a module: source, types, runtime.
    Load,
    /// A call of a module's function.
    Function,
    /// A process in a container.
    Exec,
    /// An image on its way in.
    Pull,
    /// An image on its way out.
    Push,
    /// Files between host and engine.
    Sync,
    /// Work on files in a snapshot.
    Files,
    /// Anything else worth a line.
    Other,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The work was done now.
    Done,
    /// The result was remembered; nothing ran.
    Cached,
    /// It failed, with this message.
    Failed(String),
    /// Its last waiter left.
    Cancelled,
}

/// Which stream a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output of a process.
    Stdout,
    /// Standard error of a process.
    Stderr,
    /// A remark of the engine itself.
    Note,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Work began.
    Start {
        /// The span.
        span: SpanId,
        /// The span it belongs to; zero for a root.
        parent: SpanId,
        /// What kind of work.
        work: Work,
        /// A short text for people, such as `exec apt-get update`.
        name: String,
        /// Microseconds since the Unix epoch.
        at: u64,
    },
    /// Work ended.
    End {
        /// The span.
        span: SpanId,
        /// How it ended.
        outcome: Outcome,
        /// Microseconds since the Unix epoch.
        at: u64,
    },
    /// Output of a span. The text may hold several lines or a part of one.
    Log {
        /// The span.
        span: SpanId,
        /// Where it came from.
        stream: Stream,
        /// The text; invalid UTF-8 is replaced.
        text: String,
    },
    /// How far a span has come.
    Progress {
        /// The span.
        span: SpanId,
        /// Units done, in bytes unless the name of the span says otherwise.
        done: u64,
        /// Units in all; zero when unknown.
        total: u64,
    },
}

/// Where events go. Implementations never block.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);

    /// Takes the inputs that decided whether the work of `span` ran. `parts` gives their names
    /// and values; most sinks never call it.
    fn explain(&self, _span: SpanId, _parts: &dyn Fn() -> Vec<(String, String)>) {}
}

/// A sink that forgets everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn emit(&self, _: Event) {}
}

struct Both(Arc<dyn Sink>, Arc<dyn Sink>);

impl Sink for Both {
    fn emit(&self, event: Event) {
        self.1.emit(event.clone());
        self.0.emit(event);
    }

    fn explain(&self, span: SpanId, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.0.explain(span, parts);
        self.1.explain(span, parts);
    }
}

/// Emits events under one parent span. Cheap to clone.
#[derive(Clone)]
pub struct Emitter {
    sink: Arc<dyn Sink>,
    parent: SpanId,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Emitter {
    /// An emitter for root spans.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, parent: SpanId::default() }
    }

    /// An emitter whose events go nowhere.
    pub fn nowhere() -> Self {
        Self::new(Arc::new(Nowhere))
    }

    /// The same emitter, with `sink` receiving every event as well.
    #[must_use]
    pub fn also(&self, sink: Arc<dyn Sink>) -> Self {
        Self { sink: Arc::new(Both(self.sink.clone(), sink)), parent: self.parent }
    }

    /// The span that new spans will belong to.
    pub fn parent(&self) -> SpanId {
        self.parent
    }

    /// Opens a span. It ends when [`Span::end`] is called, or as cancelled when it is dropped.
    pub fn span(&self, work: Work, name: impl Into<String>) -> Span {
        let id = SpanId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.sink.emit(Event::Start { span: id, parent: self.parent, work, name: name.into(), at: now() });
        Span { emitter: Emitter { sink: self.sink.clone(), parent: id }, ended: false }
    }

    /// Adds output to the current span.
    pub fn log(&self, stream: Stream, text: impl Into<String>) {
        self.sink.emit(Event::Log { span: self.parent, stream, text: text.into() });
    }

    /// Reports the inputs that decided whether the work of the current span ran.
    pub fn explain(&self, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.sink.explain(self.parent, parts);
    }

    /// Says how far the current span has come.
    pub fn progress(&self, done: u64, total: u64) {
        self.sink.emit(Event::Progress { span: self.parent, done, total });
    }
}

/// An open span.
pub struct Span {
    emitter: Emitter,
    ended: bool,
}

impl Span {
    /// An emitter whose events belong to this span.
    pub fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    /// Ends the span.
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.ended, true) {
            self.emitter.sink.emit(Event::End { span: self.emitter.parent, outcome, at: now() });
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
