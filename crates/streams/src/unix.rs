//! Connecting to unix sockets.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

/// How long whoever listens may be too busy to accept.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Connects to the socket at `path`. As for a process that waits in `connect`, a full queue of
/// connections is no error for a while.
///
/// # Errors
/// When nobody listens there, or the queue stays full.
pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path.as_ref()).await {
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            other => return other,
        }
    }
}
