//! The registry client: its configuration, its connections, and how it opens a repository.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::image::ImageRef;
use rondel_ports::images::Credentials;
use rondel_ports::network::Host;
use tokio::sync::OnceCell;

use crate::config::{RegistryConfig, RegistryEnvironment, Timeouts};
use crate::connection::Connection;
use crate::remote::{Endpoint, Remote};

/// The registry client. Keeps connections and tokens. Share it behind an `Arc`.
pub struct Registry {
    pub(crate) config: RegistryConfig,
    pub(crate) connection: Arc<Connection>,
    /// The only registry to ask, if this client is for one registry.
    pub(crate) only: Option<SingleRegistry>,
    /// The connection for requests of containers, made with the first request.
    pub(crate) container_connection: Arc<OnceCell<Connection>>,
    /// Whether requests are made for a container.
    pub(crate) for_containers: bool,
}

/// A registry that is a service of the session, which no DNS name leads to.
pub(crate) struct SingleRegistry {
    pub(crate) host: Host,
    /// Made with the first request.
    pub(crate) connection: OnceCell<Connection>,
}

impl Registry {
    /// A registry client with this configuration, for the user that `environment` describes.
    ///
    /// # Errors
    /// When no certificate of the host can be read or a proxy is no URL.
    pub fn new(config: RegistryConfig, environment: RegistryEnvironment) -> Result<Self> {
        Self::with_timeouts(config, environment, Timeouts::default())
    }

    /// The same with other time limits.
    ///
    /// # Errors
    /// As for [`Registry::new`].
    pub fn with_timeouts(config: RegistryConfig, environment: RegistryEnvironment, timing: Timeouts) -> Result<Self> {
        let connection = Connection::new(&config, environment, timing)?;
        let (connection, container_connection) = (Arc::new(connection), Arc::default());
        Ok(Self { config, connection, only: None, container_connection, for_containers: false })
    }

    /// The repository of `reference` at `endpoint`.
    pub(crate) async fn remote(
        &self,
        endpoint: Endpoint,
        reference: &ImageRef,
        given: Option<Credentials>,
    ) -> Result<Remote<'_>> {
        let connection = match &self.only {
            // Mirrors come from the configuration, which is trusted.
            None if self.for_containers && !endpoint.is_mirror() => {
                let connection =
                    self.container_connection.get_or_try_init(|| async { self.connection.for_containers() }).await?;
                endpoint.check(&connection.environment.web.egress)?;
                connection
            }
            None => &*self.connection,
            Some(SingleRegistry { host, connection }) => {
                let made = connection.get_or_try_init(|| self.connection.via_host(host, endpoint.authority()));
                made.await?
            }
        };
        Remote::open(connection, endpoint, reference, given).await
    }
}
