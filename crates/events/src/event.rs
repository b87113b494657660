//! The events of a span, as they are sent to clients and recorded.

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
    /// A service: a process in a container that runs until the session or its last user ends.
    Service,
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
    /// The result was cached, or other work gave it. Nothing ran for this span.
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

/// The unit of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    #[default]
    Bytes,
    /// Things that the title of the span names, such as files or packages.
    Items,
}

/// One event of a span.
///
/// The events of one span are a `Start`, any number of others, and one `End`, in this order. A
/// parent starts before its children. Times are microseconds since the Unix epoch.
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
        /// A short title for people, such as `exec apt-get update`: one line of at most
        /// [`crate::MAX_TITLE_CHARS`] characters.
        name: String,
        /// The user did not write this work: code of an SDK, registration of types, the process of
        /// a module's runtime.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        internal: bool,
        /// When.
        at: u64,
    },
    /// The span waits. It may wait for several things, one after the other, until `Running`.
    Waiting {
        /// The span.
        span: SpanId,
        /// What it waits for, such as `service db`.
        on: String,
        /// When.
        at: u64,
    },
    /// The span no longer waits.
    Running {
        /// The span.
        span: SpanId,
        /// When.
        at: u64,
    },
    /// Work ended.
    End {
        /// The span.
        span: SpanId,
        /// The outcome.
        outcome: Outcome,
        /// When.
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
    /// Progress of a span: at most ten events per second and span. The last one before `End` is
    /// never left out.
    Progress {
        /// The span.
        span: SpanId,
        /// Units done. May decrease when a transfer starts anew.
        done: u64,
        /// Total units. Zero when unknown. May change.
        total: u64,
        /// The unit of both.
        #[serde(default)]
        unit: Unit,
    },
}

impl Event {
    /// The span that the event is about.
    pub fn span(&self) -> SpanId {
        match self {
            Event::Start { span, .. }
            | Event::Waiting { span, .. }
            | Event::Running { span, .. }
            | Event::End { span, .. }
            | Event::Log { span, .. }
            | Event::Progress { span, .. } => *span,
        }
    }
}
