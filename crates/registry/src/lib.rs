//! Images in registries (distribution API v2), OCI layout folders and archives.
//!
//! [`Registry`] implements the port [`rondel_ports::images::Images`]. An image is looked for in the
//! configured mirrors, in their order, and then in the registry that its name says. A mirror is
//! a registry or an OCI layout folder. A registry that no name leads to is asked alone
//! ([`Images::via_host`]), and nothing is remembered of it beyond that.
//!
//! *Invariants.* Content from outside is used only after its digest was checked. Documents are
//! bounded, so that no registry can exhaust the memory. Credentials and tokens are kept per host,
//! repository, kind of access and credentials: an anonymous token never serves an authenticated
//! request, nor the reverse. They are sent only to the registry or to the token server that it
//! names, never in the clear if the registry itself is reached by TLS, and appear in no message. No
//! environment variable is read here: [`RegistryEnvironment`] carries them. What is written depends
//! on the images alone. Layers are neither unpacked nor packed here.
//!
//! *Libraries.* `oci-spec` gives the documents. `oci-client` was tried first and does not fit: it
//! reads manifests and error texts without bound, hides the reason of a refused token, knows
//! neither identity tokens nor `Retry-After`, binds one set of credentials to a registry for good,
//! and takes proxies from the process. So the requests are made one level below, with `reqwest`,
//! which it is built on, with `rustls` set up from the host's certificates.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth;
mod config;
mod connection;
mod credentials;
mod download;
mod layout;
mod manifest;
mod platforms;
mod push;
mod read_archive;
mod registry;
mod remote;
mod resolve;
#[cfg(test)]
mod testing;
mod write_archive;

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

pub use config::{Mirror, MirrorLocation, RegistryConfig, RegistryEnvironment, Timeouts};

pub use registry::Registry;

use registry::SingleRegistry;

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

    fn head_digest<'a>(
        &'a self,
        reference: &'a ImageRef,
        credentials: Option<Credentials>,
    ) -> BoxFuture<'a, Option<Sha256Digest>> {
        Box::pin(self.head_digest_of(reference, credentials))
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

    fn via_host(&self, host: Host) -> Arc<dyn Images> {
        let only = SingleRegistry { host, connection: OnceCell::new() };
        let config = RegistryConfig::default();
        let connection = self.connection.clone();
        let container_connection = self.container_connection.clone();
        Arc::new(Self { config, connection, only: Some(only), container_connection, for_containers: false })
    }

    fn for_containers(&self) -> Arc<dyn Images> {
        let (config, connection) = (self.config.clone(), self.connection.clone());
        let container_connection = self.container_connection.clone();
        Arc::new(Self { config, connection, only: None, container_connection, for_containers: true })
    }

    fn archive(&self, images: Vec<OutgoingImage>, media_types: MediaTypes, into: &Path) -> Result<()> {
        write_archive::write(&images, media_types, into)
    }

    fn read_archive(
        &self,
        archive: &Path,
        tag: &str,
        platform: &Platform,
        scratch: &Path,
    ) -> Result<(ResolvedImage, Vec<PathBuf>)> {
        read_archive::read(archive, tag, platform, scratch)
    }
}
