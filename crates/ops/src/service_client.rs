//! Services of a session that the engine itself is a client of.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Fault, Kind, Result};
use rondel_model::service::{Service, ServiceBinding};
use rondel_ports::BoxFuture;
use rondel_ports::network::{Dial, Host, Network};

use crate::Ops;
use crate::context::{BoundServices, OpContext};

/// How long a service that is up may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after a failure the end of a service may become known that is the reason of it.
const EXIT_GRACE: Duration = Duration::from_millis(200);

/// A host that may be a service, for as long as somebody works with it.
pub(crate) struct ServiceHost {
    /// The service, up; none: no service is meant.
    pub(crate) host: Option<Host>,
    ended: BoxFuture<'static, Fault>,
}

impl ServiceHost {
    /// No service is meant.
    pub(crate) fn by_name() -> Self {
        Self { host: None, ended: Box::pin(std::future::pending()) }
    }

    /// What `work` gives, or the error of the service when that ends before.
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
    /// Brings up the service that a host is, when it is one, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
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

    /// How a port of a service is service_host.
    fn dial(&self, network: &Network) -> Dial {
        let (networks, network) = (self.ports.networks.clone(), network.clone());
        Arc::new(move |port| networks.dial(&network, port, DIAL_TIMEOUT))
    }
}
