//! Packets on a stream: reading and writing them.

use std::io::{self, ErrorKind};

use rondel_link::stream::{HEAD, Packet, read_head};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The next packet of a known kind, or `None` at the end of the stream.
///
/// Not cancellation-safe: the part of a packet that was read would be lost.
///
/// # Errors
/// When the stream breaks off, also in the middle of a packet.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
    loop {
        let mut head = [0; HEAD];
        match from.read_exact(&mut head).await {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let (kind, length) = read_head(head);
        let mut content = vec![0; length];
        from.read_exact(&mut content).await?;
        if let Some(packet) = Packet::of(kind, content) {
            return Ok(Some(packet));
        }
    }
}

/// Writes a packet.
///
/// # Errors
/// When the stream breaks off.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), packet: &Packet) -> io::Result<()> {
    to.write_all(&packet.bytes()).await?;
    to.flush().await
}
