//! Messages between the engine and its clients besides GraphQL, as plain data.
//!
//! *Invariants.* One JSON document per line in each direction, on a connection that was upgraded at
//! [`ATTACH`]. The first line of the client is a [`Hello`], the first line of the engine a
//! [`Welcome`] or a [`Refusal`]. When the connection ends, the client is gone, and its work with it
//! unless another client waits for it. Fields may be added; unknown ones are ignored. A question
//! that a client does not know it answers with [`Answer::Failed`].
//!
//! A process that was given a session attaches in the same way at the port of that session, with
//! its token, and becomes a further client of the session; one that attaches on the engine's socket
//! and names a client with [`CLIENT_HEADER`] joins the session of that client.
//!
//! Bytes that flow between the client's machine and containers never pass that connection: for each
//! stream that the engine asks for, the client makes one more connection, upgraded at [`STREAM`],
//! so that the kernel alone paces them. See [`stream`].

pub mod stream;

use std::path::PathBuf;

use rondel_events::Event;
use serde::{Deserialize, Serialize};

/// The path at which a client attaches.
pub const ATTACH: &str = "/attach";
/// The path of GraphQL requests.
pub const QUERY: &str = "/query";
/// The path that answers with [`Status`].
pub const STATUS: &str = "/status";
/// The path that asks the engine to end; it answers with [`Ending`].
pub const STOP: &str = "/stop";
/// The path that checks the store and answers with a verification.
pub const VERIFY: &str = "/verify";
/// The path that answers with [`Served`] for the attached client.
pub const SERVED: &str = "/served";
/// The path at which a client opens a stream that it was asked for.
pub const STREAM: &str = "/stream";
/// The header that names the stream.
pub const TICKET_HEADER: &str = "x-rondel-ticket";
/// The path that lists the cache on disk, and takes requests to prune it.
pub const CACHE: &str = "/cache";
/// The path that says why work ran, or did not have to.
pub const WHY: &str = "/cache/why";
/// The path of figures for monitoring.
pub const METRICS: &str = "/metrics";
/// The protocol name of the upgrade.
pub const PROTOCOL: &str = "rondel-link";
/// The header that names the attached client in a GraphQL request.
pub const CLIENT_HEADER: &str = "x-rondel-client";
/// The file name of the engine's socket in the state directory.
pub const SOCKET: &str = "engine.sock";
/// The file name of the engine's log in the state directory.
pub const LOG: &str = "engine.log";

/// Who attaches.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Hello {
    /// The API version it wants to see; empty: the engine's own.
    #[serde(default)]
    pub version: String,
    /// What its relative paths are relative to.
    pub workdir: PathBuf,
    /// Modules to serve before the first request.
    #[serde(default)]
    pub modules: Vec<ModuleRequest>,
    /// The client does not want events.
    #[serde(default)]
    pub quiet: bool,
    /// The client answers [`Question::Secret`].
    #[serde(default)]
    pub providers: bool,
    /// The client opens streams.
    #[serde(default)]
    pub streams: bool,
    /// What runs on the client's terminal, on what a process that failed left; empty: nothing is
    /// shown.
    #[serde(default)]
    pub interactive: Vec<String>,
    /// What modules and processes in containers may ask for beyond what everyone may, as `NAME` or
    /// `NAME=MODULE`.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// A module to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModuleRequest {
    /// The reference, as typed.
    pub reference: String,
    /// Its functions are also served on the root of the API.
    #[serde(default)]
    pub entrypoint: bool,
    /// Nothing there is no error.
    #[serde(default)]
    pub optional: bool,
}

/// The engine's first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Greeting {
    /// Attached.
    Welcome(Welcome),
    /// Not attached.
    Refusal(Refusal),
}

/// Attached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The name of the client, for [`CLIENT_HEADER`].
    pub client: String,
    /// The version of the engine.
    pub engine: String,
    /// The API version that the client is served. Empty: the engine is too old to say so.
    #[serde(default)]
    pub view: String,
}

