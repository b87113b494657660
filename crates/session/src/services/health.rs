//! Whether a service is ready: its ports accept connections.

use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::service::{ContainerService, Protocol};
use rondel_ops::Ops;
use rondel_ports::network::Network;
use rondel_ports::process::Entrance;

/// How long one attempt to connect may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between the first two attempts; then twice as long each time.
const SOON: Duration = Duration::from_millis(2);
/// Between two attempts at most.
const LATER: Duration = Duration::from_millis(100);

/// Waits until the service is ready. It ends with the service, or when nobody waits any more.
pub(super) async fn wait(
    ops: &Arc<Ops>,
    service: &ContainerService,
    network: &Network,
    _entrance: &Entrance,
) -> Result<()> {
    for port in &service.ports {
        if port.protocol == Protocol::Tcp && !port.skip_health_check {
            accepts(ops, network, port.number).await?;
        }
    }
    Ok(())
}

/// Waits until somebody listens on a port.
async fn accepts(ops: &Arc<Ops>, network: &Network, port: u16) -> Result<()> {
    let mut pause = SOON;
    loop {
        let (ops, network) = (ops.clone(), network.clone());
        let attempt = tokio::task::spawn_blocking(move || ops.ports().networks.dial(&network, port, PATIENCE).is_ok());
        if attempt.await.map_err(|e| Fault::bug(format!("a health check panicked: {e}")))? {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = LATER.min(pause * 2);
    }
}
