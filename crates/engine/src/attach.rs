//! The connection of an attached client: events go out, questions too, answers come in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rondel_events::{Emitter, Event, Nowhere, Sink};
use rondel_fault::{Fault, Result};
use rondel_link::{Answer, FromClient, FromEngine, Greeting, Hello, Question, Refusal, Welcome};
use rondel_ports::BoxFuture;
use rondel_session::ClientLink;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clients::{AttachedClient, Engine};
use crate::nested::NestedEndpoint;
use crate::streams::ClientMachine;

/// How much may wait for a client that reads slowly before new events are dropped, by [`weight`].
const MAX_QUEUED_EVENTS: u64 = 100_000;
/// As much text of a log counts as one event, in bytes.
const LOG_BYTES_PER_EVENT: usize = 512;

/// How long a client may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest line with which a client says who it is, in bytes.
const MAX_HELLO_BYTES: u64 = 1 << 20;
/// The longest line of a client on this machine afterwards, in bytes: the answer to a question may
/// be a large secret.
const MAX_CLIENT_LINE_BYTES: u64 = 256 << 20;
/// The longest line of a process in a container afterwards, in bytes: it is asked nothing.
const MAX_CONTAINER_LINE_BYTES: u64 = 64 << 10;

/// Where a client comes from.
pub enum Origin {
    /// The engine's socket. It gets a session of its own, or joins that of the client with it.
    Machine(Arc<Engine>, Option<AttachedClient>),
    /// A process in a container that has access to the API, and its right to be attached.
    Exec(NestedEndpoint, OwnedSemaphorePermit),
}

impl Origin {
    fn detach(&self, id: &str) {
        match self {
            Origin::Machine(engine, _) => engine.detach(id),
            Origin::Exec(endpoint, _) => endpoint.detach(id),
        }
    }

    fn max_line_bytes(&self) -> u64 {
        match self {
            Origin::Machine(..) => MAX_CLIENT_LINE_BYTES,
            Origin::Exec(..) => MAX_CONTAINER_LINE_BYTES,
        }
    }
}

/// Lines for one client.
struct Outbox {
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: Arc<AtomicU64>,
}

