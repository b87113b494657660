//! An HTTP server on a socket of this machine, with bounds on everything that a client can make it
//! hold.
//!
//! *Invariants.* The number of open connections is bounded: further ones wait in the kernel. A
//! connection that carries no request and moves no bytes is closed after a while, whether it has
//! sent nothing, half a request head, or whole requests before. A connection that was upgraded is
//! no longer watched or counted here.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many requests one connection may carry at a time, where the protocol allows several.
const STREAMS: u32 = 128;
/// The longest head of a request where the protocol does not bound it itself, in bytes.
const HEAD: u32 = 64 << 10;
/// How often a connection is checked.
const LOOK: Duration = Duration::from_secs(1);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// How many may be open at a time.
    pub connections: usize,
    /// How long one may be silent.
    pub silence: Duration,
    /// How long one may be silent while others wait for their turn.
    pub silence_when_full: Duration,
}

impl ServerLimits {
    /// The usual bounds, with room for `connections`.
    pub fn for_connections(connections: usize) -> Self {
        Self { connections, silence: Duration::from_secs(60), silence_when_full: Duration::from_secs(2) }
    }
}

/// Serves `routes` on `listener` until `ending` fires and the requests under way are answered.
pub async fn serve<L: Listener>(mut listener: L, routes: Router, limits: ServerLimits, ending: CancellationToken) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let full = Arc::new(AtomicBool::new(false));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let (io, _) = listener.accept().await;
            full.store(free.available_permits() == 0, Ordering::Relaxed);
            let permit = free.clone().acquire_owned().await.ok()?;
            full.store(false, Ordering::Relaxed);
            Some((io, permit))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = ending.cancelled() => None,
        };
        let Some((io, permit)) = accepted else { break };
        let connection = Connection { limits, full: full.clone(), permit, ending: ending.clone() };
        connections.spawn(connection.serve(io, routes.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

struct Connection {
    limits: ServerLimits,
    /// Whether a further connection waits.
    full: Arc<AtomicBool>,
    /// Held as long as the connection is open.
    #[allow(dead_code, reason = "what counts is when it is dropped")]
    permit: OwnedSemaphorePermit,
    ending: CancellationToken,
}

impl Connection {
    async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, routes: Router) {
        let activity = Arc::new(Activity::new());
        let inner = TowerToHyperService::new(routes);
        let counted = activity.clone();
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            let under_way = counted.begin();
            let answer = inner.call(request);
            async move {
                let answer = answer.await?;
                // The request is under way until its answer has been handed to the connection.
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        let _ = &under_way;
                        frame
                    }))
                }))
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().max_concurrent_streams(STREAMS).max_header_list_size(HEAD);
        let io = TokioIo::new(Watched { io, activity: activity.clone() });
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut ended = false;
        let look = LOOK.min(self.limits.silence_when_full);
        loop {
            tokio::select! {
                // A client that breaks the protocol or goes away ends its connection, and nothing
                // else.
                _ = connection.as_mut() => return,
                () = self.ending.cancelled(), if !ended => {
                    connection.as_mut().graceful_shutdown();
                    ended = true;
                }
                () = tokio::time::sleep(look) => {
                    let full = self.full.load(Ordering::Relaxed);
                    let most = if full { self.limits.silence_when_full } else { self.limits.silence };
                    if activity.silence() >= most {
                        return;
                    }
                }
            }
        }
    }
}

/// What happens on a connection.
struct Activity {
    requests: AtomicUsize,
    since: Instant,
    /// When something happened last, in milliseconds after `since`.
    last: AtomicU64,
}

struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.moved();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    fn new() -> Self {
        Self { requests: AtomicUsize::new(0), since: Instant::now(), last: AtomicU64::new(0) }
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// The client took bytes, or a request of it ended. Bytes that it sends do not count: they may
    /// be a head without end.
    fn moved(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// How long the connection has been silent; zero while a request is under way.
    fn silence(&self) -> Duration {
        match self.requests.load(Ordering::Relaxed) {
            0 => Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Relaxed))),
            _ => Duration::ZERO,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A connection whose written bytes are noted.
struct Watched<T> {
    io: T,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.activity.moved();
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noted(written)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::mpsc;

    use super::*;

    /// A listener whose connections a test makes.
    struct Made(mpsc::UnboundedReceiver<DuplexStream>);

    impl Listener for Made {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            match self.0.recv().await {
                Some(io) => (io, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const LARGE: usize = 1 << 20;

    /// A server with room for two connections: `/slow` takes five minutes, `/large` answers with a
    /// megabyte.
    fn server() -> (impl Fn() -> DuplexStream, CancellationToken) {
        let (make, made) = mpsc::unbounded_channel();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(300)).await;
            "slow"
        };
        let routes = Router::new().route("/slow", get(slow)).route("/large", get(|| async { "x".repeat(LARGE) }));
        let ending = CancellationToken::new();
        tokio::spawn(serve(Made(made), routes, ServerLimits::for_connections(2), ending.clone()));
        let connect = move || {
            let (near, far) = tokio::io::duplex(1 << 10);
            make.send(far).unwrap();
            near
        };
        (connect, ending)
    }

    async fn rest(mut io: DuplexStream) -> String {
        let mut text = String::new();
        io.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_sent_away() {
        let (connect, _ending) = server();
        for said in ["", "GET /large HTTP/1.1\r\nhost: x\r\nx-half: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut io = connect();
            io.write_all(said.as_bytes()).await.unwrap();
            let started = Instant::now();
            io.read_to_end(&mut Vec::new()).await.unwrap();
            assert!((Duration::from_secs(59)..Duration::from_secs(63)).contains(&started.elapsed()), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_letter_by_letter_ends_as_well() {
        let (connect, _ending) = server();
        let mut io = connect();
        io.write_all(b"GET / HTTP/1.1\r\nx-more: ").await.unwrap();
        let letters = async {
            // Twenty minutes.
            for _ in 0..240 {
                tokio::time::sleep(Duration::from_secs(5)).await;
                if io.write_all(b"a").await.is_err() {
                    return true;
                }
            }
            false
        };
        assert!(letters.await);
    }

    #[tokio::test(start_paused = true)]
    async fn work_and_slow_readers_are_waited_for() {
        let (connect, _ending) = server();
        let mut slow = connect();
        slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(slow).await.ends_with("slow"));
        let mut large = connect();
        large.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let (mut seen, mut piece) = (0, vec![0; 32 << 10]);
        loop {
            tokio::time::sleep(Duration::from_secs(20)).await;
            match large.read(&mut piece).await.unwrap() {
                0 => break,
                n => seen += n,
            }
        }
        assert!(seen > LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_more_when_others_wait() {
        let (connect, ending) = server();
        let silent = [connect(), connect()];
        let mut third = connect();
        let started = Instant::now();
        third.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(third).await.len() > LARGE);
        assert!(started.elapsed() < Duration::from_secs(10));
        drop(silent);
        ending.cancel();
    }
}
