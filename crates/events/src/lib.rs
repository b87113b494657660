//! Spans, logs and progress as plain data, and the narrow way to emit them.
//!
//! *Invariants.* Nothing here knows exporters or screens. Emitting never blocks and never fails. An
//! [`Emitter`] is passed down as a value; there is no global one. The code that emits an event
//! redacts secrets in its text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Identifies one span within one engine run. Zero means "no span".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct SpanId(pub u64);

/// The kind of work of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Loading a module: source, types, runtime.
    Load,
    /// A call of a module's function.
    Function,
    /// A process in a container.
    Exec,
    /// Pulling an image, or fetching a file of the web or a git checkout.
    Pull,
    /// Pushing an image.
    Push,
    /// Transferring files between host and engine.
    Sync,
    /// Work on files in a snapshot.
    Files,
    /// Other work that deserves a line.
    Other,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The work was done now.
    Done,
    /// The result was cached. Nothing ran.
    Cached,
    /// The work failed with this message.
    Failed(String),
    /// The work was cancelled because nothing waited for it any more.
    Cancelled,
}

/// The stream that a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output of a process.
    Stdout,
    /// Standard error of a process.
    Stderr,
    /// A message of the engine itself.
    Note,
}

/// One event of a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Work began.
    Start {
        /// The span.
        span: SpanId,
        /// The parent span. Zero for a root.
        parent: SpanId,
        /// The kind of work.
        work: Work,
        /// A short title, such as `exec apt-get update`.
        name: String,
        /// Microseconds since the Unix epoch.
        at: u64,
    },
    /// Work ended.
    End {
        /// The span.
        span: SpanId,
        /// The outcome.
        outcome: Outcome,
        /// Microseconds since the Unix epoch.
        at: u64,
    },
    /// Output of a span. The text may hold several lines or a part of one.
    Log {
        /// The span.
        span: SpanId,
        /// The stream.
        stream: Stream,
        /// The text. Invalid UTF-8 is replaced.
        text: String,
    },
    /// Progress of a span.
    Progress {
        /// The span.
        span: SpanId,
        /// Units done, in bytes unless the name of the span says otherwise.
        done: u64,
        /// Total units. Zero when unknown.
        total: u64,
    },
}

/// A fact about a span for the engine's own log. Attributes are not sent to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// The id of the API call that asked for the work: its short recipe digest.
    CallId(Arc<str>),
    /// The id of the process: its short recipe digest.
    ExecId(String),
    /// The exit code of the process.
    ExitCode(i32),
}

/// Receives events. Implementations never block.
pub trait Sink: Send + Sync {
    /// Receives one event.
    fn emit(&self, event: Event);

    /// Receives the inputs that decided whether the work of `span` ran. `parts` builds their names
    /// and values; most sinks do not call it.
    fn explain(&self, _span: SpanId, _parts: &dyn Fn() -> Vec<(String, String)>) {}

    /// Receives a fact about `span`.
    fn attribute(&self, _span: SpanId, _attribute: &Attribute) {}
}

/// A sink that drops every event.
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

    fn attribute(&self, span: SpanId, attribute: &Attribute) {
        self.0.attribute(span, attribute);
        self.1.attribute(span, attribute);
    }
}

/// Emits events under one parent span. Cheap to clone.
#[derive(Clone)]
pub struct Emitter {
    sink: Arc<dyn Sink>,
    parent: SpanId,
    call: Option<Arc<str>>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Emitter {
    /// An emitter for root spans.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, parent: SpanId::default(), call: None }
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

    /// The parent of new spans.
    pub fn parent(&self) -> SpanId {
        self.parent
    }

    /// Opens a span. It ends with [`Span::end`]. A span that is dropped ends as cancelled.
    pub fn span(&self, work: Work, name: impl Into<String>) -> Span {
        let id = SpanId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.sink.emit(Event::Start { span: id, parent: self.parent, work, name: name.into(), at: now() });
        if let Some(call) = &self.call {
            self.sink.attribute(id, &Attribute::CallId(call.clone()));
        }
        Span { emitter: Emitter { parent: id, ..self.clone() }, ended: false }
    }

    /// Emits output of the current span.
    pub fn log(&self, stream: Stream, text: impl Into<String>) {
        self.sink.emit(Event::Log { span: self.parent, stream, text: text.into() });
    }

    /// Reports the inputs that decided whether the work of the current span ran.
    pub fn explain(&self, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.sink.explain(self.parent, parts);
    }

    /// Reports a fact about the current span to the engine's own log.
    pub fn attribute(&self, attribute: &Attribute) {
        self.sink.attribute(self.parent, attribute);
    }

    /// Reports the progress of the current span.
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
