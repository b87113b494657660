//! UDP sockets as streams of packets, one for each peer.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rondel_link::stream::Packet;
use tokio::io::DuplexStream;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::packets;

/// The longest datagram.
const MAX_BYTES: usize = 65_535;
/// How many bytes may wait in each direction of a peer.
const BUFFER: usize = 256 << 10;
/// How many datagrams of one peer may wait.
const MAX_WAITING: usize = 64;
/// How many peers one port may have at a time.
const MAX_PEERS: usize = 1024;
/// How long a peer is kept without a packet in either direction.
const IDLE: Duration = Duration::from_secs(60);

/// The packets of a connected socket as a stream.
pub fn of_connected(socket: UdpSocket) -> DuplexStream {
    let (near, far) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(far);
        let up = async {
            while let Ok(Some(Packet::Data(data))) = packets::read(&mut read).await {
                // A datagram that cannot be sent is lost, as it may be anywhere on its way.
                let _ = socket.send(&data).await;
            }
        };
        let down = async {
            let mut buffer = vec![0; MAX_BYTES];
            loop {
                let received = match socket.recv(&mut buffer).await {
                    Ok(length) => buffer.get(..length).unwrap_or_default().to_vec(),
                    // The peer was not there when the last one came; it may be for the next.
                    Err(e) if e.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(_) => return,
                };
                if packets::write(&mut write, &Packet::Data(received)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    });
    near
}

/// Gives a stream to `give` for every peer that speaks to `socket`, until `give` returns
/// `false`.
pub async fn accept<G, F>(socket: UdpSocket, mut give: G)
where
    G: FnMut(DuplexStream) -> F,
    F: Future<Output = bool>,
{
    let socket = Arc::new(socket);
    let mut peers: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut serving = JoinSet::new();
    let mut buffer = vec![0; MAX_BYTES];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, peer) = match received {
                    Ok(received) => received,
                    Err(e) if e.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(_) => return,
                };
                let data = buffer.get(..length).unwrap_or_default().to_vec();
                if !peers.contains_key(&peer) {
                    if peers.len() >= MAX_PEERS {
                        continue;
                    }
                    let (near, far) = tokio::io::duplex(BUFFER);
                    if !give(near).await {
                        return;
                    }
                    let (sender, receiver) = mpsc::channel(MAX_WAITING);
                    serving.spawn(serve(socket.clone(), peer, far, receiver));
                    peers.insert(peer, sender);
                }
                if let Some(sender) = peers.get(&peer) {
                    let _ = sender.try_send(data);
                }
            }
            Some(ended) = serving.join_next() => {
                if let Ok(peer) = ended {
                    peers.remove(&peer);
                }
            }
        }
    }
}

/// Serves one peer until it is silent for too long, or the stream ends.
async fn serve(
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    stream: DuplexStream,
    mut incoming: mpsc::Receiver<Vec<u8>>,
) -> SocketAddr {
    let (mut read, mut write) = tokio::io::split(stream);
    let answered = AtomicBool::new(false);
    let up = async {
        while let Ok(Some(Packet::Data(data))) = packets::read(&mut read).await {
            answered.store(true, Ordering::Relaxed);
            let _ = socket.send_to(&data, peer).await;
        }
    };
    let down = async {
        loop {
            match tokio::time::timeout(IDLE, incoming.recv()).await {
                Ok(Some(data)) => {
                    if packets::write(&mut write, &Packet::Data(data)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(_) if answered.swap(false, Ordering::Relaxed) => {}
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    peer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn peers_have_streams_of_their_own() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = server.local_addr().expect("an address");
        let (sender, mut streams) = mpsc::channel(4);
        let serving = tokio::spawn(accept(server, move |stream| {
            let sender = sender.clone();
            async move { sender.send(stream).await.is_ok() }
        }));
        let mut clients = Vec::new();
        for text in [&b"one"[..], b"two"] {
            let client = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            client.connect(address).await.expect("an address");
            let mut near = of_connected(client);
            packets::write(&mut near, &Packet::Data(text.to_vec())).await.expect("is sent");
            let mut far = streams.recv().await.expect("a stream");
            let got = packets::read(&mut far).await.expect("is received");
            assert_eq!(got, Some(Packet::Data(text.to_vec())));
            let answer = Packet::Data([text, b"!"].concat());
            packets::write(&mut far, &answer).await.expect("is sent");
            assert_eq!(packets::read(&mut near).await.expect("is received"), Some(answer));
            clients.push((near, far));
        }
        drop(streams);
        let third = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        third.send_to(b"three", address).await.expect("is sent");
        serving.await.expect("ends, because the receiver of streams is gone");
    }
}
