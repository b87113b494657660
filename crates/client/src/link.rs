//! A client attached to the engine: receives events, answers questions, sends GraphQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use rondel_events::{Event, OpenSpans};
use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_link::{Answer, CLIENT_HEADER, FromClient, FromEngine, Greeting, Hello, Question, Welcome};
use rondel_providers::Machine;
use rondel_streams::Stream;
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::connect::{EngineCommand, connect};
use crate::endpoint::{Connection, Endpoint, next_line};
use crate::engine_end::{HungUp, Peer};
use crate::http::Request;
use crate::state::StateDir;
use crate::streams::{EndOnDrop, ShowTerminal, Streams};

/// How often a client tries to attach to an engine that hangs up at once.
const MAX_ATTACH_TRIES: usize = 5;
/// The delay before the next try.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How much of a line of a command's standard error is kept.
const MAX_ERROR_CHARS: usize = 300;

/// Receives events, in order. Every span that starts ends exactly once, children before their
/// parents, however the run ends.
pub type OnEvent = Box<dyn FnMut(Event) + Send>;

/// Handlers of what the engine sends to a client.
pub struct ClientCallbacks {
    /// Receives events.
    pub on_event: OnEvent,
    /// Shows terminals. `None` if the client has no terminal.
    pub terminal: Option<ShowTerminal>,
}

impl From<OnEvent> for ClientCallbacks {
    fn from(on_event: OnEvent) -> Self {
        Self { on_event, terminal: None }
    }
}

/// A client attached to the engine. Dropping it detaches.
pub struct Attached {
    endpoint: Endpoint,
    peer: Peer,
    welcome: Welcome,
    listener: JoinHandle<()>,
    events: EventStream,
    write: SharedWrite,
    /// The number of the last ping, and of the last pong.
    pings: AtomicU64,
    pongs: watch::Receiver<u64>,
}

type Read = BufReader<ReadHalf<BufReader<Stream>>>;
type Write = WriteHalf<BufReader<Stream>>;
type SharedWrite = Arc<Mutex<Write>>;

/// Passes events on to their receiver. Clones share it.
#[derive(Clone)]
struct EventStream(Arc<std::sync::Mutex<EventStreamState>>);

struct EventStreamState {
    on_event: OnEvent,
    open: OpenSpans,
    is_ended: bool,
}

impl EventStream {
    fn new(on_event: OnEvent) -> Self {
        let state = EventStreamState { on_event, open: OpenSpans::default(), is_ended: false };
        Self(Arc::new(std::sync::Mutex::new(state)))
    }

    fn push(&self, event: Event) {
        let EventStreamState { on_event, open, is_ended } = &mut *lock(&self.0);
        if !*is_ended {
            open.apply(event, on_event);
        }
    }

    /// Ends every open span. Later events are dropped.
    fn end(&self) {
        let EventStreamState { on_event, open, is_ended } = &mut *lock(&self.0);
        *is_ended = true;
        open.close(rondel_events::now(), on_event);
    }
}

/// Attaches a client as `hello` describes it. `launch` starts an engine if none runs.
///
/// # Errors
/// When there is no engine, or the engine refuses the client.
pub async fn attach(
    endpoint: &Endpoint,
    launch: Option<&EngineCommand>,
    hello: &Hello,
    callbacks: impl Into<ClientCallbacks>,
) -> Result<Attached> {
    let callbacks = callbacks.into();
    let hello = &Hello { providers: true, streams: true, ..hello.clone() };
    let mut tries = 1;
    let (peer, (read, write, line)) = loop {
        let Connection { stream, peer } = endpoint.open(launch).await?;
        // A stopped engine is not tried again.
        let greeted = async { Ok(greet(endpoint, stream, hello).await) };
        match Connection::watch(&peer, greeted).await? {
            // The kernel still accepts connections to an engine that is being killed, and then
            // breaks them.
            Err(_) if launch.is_some() && tries < MAX_ATTACH_TRIES => {
                tries += 1;
                tokio::time::sleep(RETRY_DELAY).await;
            }
            Ok(greeted) => break (peer, greeted),
            Err(fault) => return Err(peer.explain(fault).await),
        }
    };
    match parse(&line)? {
        Greeting::Refusal(refusal) => Err(crate::refusal::fault(refusal)),
        Greeting::Welcome(welcome) => {
            let write = Arc::new(Mutex::new(write));
            let (pong, pongs) = watch::channel(0);
            let streams = Streams::new(endpoint.clone(), callbacks.terminal);
            let events = EventStream::new(callbacks.on_event);
            let listener = tokio::spawn(listen(read, write.clone(), events.clone(), pong, streams));
            let (endpoint, pings) = (endpoint.clone(), AtomicU64::new(0));
            Ok(Attached { endpoint, peer, welcome, listener, events, write, pings, pongs })
        }
    }
}

