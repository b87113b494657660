//! Connecting to unix sockets.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

/// How long a listener may be too busy to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two tries.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Connects to the socket at `path`. While the listener's queue is full it waits, as a blocking
/// `connect` does, up to a bound.
///
/// # Errors
/// When no process listens there, or the queue of the listener stays full.
pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match UnixStream::connect(path.as_ref()).await {
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            other => return other,
        }
    }
}
