//! Connects the engine itself to services of a session, such as registries and git servers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Fault, Kind, Result};
use rondel_model::service::{Service, ServiceBinding};
use rondel_ports::BoxFuture;
use rondel_ports::network::{Dial, Host, Network};

use crate::Ops;
use crate::context::{BoundServices, OpContext};

/// How long a running service may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after a failed request the end of the service still counts as its cause.
const EXIT_GRACE: Duration = Duration::from_millis(200);

/// A host that may be a service. The service stays up until this is dropped.
pub(crate) struct ServiceHost {
    /// The running service. `None`: the host is found by its name.
    pub(crate) host: Option<Host>,
    ended: BoxFuture<'static, Fault>,
}

impl ServiceHost {
    /// A host that is found by its name.
    pub(crate) fn by_name() -> Self {
        Self { host: None, ended: Box::pin(std::future::pending()) }
    }

    /// Runs `work`. If the service ends first, fails with the service's error.
    pub(crate) async fn during<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Self { host, mut ended } = self;
        tokio::select! {
            biased;
            fault = &mut ended => Err(fault),
            done = work => match done {
                Err(fault) if host.is_some() && fault.kind() == Kind::Environment => {
                    Err(tokio::time::timeout(EXIT_GRACE, ended).await.unwrap_or(fault))
                }
                done => done,
            },
        }
    }
}

impl Ops {
    /// Starts the service that a host is, if any, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn connect_service(
        self: &Arc<Self>,
        cx: &OpContext,
        service: Option<&Service>,
    ) -> Result<ServiceHost> {
        let Some(service) = service else { return Ok(ServiceHost::by_name()) };
        let binding = ServiceBinding { alias: service.hostname().to_owned(), service: service.clone() };
        let BoundServices { networks, ended, guard, .. } = cx.services.bind(cx, &[binding]).await?;
        let (_, network) =
            networks.into_iter().next().ok_or_else(|| Fault::bug("a service is up and has no network"))?;
        let folder = self.temp_dir().await?;
        let (key, dial, path) = (service.digest(), self.dial(&network), folder.path().to_owned());
        let host = Host { key, dial, folder: path, guard: Arc::new((guard, folder)) };
        Ok(ServiceHost { host: Some(host), ended })
    }

    /// Dials ports of a service inside its network.
    fn dial(&self, network: &Network) -> Dial {
        let (networks, network) = (self.ports.networks.clone(), network.clone());
        Arc::new(move |port| networks.dial(&network, port, DIAL_TIMEOUT))
    }
}
