//! The whole path of events from work in the engine to the connection of a client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rondel_digest::Digest;
use rondel_events::{Emitter, Outcome, Stream, Work};
use rondel_model::SecretRef;
use rondel_ports::secrets::Plaintext;
use rondel_session::{ProvidedSecret, SecretStore};

use crate::client_link::Link;
use crate::client_redaction::RedactedEvents;
use crate::operator_log::OperatorLog;

const SPANS: usize = 100_000;
/// How many spans run at a time.
const OPEN: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_many_spans_holds_only_what_is_open() {
    let secrets = Arc::<SecretStore>::default();
    let secret =
        SecretRef { key: Digest::of_bytes(b"key"), name: "".into(), uri: "".into(), from_nested_client: false };
    secrets.put(&secret, ProvidedSecret::lasting(Plaintext::new("hunter2".into())));
    let (link, mut outgoing) = Link::new();
    let redacted = RedactedEvents::new(secrets, link.event_sender());
    let log = OperatorLog::new("s".into(), "c".into(), redacted.clone(), Arc::default());
    let events = Emitter::new(log.clone());
    let waiting = link.waiting.clone();
    drop(link);
    let reader = tokio::spawn(async move {
        let (mut buffer, mut ends, mut leaks) = (Vec::new(), 0, 0);
        while let Some(lines) = outgoing.next(&mut buffer).await {
            let text = String::from_utf8_lossy(lines);
            ends += text.matches("\"event\":\"end\"").count();
            leaks += text.matches("hunter2").count();
        }
        (ends, leaks)
    });
    let (log_of_work, redacted_of_work) = (log.clone(), redacted.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut open = std::collections::VecDeque::new();
        let mut most = (0, 0);
        for at in 0..SPANS {
            let span = events.span(Work::Exec, format!("exec {at}"));
            // The start of a secret is held back until the span ends.
            span.emitter().log(Stream::Stdout, "the word is hunter2, or hunt");
            span.emitter().bytes(at as u64, 0);
            open.push_back(span);
            if let Some(span) = (open.len() > OPEN).then(|| open.pop_front()).flatten() {
                span.end(Outcome::Done);
            }
            most = (most.0.max(log_of_work.open_spans()), most.1.max(redacted_of_work.held_streams()));
            // A client that keeps up: as in the engine, the reader has a thread of its own.
            while waiting.load(Ordering::Relaxed) > 50_000 {
                std::thread::yield_now();
            }
        }
        drop(open);
        (most, waiting)
    });
    let (most, waiting) = work.await.expect("no panic");
    assert_eq!(most, (OPEN, OPEN));
    assert_eq!((log.open_spans(), redacted.held_streams()), (0, 0));
    drop((log, redacted));
    assert_eq!(reader.await.expect("no panic"), (SPANS, 0));
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
}
