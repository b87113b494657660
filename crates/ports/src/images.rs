//! Images in registries, layouts and archives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::network::Host;
use crate::snapshots::LayerBlob;

/// A user name and a password or token. Its `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// An image of one platform, resolved: everything its manifest and configuration say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// The reference, pinned to the digest that the name resolves to (of the index, if there is
    /// one).
    pub reference: ImageRef,
    /// Where it was found, as shown to users: `registry localhost:5000`, `mirror /images`, `layout
    /// /images`.
    pub origin: String,
    /// The digest of the manifest of this platform.
    pub manifest: Sha256Digest,
    /// The configuration, verbatim JSON.
    pub config: Box<serde_json::value::RawValue>,
    /// The platform, from the configuration.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<LayerBlob>,
}

/// One image to push or archive.
pub struct OutgoingImage {
    /// The configuration.
    pub config: Vec<u8>,
    /// The platform.
    pub platform: Platform,
    /// The layers, lowest first, with the paths of their blobs.
    pub layers: Vec<(LayerBlob, PathBuf)>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
}

/// The media types of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTypes {
    /// OCI image specification.
    Oci,
    /// Docker image manifest, version 2, schema 2.
    Docker,
}

/// Resolves, pulls and pushes images.
pub trait Images: Send + Sync {
    /// Resolves `reference` for `platform`. With `exact`, another platform is an error. Otherwise
    /// an image of a single platform is taken as it is. `credentials` of the caller precede those
    /// of the host's configuration.
    ///
    /// # Errors
    /// Unknown image or tag, no such platform, refused credentials (`Denied`), no network.
    fn resolve<'a>(
        &'a self,
        reference: &'a ImageRef,
        platform: &'a Platform,
        exact: bool,
        credentials: Option<Credentials>,
    ) -> BoxFuture<'a, Result<ResolvedImage>>;

    /// The digest that `reference` resolves to now, asked for without the content (`HEAD`). `None`
    /// means that only [`Images::resolve`] can tell, which also reports errors.
    fn head_digest<'a>(
        &'a self,
        reference: &'a ImageRef,
        credentials: Option<Credentials>,
    ) -> BoxFuture<'a, Option<Sha256Digest>>;

    /// Downloads `layer` to the file `into`, verified against digest and size.
    ///
    /// # Errors
    /// As for `resolve`, and when the content does not match.
    fn fetch<'a>(
        &'a self,
        image: &'a ResolvedImage,
        layer: &'a LayerBlob,
        into: &'a Path,
        credentials: Option<Credentials>,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>>;

    /// Pushes `images` under `reference` and returns the digest. One image is pushed as a manifest,
    /// several as an index.
    ///
    /// # Errors
    /// As for `resolve`.
    fn push<'a>(
        &'a self,
        reference: &'a ImageRef,
        images: Vec<OutgoingImage>,
        media_types: MediaTypes,
        credentials: Option<Credentials>,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<Sha256Digest>>;

    /// The same for one registry, reached through `host`. Every reference is resolved there, and
    /// mirrors are not used. Plain HTTP is allowed.
    fn via_host(&self, host: Host) -> Arc<dyn Images>;

    /// The same for requests of containers. Registries on this machine are refused, except mirrors.
    fn for_containers(&self) -> Arc<dyn Images>;

    /// Writes `images` as an OCI layout tar with a Docker `manifest.json` beside it (for a single
    /// image). Blocks. The bytes depend on the images alone.
    ///
    /// # Errors
    /// When a blob is missing or the disk is full.
    fn archive(&self, images: Vec<OutgoingImage>, media_types: MediaTypes, into: &Path) -> Result<()>;

    /// Reads an image archive (OCI layout tar, or the older Docker form) and unpacks its blobs
    /// under `scratch`. Blocks. Gives the image of `tag` (empty: the only one) and `platform`, and
    /// where each layer's blob lies.
    ///
    /// # Errors
    /// When the archive is hostile, damaged, or lacks the image.
    fn read_archive(
        &self,
        archive: &Path,
        tag: &str,
        platform: &Platform,
        scratch: &Path,
    ) -> Result<(ResolvedImage, Vec<PathBuf>)>;
}
