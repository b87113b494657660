//! Remarks on what this machine lacks: part of the engine's status, and said once to whoever is attached.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rondel_events::{Emitter, Outcome, Stream, Work};
use rondel_fault::Result;
use rondel_network::Bridge;
use rondel_ports::BoxFuture;
use rondel_ports::network::{Membership, Network, Networks};
use rondel_ports::streams::Protocol;

use crate::clients::Engine;

/// The networks of containers, with what there is to say about them.
pub struct NetworksWithWarnings {
    bridge: Bridge,
    /// What was known at the start.
    known_at_start: Vec<String>,
    /// What is part of the status only.
    status_only: Vec<String>,
    early_sent: AtomicBool,
    late_sent: AtomicBool,
    engine: OnceLock<Weak<Engine>>,
}

impl NetworksWithWarnings {
    /// The networks of `bridge`; `known_at_start` is known before any of them, and so is `status_only`, of which
    /// clients are not told by themselves.
    pub fn new(bridge: Bridge, known_at_start: Vec<String>, status_only: Vec<String>) -> Self {
        let said = AtomicBool::default;
        Self { bridge, known_at_start, status_only, early_sent: said(), late_sent: said(), engine: OnceLock::new() }
    }

    /// Says whose clients are told. A second engine is ignored.
    pub fn set_engine(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// Everything that is known by now.
    pub fn all(&self) -> Vec<String> {
        self.known_at_start.iter().chain(&self.status_only).cloned().chain(self.bridge.note()).collect()
    }

    /// Tells the first client what was known before it.
    pub(crate) fn warn_first_client(&self, client: &Emitter) {
        if !self.early_sent.swap(true, Ordering::Relaxed) {
            self.known_at_start.iter().for_each(|note| warn(client, note));
        }
    }

    fn warn_clients(&self) {
        let Some(note) = self.bridge.note() else { return };
        if !self.late_sent.swap(true, Ordering::Relaxed)
            && let Some(engine) = self.engine.get().and_then(Weak::upgrade)
        {
            engine.listeners().iter().for_each(|client| warn(client, &note));
        }
    }
}

fn warn(client: &Emitter, note: &str) {
    let span = client.span(Work::Other, "note");
    span.emitter().log(Stream::Note, note);
    span.end(Outcome::Done);
}

impl Networks for NetworksWithWarnings {
    fn connect(&self) -> BoxFuture<'_, Result<Network>> {
        Box::pin(async move {
            let network = self.bridge.connect().await?;
            if network.address.is_none() {
                self.warn_clients();
            }
            Ok(network)
        })
    }

    fn of_machine(&self) -> Result<Network> {
        self.bridge.of_machine()
    }

    fn listen(&self, network: &Network) -> Result<TcpListener> {
        self.bridge.listen(network)
    }

    fn socket(&self, namespace: BorrowedFd<'_>, protocol: Protocol) -> Result<OwnedFd> {
        self.bridge.socket(namespace, protocol)
    }

    fn join(&self, network: &Network, neighbourhood: &str) -> Result<Membership> {
        self.bridge.join(network, neighbourhood)
    }

    fn publish(&self, network: &Network, neighbourhood: &str, names: &[String]) -> Result<Membership> {
        self.bridge.publish(network, neighbourhood, names)
    }

    fn dial(&self, network: &Network, port: u16, patience: Duration) -> Result<TcpStream> {
        self.bridge.dial(network, port, patience)
    }

    fn clean_up(&self) -> Result<()> {
        self.bridge.clean_up()
    }
}
