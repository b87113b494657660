//! Streams that clients open for the engine, each named by a ticket.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rondel_fault::{Fault, Result, lock};
use rondel_link::{Answer, FromEngine, Question};
use rondel_ports::BoxFuture;
use rondel_ports::streams::{Address, Listening, Machine, Protocol, Stream};
use tokio::sync::mpsc;

use crate::client_link::Link;

/// How many connections to an open port may wait to be accepted. Further ones wait at the client.
const MAX_PENDING_CONNECTIONS: usize = 64;
/// How long a stream may take to arrive after the client answered that it is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The waiters for streams, by ticket.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<String, mpsc::Sender<Stream>>>);

/// The right to one or more streams. It ends when it is dropped.
struct Ticket {
    name: String,
    tickets: Arc<Tickets>,
}

impl Tickets {
    fn issue(self: &Arc<Self>, backlog: usize) -> (Ticket, mpsc::Receiver<Stream>) {
        let (sender, receiver) = mpsc::channel(backlog);
        let name = format!("{:032x}", rand::random::<u128>());
        lock(&self.0).insert(name.clone(), sender);
        (Ticket { name, tickets: self.clone() }, receiver)
    }

    /// The waiter for streams with the ticket `name`.
    pub fn waiting(&self, name: &str) -> Option<mpsc::Sender<Stream>> {
        lock(&self.0).get(name).cloned()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.tickets.0).remove(&self.name);
    }
}

/// A port that is open on a client's machine.
struct OpenPort {
    ticket: Ticket,
    link: Arc<Link>,
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        self.link.send(FromEngine::Release { ticket: self.ticket.name.clone() });
    }
}

/// The machine of an attached client.
pub struct ClientMachine {
    link: Arc<Link>,
    tickets: Arc<Tickets>,
    able: bool,
}

impl ClientMachine {
    /// The machine behind `link`. `able` says that the client opens streams.
    pub fn new(link: Arc<Link>, tickets: Arc<Tickets>, able: bool) -> Self {
        Self { link, tickets, able }
    }

    fn check(&self) -> Result<()> {
        match self.able {
            true => Ok(()),
            false => Err(Fault::user("this client is too old to open connections for the engine")
                .with_hint("use a client of the engine's version, see `rondel engine status`")),
        }
    }

    /// Asks `question` and waits for the one stream that the client opens for it.
    async fn stream(&self, question: impl FnOnce(String) -> Question, what: &str) -> Result<Stream> {
        self.check()?;
        let (ticket, mut streams) = self.tickets.issue(1);
        match self.link.ask(question(ticket.name.clone())).await? {
            Answer::Done => {}
            Answer::Failed(why) => return Err(Fault::user(format!("cannot {what}: {why}"))),
            _ => return Err(Fault::environment(format!("cannot {what}: the client's answer is not understood"))),
        }
        let stream = tokio::time::timeout(OPEN_TIMEOUT, streams.recv()).await.ok().flatten();
        stream.ok_or_else(|| Fault::environment(format!("cannot {what}: the client did not open the stream")))
    }
}

impl Machine for ClientMachine {
    fn find_socket<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.check()?;
            let why = match self.link.ask(Question::Socket(path.to_owned())).await? {
                Answer::Done => return Ok(()),
                Answer::Failed(why) => why,
                _ => "the client's answer is not understood".to_owned(),
            };
            Err(Fault::user(format!("cannot use the socket `{}` of the client: {why}", path.display())))
        })
    }

    fn dial(&self, to: Address) -> BoxFuture<'_, Result<Stream>> {
        Box::pin(async move {
            let what = format!("connect to `{to}` on the client's machine");
            self.stream(|ticket| Question::Dial { ticket, to }, &what).await
        })
    }

    fn listen(&self, port: u16, protocol: Protocol) -> BoxFuture<'_, Result<Listening>> {
        Box::pin(async move {
            self.check()?;
            let (ticket, connections) = self.tickets.issue(MAX_PENDING_CONNECTIONS);
            // The client may open the port after this future was dropped. The guard closes it then.
            let open = OpenPort { ticket, link: self.link.clone() };
            let question = Question::Listen { ticket: open.ticket.name.clone(), port, protocol };
            let why = match self.link.ask(question).await? {
                Answer::Port(port) => return Ok(Listening { port, connections, guard: Box::new(open) }),
                Answer::Failed(why) => why,
                _ => "the client's answer is not understood".to_owned(),
            };
            Err(Fault::user(format!("cannot listen on port {port}/{protocol} of the client's machine: {why}")))
        })
    }

    fn terminal(&self) -> BoxFuture<'_, Result<Stream>> {
        Box::pin(async move { self.stream(|ticket| Question::Terminal { ticket }, "open a terminal").await })
    }
}