/// Not attached, or an engine that did not start: then it is the only line that the engine prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hints: Vec<String>,
    /// The stable identity of the error, such as `RESOURCE_EXHAUSTED`. Empty: the engine is too
    /// old to say so.
    #[serde(default)]
    pub code: String,
}

/// A line from the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromEngine {
    /// Something happened.
    Event(Event),
    /// The engine wants something that only the client's process has.
    Ask {
        /// Names the question.
        id: u64,
        /// What.
        question: Question,
    },
    /// The engine wants no more streams by this ticket: a listener ends.
    Release {
        /// The ticket.
        ticket: String,
    },
    /// Every event from before the client asked for this was sent.
    Pong {
        /// Names the request.
        id: u64,
    },
}

/// What the engine may ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// The value of an environment variable.
    Variable(String),
    /// The standard output of a shell command.
    Command(String),
    /// The plaintext of the secret at the address of a provider. Asked only of clients that said
    /// they answer it.
    Secret(String),
    /// Whether a unix socket is there: [`Answer::Done`], or why not.
    Socket(PathBuf),
    /// A stream to an address: [`Answer::Done`] once it is open.
    Dial {
        /// What names the stream.
        ticket: String,
        /// Where to.
        to: Address,
    },
    /// A stream for every connection to a port of all of the machine's addresses: [`Answer::Port`]
    /// once the port is open.
    Listen {
        /// What names each stream.
        ticket: String,
        /// The port; zero is any free one.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// A stream to the client's terminal: [`Answer::Done`] once it is open.
    Terminal {
        /// What names the stream.
        ticket: String,
    },
}

/// What a stream leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A port.
    Port {
        /// The host, as the client's machine knows it.
        host: String,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP: a stream is one connection.
    Tcp,
    /// UDP: a stream is what one peer sends and gets, one [`stream::Packet`] for each datagram.
    Udp,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Port { host, port, protocol } => write!(f, "{protocol}://{host}:{port}"),
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A line from the client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromClient {
    /// The answer to a question.
    Answer {
        /// Names the question.
        id: u64,
        /// What came out.
        answer: Answer,
    },
    /// Asks for [`FromEngine::Pong`].
    Ping {
        /// Names the request.
        id: u64,
    },
}

/// An answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The bytes.
    Bytes(Vec<u8>),
    /// It is done.
    Done,
    /// A port.
    Port(u16),
    /// There is no such thing.
    Missing,
    /// It did not work.
    Failed(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Bytes(_) => f.write_str("Bytes(…)"),
            Answer::Done => f.write_str("Done"),
            Answer::Port(port) => write!(f, "Port({port})"),
            Answer::Missing => f.write_str("Missing"),
            Answer::Failed(_) => f.write_str("Failed(…)"),
        }
    }
}

/// How the engine is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// The commit that it was built from. `None` if its build does not say.
    #[serde(default)]
    pub commit: Option<String>,
    /// The newest version of the API that it serves.
    #[serde(default)]
    pub api_version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: u64,
    /// Attached clients.
    pub clients: usize,
    /// Results cached in memory.
    pub results: usize,
    /// What is being evaluated: type and field of each call, or the command of an exec. Sorted.
    #[serde(default)]
    pub running: Vec<String>,
    /// Processes run in containers since the start.
    pub execs: u64,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Remarks on what the host lacks.
    pub notes: Vec<String>,
}

/// What an engine that was asked to end has to end before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// Attached clients.
    pub clients: usize,
    /// Running evaluations.
    pub evaluations: usize,
}

/// The modules that a client is served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Served {
    /// In the order in which they were served.
    pub modules: Vec<ServedModule>,
}

/// A module that a client is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServedModule {
    /// Its name.
    pub name: String,
    /// What people read about it; may be empty.
    pub description: String,
    /// The field of the root type that makes its main object. `None`: it has no main object.
    pub constructor: Option<String>,
    /// Dependencies that it cannot use, and why.
    #[serde(default)]
    pub broken: Vec<String>,
    /// How it came to be loaded: labels and texts.
    #[serde(default)]
    pub explanation: Vec<(String, String)>,
}