/// Sends the hello on a new connection, and returns the engine's first line.
async fn greet(endpoint: &Endpoint, stream: Stream, hello: &Hello) -> Result<(Read, Write, String)> {
    let first = format!("{}\n", json(hello)?);
    let stream = endpoint.upgrade(stream, rondel_link::ATTACH, &[], &first).await?;
    let (read, write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let line = next_line(&mut read)
        .await?
        .ok_or_else(|| Fault::environment("the engine hung up while attaching").caused_by(HungUp))?;
    Ok((read, write, line))
}

impl Attached {
    /// The engine's welcome.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a GraphQL request body and returns the body of the response. Its events were received
    /// by then.
    ///
    /// # Errors
    /// When the engine goes away first.
    pub async fn query(&self, body: impl Into<Bytes>) -> Result<Bytes> {
        Ok(self.forward(&self.welcome.client, body.into()).await?.1)
    }

    /// Sends a request as the client `client` of the same session. Returns the status of the
    /// response too.
    ///
    /// # Errors
    /// When the engine goes away first.
    pub async fn forward(&self, client: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let request = Request::new(Method::POST, rondel_link::QUERY, body).with_header(CLIENT_HEADER, client);
        let answer = self.send(request.with_header("content-type", "application/json")).await?;
        self.flush_events().await;
        Ok(answer)
    }

    /// Sends a request. An engine that is gone is reported as the one that this client attached to.
    async fn send(&self, request: Request<'_>) -> Result<(StatusCode, Bytes)> {
        match self.endpoint.send(request).await {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.peer.explain(fault).await),
        }
    }

    /// Waits until every event that the engine emitted until now has been received, or the engine
    /// hangs up.
    async fn flush_events(&self) {
        let id = self.pings.fetch_add(1, Ordering::Relaxed) + 1;
        if send(&self.write, &FromClient::Ping { id }).await.is_ok() {
            let _ = self.pongs.clone().wait_for(|pong| *pong >= id).await;
        }
    }

    /// The modules that this client is served, as the body of the engine's response. An error has
    /// the form of a GraphQL response.
    ///
    /// # Errors
    /// When the engine goes away first.
    pub async fn served(&self) -> Result<std::result::Result<Bytes, Bytes>> {
        let (status, body) = self.describe(&self.welcome.client).await?;
        Ok(if status.is_success() { Ok(body) } else { Err(body) })
    }

    /// The engine's response about the modules that the client `client` of the same session is
    /// served.
    ///
    /// # Errors
    /// When the engine goes away first.
    pub async fn describe(&self, client: &str) -> Result<(StatusCode, Bytes)> {
        let request = Request::new(Method::GET, rondel_link::SERVED, Bytes::new());
        self.send(request.with_header(CLIENT_HEADER, client)).await
    }

    /// A connection that the engine upgraded at `path`, in the session of this client.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn upgraded(&self, path: &str, headers: &[(&str, &str)]) -> Result<BufReader<Stream>> {
        let Connection { stream, peer } = self.endpoint.open(None).await?;
        let mut all = vec![(CLIENT_HEADER, self.welcome.client.as_str())];
        all.extend_from_slice(headers);
        Connection::watch(&peer, self.endpoint.upgrade(stream, path, &all, "")).await
    }

    /// Ends the stream of events: every open span ends, and there are no events from then on.
    pub fn end_events(&self) {
        self.events.end();
    }

    /// Waits until the engine hangs up.
    pub async fn closed(&mut self) {
        let _ = (&mut self.listener).await;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.listener.abort();
        self.end_events();
    }
}

async fn send(write: &SharedWrite, line: &FromClient) -> Result<()> {
    let line = format!("{}\n", json(line)?);
    write.lock().await.write_all(line.as_bytes()).await.attempt(|| "speak to the engine".into())
}

async fn listen(
    mut read: Read,
    write: SharedWrite,
    events: EventStream,
    pong: watch::Sender<u64>,
    streams: Arc<Streams>,
) {
    let _end = EndOnDrop(streams.clone());
    while let Ok(Some(line)) = next_line(&mut read).await {
        match parse(&line) {
            Ok(FromEngine::Event(event)) => events.push(event),
            Ok(FromEngine::Ask { id, question }) => {
                let (write, asked) = (write.clone(), streams.clone());
                streams.spawn(async move {
                    let answer = answer(&asked, question).await;
                    let _ = send(&write, &FromClient::Answer { id, answer }).await;
                });
            }
            Ok(FromEngine::Release { ticket }) => streams.release(&ticket),
            Ok(FromEngine::Pong { id }) => _ = pong.send(id),
            // A newer engine may send messages that this client does not know. Unknown questions
            // are refused.
            Err(_) => {
                if let Ok(UnknownQuestion { ask: QuestionId { id } }) = parse(&line) {
                    let answer = Answer::Failed("the client is too old to know this question".into());
                    let _ = send(&write, &FromClient::Answer { id, answer }).await;
                }
            }
        }
    }
    events.end();
}

