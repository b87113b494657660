//! Receivers of events.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{Event, SpanId};

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

    /// Redacts the secrets in a text before it is shortened to a title. A secret that is cut off
    /// would not be recognized later.
    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(text)
    }
}

/// A sink that drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn emit(&self, _: Event) {}
}

/// A sink of two sinks.
pub(crate) struct Both(pub(crate) Arc<dyn Sink>, pub(crate) Arc<dyn Sink>);

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

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.0.redact(text) {
            Cow::Borrowed(text) => self.1.redact(text),
            Cow::Owned(text) => Cow::Owned(self.1.redact(&text).into_owned()),
        }
    }
}
