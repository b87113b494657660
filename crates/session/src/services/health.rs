//! Whether a service is ready: its own health check says so, or else its ports accept connections.

use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::health::Healthcheck;
use rondel_model::service::{ContainerService, Protocol, ServicePort};
use rondel_ops::{OpContext, Ops};
use rondel_ports::network::Network;
use rondel_ports::process::Entrance;
use tokio::time::{Instant, sleep, timeout};

/// How long one attempt to connect may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between the first two attempts; then twice as long each time.
const SOON: Duration = Duration::from_millis(2);
/// Between two attempts at most.
const LATER: Duration = Duration::from_millis(100);

/// Where a health check leaves it to us: between two checks, how long one may take, how many failures in a row count.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;

/// A service that was started, before it is known to be ready.
pub(super) struct Started<'a> {
    pub(super) ops: &'a Arc<Ops>,
    pub(super) cx: &'a OpContext,
    pub(super) service: &'a ContainerService,
    pub(super) network: &'a Network,
    pub(super) entrance: &'a Entrance,
}

impl Started<'_> {
    /// Waits until the service is ready. The wait ends with the service, or when nobody waits any more.
    ///
    /// # Errors
    /// When its health check fails too often.
    pub(super) async fn ready(&self) -> Result<()> {
        if let Some(check) = &self.service.health {
            return self.healthy(check).await;
        }
        for port in self.service.ports.iter().filter(|port| is_asked(port)) {
            self.accepts(port.number).await?;
        }
        Ok(())
    }

    /// Waits until somebody listens on a port.
    async fn accepts(&self, port: u16) -> Result<()> {
        let mut pause = SOON;
        loop {
            let (ops, network) = (self.ops.clone(), self.network.clone());
            let attempt =
                tokio::task::spawn_blocking(move || ops.ports().networks.dial(&network, port, PATIENCE).is_ok());
            if attempt.await.map_err(|e| Fault::bug(format!("a health check panicked: {e}")))? {
                return Ok(());
            }
            sleep(pause).await;
            pause = LATER.min(pause * 2);
        }
    }

    async fn healthy(&self, check: &Healthcheck) -> Result<()> {
        let or = |given: Duration, own: Duration| if given.is_zero() { own } else { given };
        let interval = or(check.interval, INTERVAL);
        let retries = if check.retries == 0 { RETRIES } else { check.retries };
        let begin = Instant::now();
        let mut failures = 0;
        loop {
            let Err(fault) = self.check(check, or(check.timeout, TIMEOUT)).await else { return Ok(()) };
            let starting = begin.elapsed() < check.start_period;
            failures += i64::from(!starting);
            if failures >= retries {
                // Clients match on this text; see behaviour SVC-011.
                return Err(fault.context("health check errored"));
            }
            sleep(if starting { or(check.start_interval, interval) } else { interval }).await;
        }
    }

    async fn check(&self, check: &Healthcheck, patience: Duration) -> Result<()> {
        let args = match check.shell {
            true => ["/bin/sh".to_owned(), "-c".to_owned()].into_iter().chain(check.args.iter().cloned()).collect(),
            false => check.args.clone(),
        };
        let ended = timeout(patience, self.ops.enter(self.cx, self.service, self.entrance, args)).await;
        match ended {
            Ok(Ok(ended)) if ended.exit_code == 0 => Ok(()),
            Ok(Ok(ended)) => Err(Fault::exec(format!("exit code: {}", ended.exit_code), ended)),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::user(format!("it took longer than {} s", patience.as_secs_f64()))),
        }
    }
}

/// Whether the port says that the service is ready.
fn is_asked(port: &ServicePort) -> bool {
    port.protocol == Protocol::Tcp && !port.skip_health_check
}
