//! Spans, logs and progress as plain data, and the narrow way to emit them.
//!
//! *Invariants.* Nothing here knows exporters or screens. Emitting never blocks and never fails. An
//! [`Emitter`] is passed down as a value; there is no global one. Titles are bounded, and so is
//! the number of progress events. Secrets are redacted by sinks; [`Sink::redact`] does so before a
//! title is shortened. A receiver that passes events through [`OpenSpans`] sees one end of every
//! span, whatever happens.

mod emitter;
mod event;
mod open_spans;
mod sink;
mod throttle;
mod title;

pub use emitter::{Emitter, Parts, Span, Waiting, now};
pub use event::{Event, Outcome, SpanId, Stream, Unit, Work};
pub use open_spans::OpenSpans;
pub use sink::{Attribute, Nowhere, Sink};
pub use title::MAX_TITLE_CHARS;
