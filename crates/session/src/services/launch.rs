//! What the run of a service receives, and what it reports when the service is ready.

use std::sync::Arc;

use rondel_model::service::Forward;
use rondel_ops::{OpContext, Ops, RunningContainer};
use rondel_ports::network::Network;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// A service that is ready, and how to reach it.
#[derive(Clone)]
pub struct RunningService {
    /// Its network.
    pub network: Network,
    /// Its container. `None` for a tunnel or a service of the host.
    pub container: Option<RunningContainer>,
    /// The ports that a tunnel has opened on the client's machine.
    pub forwards: Vec<Forward>,
}

/// What the run of a service receives.
pub(super) struct ServiceLaunch {
    pub(super) ops: Arc<Ops>,
    /// The context of the client that starts the service.
    pub(super) cx: OpContext,
    /// The host name of the service.
    pub(super) hostname: String,
    /// The name that people are shown: the alias under which it is first bound, or the host name.
    pub(super) title: String,
    /// The complete names under which containers find it.
    pub(super) names: Vec<String>,
    /// The session network whose containers find it.
    pub(super) group: Arc<str>,
    /// Signals for its process.
    pub(super) signals: mpsc::UnboundedReceiver<i32>,
    /// Ends the service at once.
    pub(super) cancel: CancellationToken,
    /// Receives the service when it is ready.
    pub(super) ready: oneshot::Sender<RunningService>,
}
