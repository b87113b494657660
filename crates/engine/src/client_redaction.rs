//! Redacts the plaintext of a session's secrets in everything that its clients are shown: events
//! and errors. Module code that has read a secret may print it anywhere.
//!
//! *Invariants.* Results are not changed: a client that asks for plaintext gets it. A session
//! without secrets costs one read of a flag per event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_events::{Attribute, Event, Outcome, Sink, SpanId, Stream};
use rondel_fault::lock;
use rondel_ops::redact::TextRedactor;
use rondel_query::Response;
use rondel_session::SecretStore;

/// Passes the events of one client on, redacted.
pub(crate) struct RedactedEvents {
    secrets: Arc<SecretStore>,
    inner: Arc<dyn Sink>,
    /// The streams whose last text may be the start of a secret.
    held: Mutex<HashMap<(SpanId, Stream), TextRedactor>>,
}

impl RedactedEvents {
    /// A sink whose events go on to `inner` without the plaintext of `secrets`.
    pub(crate) fn new(secrets: Arc<SecretStore>, inner: Arc<dyn Sink>) -> Arc<Self> {
        Arc::new(Self { secrets, inner, held: Mutex::default() })
    }

    /// How many streams have text that is held back.
    #[cfg(test)]
    pub(crate) fn held_streams(&self) -> usize {
        lock(&self.held).len()
    }
}

impl Sink for RedactedEvents {
    fn emit(&self, event: Event) {
        let Some(secrets) = self.secrets.redaction() else { return self.inner.emit(event) };
        match event {
            Event::Log { span, stream, text } => {
                // ORDER: passed on under the lock, so that the text of a stream stays in order.
                let mut held = lock(&self.held);
                let redactor = held.entry((span, stream)).or_default();
                let text = redactor.push(&secrets, &text);
                if redactor.is_idle() {
                    held.remove(&(span, stream));
                }
                if !text.is_empty() {
                    self.inner.emit(Event::Log { span, stream, text });
                }
            }
            Event::End { span, outcome, at } => {
                let mut held = lock(&self.held);
                for stream in [Stream::Stdout, Stream::Stderr, Stream::Note] {
                    if let Some(redactor) = held.remove(&(span, stream)) {
                        self.inner.emit(Event::Log { span, stream, text: redactor.finish(&secrets) });
                    }
                }
                let outcome = match outcome {
                    Outcome::Failed(why) => Outcome::Failed(secrets.redact(&why)),
                    outcome => outcome,
                };
                self.inner.emit(Event::End { span, outcome, at });
            }
            // Their texts are titles, which are redacted before they are shortened.
            event @ (Event::Start { .. } | Event::Waiting { .. } | Event::Running { .. } | Event::Progress { .. }) => {
                self.inner.emit(event);
            }
        }
    }

    fn explain(&self, span: SpanId, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.inner.explain(span, parts);
    }

    fn attribute(&self, span: SpanId, attribute: &Attribute) {
        self.inner.attribute(span, attribute);
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.secrets.redaction() {
            None => self.inner.redact(text),
            Some(secrets) => Cow::Owned(self.inner.redact(&secrets.redact(text)).into_owned()),
        }
    }
}

/// The response with every error in it redacted.
pub(crate) fn redact_errors(mut response: Response, secrets: &SecretStore) -> Response {
    if let Some(secrets) = secrets.redaction().filter(|_| !response.errors.is_empty()) {
        for error in &mut response.errors {
            error.fault = error.fault.map_texts(&|text| secrets.redact(text));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_events::{Emitter, Work};
    use rondel_model::SecretRef;
    use rondel_ports::secrets::Plaintext;
    use rondel_session::ProvidedSecret;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Event>>);

    impl Sink for Recorder {
        fn emit(&self, event: Event) {
            lock(&self.0).push(event);
        }
    }

    /// Events of a session with the secret `text`, and what a client gets of them as JSON.
    fn received(text: &str, run: impl FnOnce(&Emitter)) -> Vec<String> {
        let (recorder, secrets) = (Arc::new(Recorder::default()), Arc::<SecretStore>::default());
        let secret =
            SecretRef { key: Digest::of_bytes(b"key"), name: "".into(), uri: "".into(), from_nested_client: false };
        secrets.put(&secret, ProvidedSecret::lasting(Plaintext::new(text.into())));
        let sink = RedactedEvents::new(secrets, recorder.clone());
        run(&Emitter::new(sink.clone()));
        assert_eq!(sink.held_streams(), 0, "nothing is held for a span that has ended");
        let events = lock(&recorder.0).clone();
        events.iter().map(|event| serde_json::to_string(event).expect("it is plain data")).collect()
    }

    fn texts(events: &[String]) -> Vec<String> {
        let log =
            |event: &String| serde_json::from_str::<serde_json::Value>(event).ok()?["text"].as_str().map(str::to_owned);
        events.iter().filter_map(log).collect()
    }

    #[test]
    fn every_text_of_events_is_redacted() {
        let events = received("hunter2-hunter2", |events| {
            let span = events.span(Work::Exec, "exec login hunter2-hunter2");
            span.emitter().wait("service hunter2-hunter2");
            span.emitter().log(Stream::Stdout, "it is hunter2-");
            span.emitter().log(Stream::Stderr, "in between");
            span.emitter().log(Stream::Stdout, "hunter2, and hunt");
            span.end(Outcome::Failed("no hunter2-hunter2".into()));
        });
        assert!(!events.concat().contains("hunter2"), "{events:?}");
        assert_eq!(texts(&events), ["it is ", "in between", "***, and ", "hunt"]);
        for want in ["exec login ***", "service ***", "no ***"] {
            assert!(events.concat().contains(want), "{events:?}");
        }
    }

    #[test]
    fn titles_are_redacted_before_they_are_shortened() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        let events = received(digits, |events| drop(events.span(Work::Exec, format!("exec login {digits}"))));
        assert!(events[0].contains("exec login ***"), "{events:?}");
        let long = format!("exec {} {digits}", "x".repeat(80));
        let events = received(digits, |events| drop(events.span(Work::Exec, &long)));
        assert!(events[0].contains("x ***"), "{events:?}");
    }

    #[test]
    fn other_receivers_of_the_same_events_do_not_undo_it() {
        let events = received("hunter2", |events| {
            let both = events.also(Arc::new(Recorder::default()));
            drop(both.span(Work::Exec, "exec login hunter2"));
        });
        assert!(events[0].contains("exec login ***"), "{events:?}");
    }
}