impl Sink for Outbox {
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

/// What a line counts for while it waits: memory is bounded, whether events are many or large.
fn weight(line: &FromEngine) -> u64 {
    match line {
        FromEngine::Event(Event::Log { text, .. }) => 1 + (text.len() / LOG_BYTES_PER_EVENT) as u64,
        _ => 1,
    }
}

/// The connection of a client, with the questions under way.
pub struct Link {
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: Arc<AtomicU64>,
    next: AtomicU64,
    asked: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// The client reads secrets of providers.
    providers: AtomicBool,
    gone: CancellationToken,
}

impl Link {
    /// The client's answer.
    ///
    /// # Errors
    /// When it goes away first.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer> {
        let gone = || Fault::cancelled("the client went away before it answered");
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, tell);
        self.send(FromEngine::Ask { id, question });
        tokio::select! {
            told = told => told.map_err(|_| gone()),
            () = self.gone.cancelled() => Err(gone()),
        }
    }

    /// Tells the client something. One that is gone is told nothing.
    pub(crate) fn send(&self, line: FromEngine) {
        self.waiting.fetch_add(weight(&line), Ordering::Relaxed);
        let _ = self.lines.send(line);
    }

    fn on_message(&self, line: &str) {
        match serde_json::from_str(line) {
            Ok(FromClient::Answer { id, answer }) => {
                let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                let _ = asked.map(|tell| tell.send(answer));
            }
            // ORDER: behind every event that was emitted until now.
            // A client that asks and does not read is not answered beyond what may wait for it.
            Ok(FromClient::Ping { .. }) if self.waiting.load(Ordering::Relaxed) > 2 * MAX_QUEUED_EVENTS => {}
            Ok(FromClient::Ping { id }) => {
                self.send(FromEngine::Pong { id });
            }
            // A newer client may say what this engine does not know.
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

/// Serves one upgraded connection to its end; then the client is gone.
pub async fn serve(origin: Origin, upgraded: Upgraded) {
    let (read, mut write) = tokio::io::split(TokioIo::new(upgraded));
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let introduced = tokio::time::timeout(HELLO_TIMEOUT, read_line(&mut read, &mut line, MAX_HELLO_BYTES)).await;
    if !matches!(introduced, Ok(true)) {
        return;
    }
    let (lines, mut outbox) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicU64::new(0));
    let link = Arc::new(Link {
        lines: lines.clone(),
        waiting: waiting.clone(),
        next: AtomicU64::new(1),
        asked: Mutex::default(),
        providers: AtomicBool::default(),
        gone: CancellationToken::new(),
    });
    let _gone = link.gone.clone().drop_guard();
    let welcomed = welcome(&origin, &line, &link, lines, &waiting);
    let (greeting, client) = match welcomed {
        Ok(attached) => {
            let (client, view) = (attached.caller.client.to_string(), attached.caller.view.to_string());
            let engine = rondel_version::ENGINE.to_string();
            (Greeting::Welcome(Welcome { client, engine, view }), Some(attached))
        }
        Err(e) => (Greeting::Refusal(Refusal { message: e.full_message(), hints: e.hints().to_vec() }), None),
    };
    let Some(attached) = client else {
        let _ = write.write_all(text(&greeting).as_bytes()).await;
        return;
    };
    let id = attached.caller.client.clone();
    let _ = write.write_all(text(&greeting).as_bytes()).await;
    let writer = tokio::spawn(async move {
        while let Some(line) = outbox.recv().await {
            waiting.fetch_sub(weight(&line), Ordering::Relaxed);
            if write.write_all(text(&line).as_bytes()).await.is_err() {
                break;
            }
        }
    });
    let mut line = String::new();
    loop {
        line.clear();
        tokio::select! {
            read = read_line(&mut read, &mut line, origin.max_line_bytes()) => match read {
                true => link.on_message(&line),
                false => break,
            },
            () = attached.gone.cancelled() => break,
        }
    }
    origin.detach(&id);
    writer.abort();
}

/// Reads a line of at most `longest` bytes; false when there is none.
async fn read_line(read: &mut (impl AsyncBufRead + Unpin), line: &mut String, longest: u64) -> bool {
    let read = read.take(longest).read_line(line).await;
    read.is_ok_and(|bytes| bytes > 0) && line.ends_with('\n')
}

fn welcome(
    origin: &Origin,
    line: &str,
    link: &Arc<Link>,
    lines: mpsc::UnboundedSender<FromEngine>,
    waiting: &Arc<AtomicU64>,
) -> Result<AttachedClient> {
    let hello: Hello = serde_json::from_str(line)
        .map_err(|e| Fault::user("the client says something unexpected while attaching").caused_by(e))?;
    link.providers.store(hello.providers, Ordering::Relaxed);
    if !hello.workdir.is_absolute() {
        return Err(Fault::user(format!("the working directory `{}` is not absolute", hello.workdir.display())));
    }
    rondel_version::of_client(&hello.version).map_err(|e| Fault::user(e.to_string()))?;
    let sink: Arc<dyn Sink> =
        if hello.quiet { Arc::new(Nowhere) } else { Arc::new(Outbox { lines, waiting: waiting.clone() }) };
    match origin {
        Origin::Machine(engine, joined) => {
            let machine = ClientMachine::new(link.clone(), engine.tickets.clone(), hello.streams);
            engine.attach(hello, link.clone(), Arc::new(machine), Emitter::new(sink), joined.as_ref())
        }
        Origin::Exec(endpoint, _) => endpoint.attach(hello, sink),
    }
}

fn text(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use rondel_events::{SpanId, Stream};

    use super::*;

    #[test]
    fn what_waits_is_bounded_by_its_size() {
        let (lines, mut outbox) = mpsc::unbounded_channel();
        let sink = Outbox { lines, waiting: Arc::default() };
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
