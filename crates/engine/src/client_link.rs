//! The connection of an attached client: events and questions go out, answers come in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rondel_events::{Event, Sink};
use rondel_fault::{Fault, Result, lock};
use rondel_link::{Answer, FromClient, FromEngine, Question};
use rondel_ports::BoxFuture;
use rondel_session::ClientLink;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How many events may wait for a client that reads slowly before new ones are dropped, by
/// [`weight`].
const MAX_QUEUED_EVENTS: u64 = 100_000;
/// This much text of a log counts as one event, in bytes.
const LOG_BYTES_PER_EVENT: usize = 512;

/// Sends events to one client.
struct EventSender {
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: Arc<AtomicU64>,
}

impl Sink for EventSender {
    fn emit(&self, event: Event) {
        let line = FromEngine::Event(event);
        let weight = weight(&line);
        if self.waiting.fetch_add(weight, Ordering::Relaxed) < MAX_QUEUED_EVENTS {
            let _ = self.lines.send(line);
        } else {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
        }
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
    /// The next line. `None` when nothing can send to the client any more.
    pub(crate) async fn next(&mut self) -> Option<FromEngine> {
        let line = self.lines.recv().await?;
        self.waiting.fetch_sub(weight(&line), Ordering::Relaxed);
        Some(line)
    }
}

/// The connection of a client, with the questions that wait for an answer.
pub struct Link {
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: Arc<AtomicU64>,
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
        Arc::new(EventSender { lines: self.lines.clone(), waiting: self.waiting.clone() })
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
    use rondel_events::{SpanId, Stream};

    use super::*;

    #[test]
    fn what_waits_is_bounded_by_its_size() {
        let (lines, mut outbox) = mpsc::unbounded_channel();
        let sink = EventSender { lines, waiting: Arc::default() };
        let log = |size: usize| Event::Log { span: SpanId(1), stream: Stream::Stdout, text: "x".repeat(size) };
        for _ in 0..2_000 {
            sink.emit(log(64 << 10));
        }
        let mut bytes = 0;
        while let Ok(FromEngine::Event(Event::Log { text, .. })) = outbox.try_recv() {
            bytes += text.len();
        }
        assert!((40 << 20..60 << 20).contains(&bytes), "{bytes}");
    }
}
