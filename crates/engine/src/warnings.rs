//! Warnings about missing host features: listed by `engine status`, and shown once to attached
//! clients.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rondel_events::{Emitter, Outcome, Stream, Work};
use rondel_fault::Result;
use rondel_network::Bridge;
use rondel_ports::BoxFuture;
use rondel_ports::network::{Membership, Network, Networks};
use rondel_ports::streams::Protocol;

use crate::client_registry::ClientRegistry;

/// The networks of containers, with warnings about what they lack.
pub struct NetworksWithWarnings {
    bridge: Bridge,
    /// Warnings known at the start. The first client is shown them.
    at_start: Vec<String>,
    /// Warnings that are part of the status only.
    status_only: Vec<String>,
    start_shown: AtomicBool,
    network_shown: AtomicBool,
    clients: Weak<ClientRegistry>,
}

impl NetworksWithWarnings {
    /// The networks of `bridge`. The first of `clients` is shown the warnings `at_start`; clients
    /// are never shown those that are `status_only`.
    pub fn new(bridge: Bridge, at_start: Vec<String>, status_only: Vec<String>, clients: Weak<ClientRegistry>) -> Self {
        let (start_shown, network_shown) = (AtomicBool::default(), AtomicBool::default());
        Self { bridge, at_start, status_only, start_shown, network_shown, clients }
    }

    /// All warnings known by now.
    pub fn all(&self) -> Vec<String> {
        self.at_start.iter().chain(&self.status_only).cloned().chain(self.bridge.warning()).collect()
    }

    /// Shows the first client the warnings known at the start.
    pub(crate) fn warn_first_client(&self, client: &Emitter) {
        if !self.start_shown.swap(true, Ordering::Relaxed) {
            self.at_start.iter().for_each(|warning| show(client, warning));
        }
    }

    /// Shows all attached clients once what the network turned out to lack.
    fn warn_clients(&self) {
        let Some(warning) = self.bridge.warning() else { return };
        if !self.network_shown.swap(true, Ordering::Relaxed) {
            tracing::warn!("{warning}");
            if let Some(clients) = self.clients.upgrade() {
                clients.emitters().iter().for_each(|client| show(client, &warning));
            }
        }
    }
}

fn show(client: &Emitter, warning: &str) {
    let span = client.span(Work::Other, "note");
    span.emitter().log(Stream::Note, warning);
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

    fn join(&self, network: &Network, group: &str) -> Result<Membership> {
        self.bridge.join(network, group)
    }

    fn publish(&self, network: &Network, group: &str, names: &[String]) -> Result<Membership> {
        self.bridge.publish(network, group, names)
    }

    fn dial(&self, network: &Network, port: u16, patience: Duration) -> Result<TcpStream> {
        self.bridge.dial(network, port, patience)
    }

    fn clean_up(&self) -> Result<()> {
        self.bridge.clean_up()
    }
}
