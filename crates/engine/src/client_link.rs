//! The connection of an attached client: events and questions go out, answers come in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rondel_events::{Event, OpenSpans, Sink};
use rondel_fault::{Fault, Result, lock};
use rondel_link::{Answer, FromClient, FromEngine, Question};
use rondel_ports::BoxFuture;
use rondel_session::ClientLink;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How many events may wait for a client that reads slowly before new ones are dropped, by
/// [`weight`].
const MAX_QUEUED_EVENTS: u64 = 100_000;
/// How much is written to a client at a time, unless a single line is longer, in bytes.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// This much text of a log counts as one event, in bytes.
const LOG_BYTES_PER_EVENT: usize = 512;

/// Sends events to one client.
///
/// The client gets one end for every span that it got a start of, even when its queue is full: the
/// ends that wait beyond the limit are at most as many as there are open spans.
struct EventSender {
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: Arc<AtomicU64>,
    open: Mutex<OpenSpans>,
}

impl Sink for EventSender {
    fn emit(&self, event: Event) {
        let is_full = self.waiting.load(Ordering::Relaxed) >= MAX_QUEUED_EVENTS;
        if is_full && !matches!(event, Event::End { .. } | Event::Running { .. }) {
            return;
        }
        // ORDER: sent under the lock, so that a span's events stay in order.
        lock(&self.open).apply(event, |event| {
            let line = FromEngine::Event(event);
            self.waiting.fetch_add(weight(&line), Ordering::Relaxed);
            let _ = self.lines.send(line);
        });
    }
}

/// The weight of a line while it waits. Memory is bounded, whether events are many or large.
fn weight(line: &FromEngine) -> u64 {
    match line {
        FromEngine::Event(Event::Log { text, .. }) => 1 + (text.len() / LOG_BYTES_PER_EVENT) as u64,
        _ => 1,
    }
}

/// The lines that wait to be written to a client.
pub(crate) struct OutgoingLines {
    lines: mpsc::UnboundedReceiver<FromEngine>,
    waiting: Arc<AtomicU64>,
}

impl OutgoingLines {
    /// The next lines as text, at least one, and more if they wait already. `None` when nothing can
    /// send to the client any more.
    pub(crate) async fn next<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        buffer.clear();
        let mut next = self.lines.recv().await?;
        loop {
            self.waiting.fetch_sub(weight(&next), Ordering::Relaxed);
            // Everything that is sent can be written as JSON.
            if serde_json::to_writer(&mut *buffer, &next).is_ok() {
                buffer.push(b'\n');
            }
            if buffer.len() >= MAX_WRITE_BYTES {
                break;
            }
            match self.lines.try_recv() {
                Ok(line) => next = line,
                Err(_) => break,
            }
        }
        Some(buffer)
    }
}

/// The connection of a client, with the questions that wait for an answer.
pub struct Link {
    lines: mpsc::UnboundedSender<FromEngine>,
    /// The weight of what waits to be written.
    pub(crate) waiting: Arc<AtomicU64>,
    next: AtomicU64,
    asked: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// The client reads secrets of providers.
    pub(crate) providers: AtomicBool,
    pub(crate) gone: CancellationToken,
}

impl Link {
    /// A connection, and what has to be written to it.
    pub(crate) fn new() -> (Arc<Self>, OutgoingLines) {
        let (lines, outgoing) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let link = Self {
            lines,
            waiting: waiting.clone(),
            next: AtomicU64::new(1),
            asked: Mutex::default(),
            providers: AtomicBool::default(),
            gone: CancellationToken::new(),
        };
        (Arc::new(link), OutgoingLines { lines: outgoing, waiting })
    }

    /// Where events for the client go.
    pub(crate) fn event_sender(&self) -> Arc<dyn Sink> {
        Arc::new(EventSender { lines: self.lines.clone(), waiting: self.waiting.clone(), open: Mutex::default() })
    }

