//! Images in registries (distribution API v2), OCI layout folders and archives.
//!
//! [`Registry`] implements the port [`rondel_ports::images::Images`]. An image is looked for in the configured mirrors,
//! in their order, and then in the registry that its name says; [`layout`] writes the folders that may serve as mirrors.
//! A registry that no name leads to is asked alone ([`Images::through`]), and nothing is remembered of it beyond that.
//!
//! *Invariants.* Nothing that came from outside is used before its digest was checked. Documents are bounded, so that
//! no registry can exhaust the memory. Credentials and tokens are kept per host, repository, kind of access and
//! credentials: an anonymous token never serves an authenticated request, nor the other way round. They are sent to the
//! registry (or the token server it names) only, never in the clear where the registry itself is reached by TLS, and
//! appear in no message. No environment variable is read here: [`Environment`] carries them. What is written depends on
//! the images alone. Layers are neither unpacked nor packed here, except by the layout writer.
//!
//! *Libraries.* `oci-spec` gives the documents. `oci-client` was tried first and does not fit: it reads manifests and
//! error texts without bound, hides the reason of a refused token, knows neither identity tokens nor `Retry-After`,
//! binds one set of credentials to a registry for good, and takes proxies from the process. So the requests are made
//! one level below, with `reqwest`, which it is built on, with `rustls` set up from the host's certificates.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod auth;
mod config;
mod connection;
mod credentials;
mod document;
mod download;
pub mod layout;
mod platforms;
mod push;
mod remote;
mod resolve;
#[cfg(test)]
mod testing;
mod unarchive;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use rondel_ports::BoxFuture;
use rondel_ports::images::{Credentials, Images, MediaTypes, OutgoingImage, ResolvedImage};
use rondel_ports::network::Host;
use rondel_ports::snapshots::LayerBlob;
use tokio::sync::OnceCell;

pub use config::{Environment, Mirror, MirrorLocation, RegistryConfig, Timing};

use connection::Connection;
use remote::{Endpoint, Remote};

/// Finds and moves images. Cheap to share behind an `Arc`; keeps connections and tokens.
pub struct Registry {
    config: RegistryConfig,
    connection: Arc<Connection>,
    /// The one registry that there is.
    only: Option<Only>,
    /// For processes in containers; made with the first request.
    outside: Arc<OnceCell<Connection>>,
    /// It is a process in a container that asks.
    is_outside: bool,
}

/// A registry that no name leads to.
struct Only {
    host: Host,
    /// Made with the first request.
    connection: OnceCell<Connection>,
}

impl Registry {
    /// A registry client with this configuration, for the user that `environment` describes.
    ///
    /// # Errors
    /// When no certificate of the host can be read or a proxy is no URL.
    pub fn new(config: RegistryConfig, environment: Environment) -> Result<Self> {
        Self::with_timing(config, environment, Timing::default())
    }

    /// The same with other time limits.
    ///
    /// # Errors
    /// As for [`Registry::new`].
    pub fn with_timing(config: RegistryConfig, environment: Environment, timing: Timing) -> Result<Self> {
        let connection = Connection::new(&config, environment, timing)?;
        let (connection, outside) = (Arc::new(connection), Arc::default());
        Ok(Self { config, connection, only: None, outside, is_outside: false })
    }

    /// The repository of `reference` at `endpoint`.
    async fn remote(&self, endpoint: Endpoint, reference: &ImageRef, given: Option<Credentials>) -> Result<Remote<'_>> {
        let connection = match &self.only {
            // Mirrors come from the configuration, which is trusted.
            None if self.is_outside && !endpoint.is_mirror() => {
                let connection = self.outside.get_or_try_init(|| async { self.connection.outside() }).await?;
                endpoint.check(&connection.environment.web.egress)?;
                connection
            }
            None => &*self.connection,
            Some(Only { host, connection }) => {
                let made = connection.get_or_try_init(|| self.connection.through(host, endpoint.authority()));
                made.await?
            }
        };
        Remote::open(connection, endpoint, reference, given).await
    }
}

impl Images for Registry {
    fn resolve<'a>(
        &'a self,
        reference: &'a ImageRef,
        platform: &'a Platform,
        exact: bool,
        credentials: Option<Credentials>,
    ) -> BoxFuture<'a, Result<ResolvedImage>> {
        Box::pin(self.resolve_image(reference, platform, exact, credentials))
    }

    fn locate<'a>(
        &'a self,
        reference: &'a ImageRef,
        credentials: Option<Credentials>,
    ) -> BoxFuture<'a, Option<Sha256Digest>> {
        Box::pin(self.locate_image(reference, credentials))
    }

    fn fetch<'a>(
        &'a self,
        image: &'a ResolvedImage,
        layer: &'a LayerBlob,
        into: &'a Path,
        credentials: Option<Credentials>,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.fetch_layer(image, layer, into, credentials, progress))
    }

    fn push<'a>(
        &'a self,
        reference: &'a ImageRef,
        images: Vec<OutgoingImage>,
        media_types: MediaTypes,
        credentials: Option<Credentials>,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<Sha256Digest>> {
        Box::pin(self.push_images(reference, images, media_types, credentials, progress))
    }

    fn through(&self, host: Host) -> Arc<dyn Images> {
        let only = Only { host, connection: OnceCell::new() };
        let config = RegistryConfig::default();
        let (connection, outside) = (self.connection.clone(), self.outside.clone());
        Arc::new(Self { config, connection, only: Some(only), outside, is_outside: false })
    }

    fn outside(&self) -> Arc<dyn Images> {
        let (config, connection, outside) = (self.config.clone(), self.connection.clone(), self.outside.clone());
        Arc::new(Self { config, connection, only: None, outside, is_outside: true })
    }

    fn archive(&self, images: Vec<OutgoingImage>, media_types: MediaTypes, into: &Path) -> Result<()> {
        archive::write(&images, media_types, into)
    }

    fn read_archive(
        &self,
        archive: &Path,
        tag: &str,
        platform: &Platform,
        scratch: &Path,
    ) -> Result<(ResolvedImage, Vec<PathBuf>)> {
        unarchive::read(archive, tag, platform, scratch)
    }
}