/// A question of a kind that this client does not know.
#[derive(serde::Deserialize)]
struct UnknownQuestion {
    ask: QuestionId,
}

#[derive(serde::Deserialize)]
struct QuestionId {
    id: u64,
}

async fn answer(streams: &Arc<Streams>, question: Question) -> Answer {
    match question {
        Question::Socket(path) => streams.find_socket(&path).await,
        Question::Dial { ticket, to } => streams.dial(&ticket, to).await,
        Question::Listen { ticket, port, protocol } => streams.listen(ticket, port, protocol).await,
        Question::Terminal { ticket } => streams.terminal(&ticket).await,
        Question::Variable(name) => match std::env::var_os(&name) {
            Some(value) => Answer::Bytes(std::os::unix::ffi::OsStringExt::into_vec(value)),
            None => Answer::Missing,
        },
        Question::Command(command) => {
            let mut shell = tokio::process::Command::new("sh");
            shell.args(["-c", &command]).stdin(std::process::Stdio::null()).kill_on_drop(true);
            match shell.output().await {
                Ok(output) if output.status.success() => Answer::Bytes(output.stdout),
                Ok(output) => Answer::Failed(failure_of(&output)),
                Err(e) => Answer::Failed(e.to_string()),
            }
        }
        Question::Secret(uri) => {
            let machine = Machine { variable: &|name| std::env::var_os(name) };
            match rondel_providers::read(&uri, &machine).await {
                Ok(plaintext) => Answer::Bytes(plaintext),
                Err(fault) => Answer::Failed(fault.full_message()),
            }
        }
    }
}

/// How a command failed: its status, and the last line that it wrote to standard error.
fn failure_of(output: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => {
            let line: String = line.trim().chars().filter(|c| !c.is_control()).take(MAX_ERROR_CHARS).collect();
            format!("{}: {line}", output.status)
        }
        None => output.status.to_string(),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Fault::bug("cannot encode a message").caused_by(e))
}

fn parse<T: serde::de::DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|e| Fault::environment("the engine said something unexpected").caused_by(e))
}

/// Sends one request to the engine outside of any client.
///
/// # Errors
/// When there is no engine.
pub async fn control(state: &StateDir, method: Method, path: &str) -> Result<Bytes> {
    ask(state, None, method, path, Bytes::new()).await
}

/// Sends one request with a body to the engine outside of any client. `launch` starts an engine if
/// none runs.
///
/// # Errors
/// When there is no engine, or it refuses.
pub async fn ask(
    state: &StateDir,
    launch: Option<&EngineCommand>,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Bytes> {
    let Connection { stream, peer } = Connection::of_engine(state, connect(state, launch).await?);
    let answer = crate::http::send(stream, Request::new(method, path, body.into()));
    let (status, body) = Connection::watch(&peer, answer).await?;
    if status.is_success() {
        return Ok(body);
    }
    Err(Fault::environment(String::from_utf8_lossy(&body).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use rondel_events::{Outcome, SpanId, Work};

    use super::*;

    #[test]
    fn the_end_of_the_stream_ends_every_span() {
        let seen: Arc<std::sync::Mutex<Vec<Event>>> = Arc::default();
        let receiver = seen.clone();
        let events = EventStream::new(Box::new(move |event| lock(&receiver).push(event)));
        let start = |span: u64, parent: u64, work| Event::Start {
            span: SpanId(span),
            parent: SpanId(parent),
            work,
            name: "work".into(),
            internal: false,
            at: 1,
        };
        let other = events.clone();
        other.push(start(1, 0, Work::Function));
        other.push(start(2, 1, Work::Exec));
        other.push(start(3, 0, Work::Service));
        events.end();
        events.end();
        other.push(start(4, 0, Work::Exec));
        let seen = lock(&seen);
        let ends: Vec<_> = seen
            .iter()
            .filter_map(|event| match event {
                Event::End { span, outcome, .. } => Some((span.0, outcome.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [(2, Outcome::Cancelled), (1, Outcome::Cancelled), (3, Outcome::Done)]);
        assert_eq!(seen.len(), 6);
    }
}
