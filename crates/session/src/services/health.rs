//! Readiness of services: the health check of the image passes, or else all TCP ports accept
//! connections.

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
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between the first two attempts to connect. It doubles with each attempt.
const MIN_PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_millis(100);

// Defaults for values that a health check does not set.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_RETRIES: i64 = 3;

/// A service that was started and may not be ready yet.
pub(super) struct StartedService<'a> {
    pub(super) ops: &'a Arc<Ops>,
    pub(super) cx: &'a OpContext,
    pub(super) service: &'a ContainerService,
    pub(super) network: &'a Network,
    pub(super) entrance: &'a Entrance,
}

impl StartedService<'_> {
    /// Waits until the service is ready. The caller drops the wait when the service ends or has no
    /// users any more.
    ///
    /// # Errors
    /// When the health check fails too often.
    pub(super) async fn ready(&self) -> Result<()> {
        if let Some(check) = &self.service.health {
            return self.wait_healthy(check).await;
        }
        for port in self.service.ports.iter().filter(|port| is_checked(port)) {
            self.wait_port(port.number).await?;
        }
        Ok(())
    }

    /// Waits until the service accepts connections on `port`.
    async fn wait_port(&self, port: u16) -> Result<()> {
        let mut pause = MIN_PAUSE;
        loop {
            let (ops, network) = (self.ops.clone(), self.network.clone());
            let attempt =
                tokio::task::spawn_blocking(move || ops.ports().networks.dial(&network, port, DIAL_TIMEOUT).is_ok());
            if attempt.await.map_err(|e| Fault::bug(format!("a health check panicked: {e}")))? {
                return Ok(());
            }
            sleep(pause).await;
            pause = MAX_PAUSE.min(pause * 2);
        }
    }

    async fn wait_healthy(&self, check: &Healthcheck) -> Result<()> {
        let or = |given: Duration, own: Duration| if given.is_zero() { own } else { given };
        let interval = or(check.interval, DEFAULT_INTERVAL);
        let retries = if check.retries == 0 { DEFAULT_RETRIES } else { check.retries };
        let begin = Instant::now();
        let mut failures = 0;
        loop {
            let Err(fault) = self.check(check, or(check.timeout, DEFAULT_TIMEOUT)).await else { return Ok(()) };
            let starting = begin.elapsed() < check.start_period;
            failures += i64::from(!starting);
            if failures >= retries {
                // Clients match on this text; see behaviour SVC-011.
                return Err(fault.context("health check errored"));
            }
            sleep(if starting { or(check.start_interval, interval) } else { interval }).await;
        }
    }

    async fn check(&self, check: &Healthcheck, limit: Duration) -> Result<()> {
        let args = match check.shell {
            true => ["/bin/sh".to_owned(), "-c".to_owned()].into_iter().chain(check.args.iter().cloned()).collect(),
            false => check.args.clone(),
        };
        let ended = timeout(limit, self.ops.enter(self.cx, self.service, self.entrance, args)).await;
        match ended {
            Ok(Ok(ended)) if ended.exit_code == 0 => Ok(()),
            Ok(Ok(ended)) => Err(Fault::exec(format!("exit code: {}", ended.exit_code), ended)),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::user(format!("it took longer than {} s", limit.as_secs_f64()))),
        }
    }
}

/// Whether readiness depends on the port.
fn is_checked(port: &ServicePort) -> bool {
    port.protocol == Protocol::Tcp && !port.skip_health_check
}
