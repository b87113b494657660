//! Endpoints of the API: the socket of an engine, or the port of a session that another process
//! serves.
//!
//! *Invariants.* A process that was given a session ([`OpenSession`]) never starts an engine of its
//! own for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::PROTOCOL;
use rondel_streams::Stream;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::connect::{EngineCommand, connect};
use crate::engine_end::Peer;
use crate::http::Request;
use crate::state::StateDir;
use crate::stopped_process::StoppedProcess;

/// The variable that names the port of a session.
pub const SESSION_PORT: &str = "DAGGER_SESSION_PORT";
/// The variable that holds the token of a session.
pub const SESSION_TOKEN: &str = "DAGGER_SESSION_TOKEN";

/// A session that another process serves: `rondel session`, `rondel run`, or an engine to a process
/// in a container.
#[derive(Clone)]
pub struct OpenSession {
    /// The port on loopback.
    pub port: u16,
    token: String,
}

impl std::fmt::Debug for OpenSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSession").field("port", &self.port).finish_non_exhaustive()
    }
}

impl OpenSession {
    /// The session that the environment names, if it names one.
    ///
    /// # Errors
    /// When the variable holds no port number, or the token is missing.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let Some(port) = set(SESSION_PORT) else { return Ok(None) };
        let port = port
            .parse()
            .map_err(|_| Fault::user(format!("cannot join a session: `{SESSION_PORT}` is no port: `{port}`")))?;
        let token = set(SESSION_TOKEN).ok_or_else(|| {
            Fault::user(format!("cannot join a session: `{SESSION_PORT}` is set and `{SESSION_TOKEN}` is not"))
        })?;
        Ok(Some(Self { port, token }))
    }
}

/// An endpoint of the API.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// The engine of a state directory.
    Engine(StateDir),
    /// A session that is open already.
    Session(OpenSession),
}

/// A connection to the API.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
}

impl Connection {
    /// A connection to the engine of `state`.
    pub(crate) fn of_engine(state: &StateDir, stream: UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        Self { stream: Box::new(stream), peer: Peer::Engine(state.clone(), pid) }
    }

    /// Waits for `work`, which needs the process at the other end. Fails when the engine's process
    /// is stopped by a signal. A broken connection is explained.
    pub(crate) async fn watch<T>(peer: &Peer, work: impl Future<Output = Result<T>>) -> Result<T> {
        let failed = tokio::select! {
            done = work => match done {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            },
            fault = StoppedProcess::wait(peer.engine()) => return Err(fault),
        };
        Err(peer.explain(failed).await)
    }
}

impl Endpoint {
    /// Whether this is a session that another process serves.
    pub fn is_joined(&self) -> bool {
        matches!(self, Endpoint::Session(_))
    }

    /// Connects. `launch` starts the engine if none runs.
    pub(crate) async fn open(&self, launch: Option<&EngineCommand>) -> Result<Connection> {
        match self {
            Endpoint::Engine(state) => Ok(Connection::of_engine(state, connect(state, launch).await?)),
            Endpoint::Session(session) => {
                let stream = TcpStream::connect(("127.0.0.1", session.port)).await.map_err(|e| {
                    Fault::environment(format!("cannot join the session on port {}", session.port))
                        .caused_by(e)
                        .with_hint(format!("`{SESSION_PORT}` names it; without that variable, an engine is used"))
                })?;
                let _ = stream.set_nodelay(true);
                Ok(Connection { stream: Box::new(stream), peer: Peer::Session(session.port) })
            }
        }
    }

    /// The header that authorizes requests, where one is needed.
    pub(crate) fn authorization(&self) -> Option<String> {
        match self {
            Endpoint::Engine(_) => None,
            Endpoint::Session(session) => Some(format!("Basic {}", STANDARD.encode(format!("{}:", session.token)))),
        }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<(StatusCode, Bytes)> {
        let connection = self.open(None).await?;
        let authorization = self.authorization();
        let request = match authorization.as_deref() {
            Some(value) => request.with_header("authorization", value),
            None => request,
        };
        let answer = crate::http::send(connection.stream, request);
        Connection::watch(&connection.peer, answer).await
    }

    /// Requests an upgrade at `path` on `stream`, and sends `first` behind it. Everything after the
    /// head of the response is left to be read.
    pub(crate) async fn upgrade(
        &self,
        stream: Stream,
        path: &str,
        headers: &[(&str, &str)],
        first: &str,
    ) -> Result<BufReader<Stream>> {
        let authorization = self.authorization();
        let authorization = authorization.as_deref().map(|value| ("authorization", value));
        let lines: String =
            headers.iter().copied().chain(authorization).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: engine\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{lines}\r\n{first}"
        );
        let mut stream = BufReader::new(stream);
        stream.write_all(head.as_bytes()).await.attempt(|| "speak to the engine".into())?;
        stream.flush().await.attempt(|| "speak to the engine".into())?;
        self.skip_head(&mut stream).await?;
        Ok(stream)
    }

    /// Reads the head of the response to an upgrade.
    async fn skip_head(&self, read: &mut BufReader<impl AsyncRead + Unpin>) -> Result<()> {
        let status = next_line(read).await?.unwrap_or_default();
        if !status.contains(" 101 ") {
            return Err(match self {
                Endpoint::Session(session) if status.contains(" 401 ") => Fault::user(format!(
                    "the session on port {} does not accept the token in `{SESSION_TOKEN}`",
                    session.port
                )),
                Endpoint::Session(session) if status.contains(" 404 ") => {
                    Fault::user(format!("the session on port {} takes no further clients", session.port))
                        .with_hint("it is served by an older version, or by another program")
                }
                Endpoint::Session(session) if status.contains(" 503 ") => {
                    Fault::environment(format!("the session on port {} has too many clients", session.port))
                }
                _ => Fault::environment(format!("the engine does not let clients attach: `{}`", status.trim())),
            });
        }
        while let Some(line) = next_line(read).await? {
            if line.trim().is_empty() {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) async fn next_line(read: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Option<String>> {
    let mut line = String::new();
    let n = read.read_line(&mut line).await.attempt(|| "listen to the engine".into())?;
    Ok((n > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_port_and_token() {
        let find = |vars: &[(&str, &str)]| {
            let get = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            OpenSession::find(get).map(|found| found.map(|session| session.port)).map_err(|fault| fault.full_message())
        };
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&[(SESSION_PORT, "")]), Ok(None));
        assert_eq!(find(&[(SESSION_PORT, "80"), (SESSION_TOKEN, "t")]), Ok(Some(80)));
        assert!(find(&[(SESSION_PORT, "80")]).is_err_and(|why| why.contains(SESSION_TOKEN)));
        assert!(find(&[(SESSION_PORT, "x"), (SESSION_TOKEN, "t")]).is_err_and(|why| why.contains("no port")));
    }
}