    /// Asks the client a question and waits for the answer.
    ///
    /// # Errors
    /// When the client goes away first.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer> {
        let gone = || Fault::cancelled("the client went away before it answered");
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.asked).insert(id, sender);
        self.send(FromEngine::Ask { id, question });
        tokio::select! {
            answer = answer => answer.map_err(|_| gone()),
            () = self.gone.cancelled() => Err(gone()),
        }
    }

    /// Sends a line to the client. A client that is gone receives nothing.
    pub(crate) fn send(&self, line: FromEngine) {
        self.waiting.fetch_add(weight(&line), Ordering::Relaxed);
        let _ = self.lines.send(line);
    }

    /// Handles a line from the client.
    pub(crate) fn on_message(&self, line: &str) {
        match serde_json::from_str(line) {
            Ok(FromClient::Answer { id, answer }) => {
                let asked = lock(&self.asked).remove(&id);
                let _ = asked.map(|sender| sender.send(answer));
            }
            // ORDER: behind every event that was emitted until now.
            // A client that pings and does not read gets no pong beyond what may wait for it.
            Ok(FromClient::Ping { .. }) if self.waiting.load(Ordering::Relaxed) > 2 * MAX_QUEUED_EVENTS => {}
            Ok(FromClient::Ping { id }) => {
                self.send(FromEngine::Pong { id });
            }
            // A newer client may send messages that this engine does not know.
            Err(_) => {}
        }
    }
}

impl ClientLink for Link {
    fn variable<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            match self.ask(Question::Variable(name.to_owned())).await? {
                Answer::Missing => Ok(None),
                Answer::Bytes(bytes) => String::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| Fault::user(format!("the environment variable `{name}` is not UTF-8"))),
                Answer::Failed(why) => Err(Fault::environment(format!("cannot read the variable `{name}`: {why}"))),
                Answer::Done | Answer::Port(_) => Err(not_understood()),
            }
        })
    }

    fn command<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            match self.ask(Question::Command(command.to_owned())).await? {
                Answer::Bytes(bytes) => Ok(bytes),
                Answer::Missing => Err(Fault::user("the command gave nothing")),
                Answer::Failed(why) => Err(Fault::user(why)),
                Answer::Done | Answer::Port(_) => Err(not_understood()),
            }
        })
    }

    fn secret<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            if !self.providers.load(Ordering::Relaxed) {
                return Err(Fault::user(format!("the client is too old to read the secret `{uri}`")));
            }
            match self.ask(Question::Secret(uri.to_owned())).await? {
                Answer::Bytes(bytes) => Ok(bytes),
                Answer::Missing => Err(Fault::user(format!("there is no secret `{uri}`"))),
                Answer::Failed(why) => Err(Fault::user(why)),
                Answer::Done | Answer::Port(_) => Err(not_understood()),
            }
        })
    }
}

fn not_understood() -> Fault {
    Fault::environment("the client's answer is not understood")
}

#[cfg(test)]
mod tests {
    use rondel_events::{Emitter, Outcome, Stream, Work};

    use super::*;

    fn sender() -> (Emitter, mpsc::UnboundedReceiver<FromEngine>) {
        let (lines, outbox) = mpsc::unbounded_channel();
        let sender = EventSender { lines, waiting: Arc::default(), open: Mutex::default() };
        (Emitter::new(Arc::new(sender)), outbox)
    }

    #[test]
    fn what_waits_is_bounded_by_its_size() {
        let (events, mut outbox) = sender();
        let span = events.span(Work::Exec, "loud");
        for _ in 0..2_000 {
            span.emitter().log(Stream::Stdout, "x".repeat(64 << 10));
        }
        let mut bytes = 0;
        while let Ok(line) = outbox.try_recv() {
            if let FromEngine::Event(Event::Log { text, .. }) = line {
                bytes += text.len();
            }
        }
        assert!((40 << 20..60 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_client_that_does_not_read_gets_the_end_of_every_span_that_it_got() {
        let (events, mut outbox) = sender();
        let root = events.span(Work::Function, "function");
        for _ in 0..100_000 {
            let span = root.emitter().span(Work::Exec, "exec");
            let _waiting = span.emitter().wait("service db");
            span.emitter().log(Stream::Stdout, "x");
            span.end(Outcome::Done);
        }
        root.end(Outcome::Done);
        let mut open = std::collections::HashSet::new();
        let (mut lines, mut spans) = (0, 0);
        while let Ok(FromEngine::Event(event)) = outbox.try_recv() {
            lines += 1;
            match event {
                Event::Start { span, .. } => {
                    spans += 1;
                    assert!(open.insert(span));
                }
                Event::End { span, .. } => assert!(open.remove(&span)),
                other => assert!(open.contains(&other.span())),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        // The spans that do not fit are left out with all their events.
        assert!((20_000..40_000).contains(&spans), "{spans}");
        assert!(lines <= MAX_QUEUED_EVENTS + 10, "{lines}");
    }
}
