//! A relay for HTTP to a service of the session: a unix socket whose connections the engine
//! continues to the service.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use reqwest::{Url, redirect};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::network::Dial;
use rondel_streams::relay::{self, Relay};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::connection::{Limits, MAX_REDIRECTS, client_with, origin};
use crate::proxy_env::ProxyEnvironment;

/// The socket's name in its directory.
const NAME: &str = "relay";
/// How many connections may be open at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// A unix socket whose connections lead to one port of one host, until it is dropped.
pub struct UnixRelay {
    /// Goes through the descriptor of its directory, because a socket's path is at most 107 bytes
    /// long.
    path: PathBuf,
    origin: String,
    _folder: File,
    _relay: Relay,
}

impl UnixRelay {
    /// Listens in `folder` for connections to the host of `url`, which `dial` opens.
    ///
    /// # Errors
    /// When the directory has a relay already, or no socket can be made in it.
    pub fn open(folder: &Path, url: &Url, dial: Dial) -> Result<Self> {
        let attempted = || format!("open a way to `{}`", origin(url));
        let folder = File::open(folder).attempt(attempted)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        let listener = UnixListener::bind(&path).attempt(attempted)?;
        let port = url.port_or_known_default().ok_or_else(|| Fault::user(format!("`{}` has no port", origin(url))))?;
        let relay = Relay::start(listener, MAX_CONNECTIONS, move |near| {
            let dial = dial.clone();
            async move {
                // The HTTP client sees its connection end, which is its error.
                if let Err(fault) = carry(near, port, dial).await {
                    tracing::debug!(%fault, "a connection to a service ended");
                }
            }
        });
        Ok(Self { path, origin: origin(url), _folder: folder, _relay: relay })
    }

    /// An HTTP client whose connections all go through the relay. It follows redirects to the same
    /// host only.
    ///
    /// # Errors
    /// As for [`crate::client`].
    pub fn client(&self, proxy_env: &ProxyEnvironment, limits: Limits) -> Result<reqwest::Client> {
        let direct = ProxyEnvironment { http_proxy: None, https_proxy: None, ..proxy_env.clone() };
        let home = self.origin.clone();
        let policy = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MAX_REDIRECTS || origin(attempt.url()) != home {
                return attempt.stop();
            }
            attempt.follow()
        });
        client_with(&direct, limits, policy, |builder| builder.unix_socket(self.path.clone()))
    }
}

async fn carry(mut near: UnixStream, port: u16, dial: Dial) -> Result<()> {
    let attempted = || format!("connect to port {port}");
    let far = tokio::task::spawn_blocking(move || dial(port)).await;
    let far = far.attempt(attempted)??;
    far.set_nonblocking(true).attempt(attempted)?;
    let mut far = TcpStream::from_std(far).attempt(attempted)?;
    relay::copy(&mut near, &mut far).await.attempt(|| format!("talk to port {port}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use rondel_events::Emitter;
    use rondel_ports::egress::EgressScope;
    use rondel_ports::http::{Answer, Http, Request, Validators};

    use super::*;
    use crate::Web;

    /// Answers one request with a text and one with a redirect. Returns its port.
    fn server(elsewhere: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("has a port").port();
        std::thread::spawn(move || {
            let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
            let answers =
                ["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhere".to_owned(), redirect];
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("accepts");
                let _ = stream.read(&mut [0; 4096]).expect("reads");
                stream.write_all(answer.as_bytes()).expect("writes");
            }
        });
        port
    }

    #[tokio::test]
    async fn a_host_without_a_name_is_reached_and_left_for_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = server("http://other.example/f");
        let web = Web::new(ProxyEnvironment::default(), Limits::default()).expect("a client");
        let into = folder.path().join("content");
        let nothing = Validators::default();
        for (again, path) in ["a", "b"].into_iter().enumerate() {
            let folder = tempfile::tempdir().expect("a folder");
            let into = if again == 0 { into.clone() } else { folder.path().join("content") };
            let dial: Dial = Arc::new(move |port| {
                assert_eq!(port, 8080);
                std::net::TcpStream::connect(("127.0.0.1", real)).attempt(|| "connect".into())
            });
            let url = format!("http://service:8080/{path}");
            let request = Request {
                url: &url,
                authorization: None,
                known: &nothing,
                dial: Some(dial),
                egress: EgressScope::Outside,
            };
            let answer = web.fetch(request, &into, &Emitter::nowhere()).await;
            match (again, answer) {
                (0, Ok(Answer::Fetched(_))) => assert_eq!(std::fs::read(&into).expect("is written"), b"here"),
                (_, Err(fault)) => assert!(fault.to_string().contains("302"), "{fault}"),
                (_, Ok(answer)) => panic!("{answer:?}"),
            }
        }
    }
}
