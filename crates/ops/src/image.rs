//! Pulls images: resolves each digest once and fetches each layer once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use rondel_digest::{Digest, Sha256Digest};
use rondel_events::{Parts, Work};
use rondel_fault::{Fault, Kind, Result, lock};
use rondel_model::image::ImageRef;
use rondel_model::op::{Filter, ImageOp, ImportOp, TreePath};
use rondel_model::service::Service;
use rondel_model::{LayerId, Platform, Snapshot};
use rondel_ports::egress::EgressScope;
use rondel_ports::images::{Credentials, Images, ResolvedImage};
use rondel_ports::index::Table;
use rondel_ports::outcome::in_span;
use rondel_ports::snapshots::{Compression, LayerBlob};

use crate::context::OpContext;
use crate::service_client::ServiceHost;
use crate::stat::file_path;
use crate::stats::count;
use crate::{Ops, dedup_layers, key};

/// The most layers of one image that are fetched in parallel.
const MAX_PARALLEL_LAYERS: usize = 3;

/// The most credentials that are cached for later pulls.
const MAX_CREDENTIALS: usize = 10_000;

/// A pull in progress.
struct ImagePull {
    images: Arc<dyn Images>,
    image: ResolvedImage,
    credentials: Option<Credentials>,
    /// The bytes of the layers that are pulled.
    progress: Parts,
}

/// An image in a registry, and how to access the registry.
#[derive(Clone)]
pub struct RegistryImage<'a> {
    /// The image.
    pub reference: &'a ImageRef,
    /// Registry credentials. `None` falls back to the host's `config.json`.
    pub credentials: Option<Credentials>,
    /// The service that the registry is. `None`: the registry is found by its name.
    pub service: Option<&'a Service>,
}

impl<'a> RegistryImage<'a> {
    /// An image of the registry in its name, without explicit credentials.
    pub fn named(reference: &'a ImageRef) -> Self {
        Self { reference, credentials: None, service: None }
    }
}

impl Ops {
    /// Resolves `wanted` on `platform` to an image. A pinned reference that was resolved before
    /// needs no network. A tag that points to an image that was resolved before needs one request,
    /// which also checks the credentials.
    ///
    /// # Errors
    /// Unknown image or tag, no such platform (when `exact`), refused credentials, no network, a
    /// service that does not start.
    pub async fn resolve_image(
        self: &Arc<Self>,
        cx: &OpContext,
        wanted: &RegistryImage<'_>,
        platform: &Platform,
        exact: bool,
    ) -> Result<ResolvedImage> {
        let fits = |image: &ResolvedImage| !exact || image.platform == *platform;
        if wanted.reference.digest.is_some()
            && let Some(image) = self.known_image(wanted.reference, platform).filter(fits)
        {
            self.remember_credentials(&image, wanted);
            return Ok(image);
        }
        let span = cx.events.internal_span(Work::Other, format!("resolve {}", wanted.reference.familiar()));
        let reporting = cx.reporting(span.emitter());
        let resolving = async {
            let service_host = self.connect_service(&reporting, wanted.service).await?;
            let images = self.images(cx, &service_host);
            service_host.during(self.resolve_at(&*images, wanted, platform, exact)).await
        };
        let image = in_span(span, resolving).await?;
        self.remember_credentials(&image, wanted);
        Ok(image)
    }

    /// Resolves `wanted` by asking `images`.
    async fn resolve_at(
        &self,
        images: &dyn Images,
        wanted: &RegistryImage<'_>,
        platform: &Platform,
        exact: bool,
    ) -> Result<ResolvedImage> {
        let fits = |image: &ResolvedImage| !exact || image.platform == *platform;
        let (reference, credentials) = (wanted.reference, &wanted.credentials);
        if reference.digest.is_none()
            && let Some(digest) = images.head_digest(reference, credentials.clone()).await
            && let Some(image) = self.known_image(&reference.pinned(digest), platform).filter(fits)
        {
            return Ok(image);
        }
        let image = images.resolve(reference, platform, exact, credentials.clone()).await?;
        self.remember_image(&image, platform)?;
        Ok(image)
    }

    /// The registry client: through a service, direct, or restricted to external addresses.
    pub(crate) fn images(&self, cx: &OpContext, service_host: &ServiceHost) -> Arc<dyn Images> {
        match (&service_host.host, cx.egress) {
            (Some(host), _) => self.ports.images.via_host(host.clone()),
            (None, EgressScope::Anywhere) => self.ports.images.clone(),
            (None, EgressScope::Outside) => self.ports.images.for_containers(),
        }
    }

    /// Caches credentials, because layers are fetched later with the credentials that were given
    /// last.
    fn remember_credentials(&self, image: &ResolvedImage, wanted: &RegistryImage<'_>) {
        let Some(credentials) = wanted.credentials.clone() else { return };
        let mut known = lock(&self.credentials);
        if known.len() >= MAX_CREDENTIALS {
            known.clear();
        }
        known.insert(pull_key(&image.reference, wanted.service), credentials);
    }

    fn known_image(&self, reference: &ImageRef, platform: &Platform) -> Option<ResolvedImage> {
        let bytes = self.ports.index.get(Table::Images, &image_key(reference, platform)?)?;
        let image: ResolvedImage = serde_json::from_slice(&bytes).ok()?;
        Some(ResolvedImage { reference: reference.clone(), ..image })
    }

    fn remember_image(&self, image: &ResolvedImage, asked: &Platform) -> Result<()> {
        let bytes = serde_json::to_vec(image)
            .map_err(|e| Fault::bug(format!("cannot write the image `{}` as JSON", image.reference)).caused_by(e))?;
        // An image of another platform must not answer an exact request, so it is stored under its
        // own platform.
        let Some(key) = image_key(&image.reference, &image.platform) else { return Ok(()) };
        self.ports.index.put(Table::Images, &key, &bytes, None)?;
        let single = image.reference.digest == Some(image.manifest);
        match image_key(&image.reference, asked) {
            Some(other) if other != key && !single => self.ports.index.put(Table::Images, &other, &bytes, None),
            _ => Ok(()),
        }
    }

    /// Evaluates an image in a registry: pulls the missing layers.
    pub(crate) async fn image(self: &Arc<Self>, cx: &OpContext, op: &ImageOp) -> Result<Snapshot> {
        let cx = &OpContext { egress: op.egress, ..cx.clone() };
        let image = match self.known_image(&op.reference, &op.platform) {
            Some(image) => image,
            None => {
                let credentials = self.credentials_for(&op.reference, op.service.as_ref());
                let wanted = RegistryImage { reference: &op.reference, credentials, service: op.service.as_ref() };
                self.resolve_image(cx, &wanted, &op.platform, false).await?
            }
        };
        if let Some(layers) = self.here(&image.layers) {
            return Ok(Snapshot::from(layers));
        }
        let span = cx.events.span(Work::Pull, pull_title(&op.reference));
        let events = span.emitter().clone();
        let pulled = async {
            let service_host = self.connect_service(&cx.reporting(&events), op.service.as_ref()).await?;
            let credentials = self.credentials_for(&image.reference, op.service.as_ref());
            let is_missing = |layer: &&LayerBlob| self.ports.blobs.layer_of_diff(&layer.diff_id).is_none();
            let progress = events.parts(image.layers.iter().filter(is_missing).map(|layer| layer.size).sum());
            let pull = Arc::new(ImagePull { images: self.images(cx, &service_host), image, credentials, progress });
            let layers = stream::iter(0..pull.image.layers.len())
                .map(|index| self.layer(cx, pull.clone(), index))
                .buffered(MAX_PARALLEL_LAYERS)
                .try_collect();
            service_host.during(layers).await
        };
        let layers: Result<Vec<LayerId>> = in_span(span, pulled).await;
        match layers {
            Ok(layers) => Ok(Snapshot::from(layers)),
            Err(fault) if fault.kind() == Kind::Cancelled => Err(fault),
            Err(fault) => Err(fault.context(format!("cannot pull `{}`", op.reference))),
        }
    }

    fn here(&self, layers: &[LayerBlob]) -> Option<Vec<LayerId>> {
        layers.iter().map(|layer| self.ports.blobs.layer_of_diff(&layer.diff_id)).collect()
    }

    /// Fetches and unpacks one layer. Concurrent pulls of the layer share one download, also under
    /// different image names.
    async fn layer(self: &Arc<Self>, cx: &OpContext, pull: Arc<ImagePull>, index: usize) -> Result<LayerId> {
        let diff_id = pull.image.layers[index].diff_id;
        if let Some(layer) = self.ports.blobs.layer_of_diff(&diff_id) {
            count(&self.stats.pulls_cached);
            return Ok(layer);
        }
        let key = rondel_digest::of("layer/v1", &diff_id);
        self.layers.remove(&[key]);
        let label = || format!("pull layer {}", short_digest(&pull.image.layers[index].digest)).into();
        let mine = Arc::new(AtomicBool::new(false));
        let (ops, own, starts) = (self.clone(), pull.clone(), mine.clone());
        let fetch = move || async move {
            starts.store(true, Ordering::Relaxed);
            let ImagePull { images, image, credentials, progress } = &*own;
            let layer = &image.layers[index];
            let folder = ops.temp_dir().await?;
            let blob = folder.path().join("layer");
            count(&ops.stats.pulls);
            images.fetch(image, layer, &blob, credentials.clone(), &progress.part()).await?;
            let expected = layer.clone();
            ops.blocking(move |ops| {
                let folder = folder;
                let blob = folder.path().join("layer");
                ops.ports.blobs.unpack(&blob, Compression::of_media_type(&expected.media_type), &expected)
            })
            .await
        };
        let joined = |_: &str| pull.progress.wait("another client, which pulls the same layer");
        let (layer, _) = self.layers.evaluate_for(cx.scopes.session(), key, joined, label, fetch).await;
        if !mine.load(Ordering::Relaxed) {
            pull.progress.skip(pull.image.layers[index].size);
        }
        layer
    }

    fn credentials_for(&self, reference: &ImageRef, service: Option<&Service>) -> Option<Credentials> {
        lock(&self.credentials).get(&pull_key(reference, service)).cloned()
    }

    /// Evaluates an image in an archive: unpacks its layers.
    pub(crate) async fn import(self: &Arc<Self>, cx: &OpContext, op: &ImportOp) -> Result<Snapshot> {
        let source = self.tree(cx, &op.source.fs).await?;
        let key = key::import(op, self.content(&source, &op.source, &Filter::default()).await?);
        if let Some(snapshot) = self.stored::<Snapshot>(&key, &self.stats.files_cached, |s| vec![s]) {
            return Ok(snapshot);
        }
        count(&self.stats.files_done);
        let op = op.clone();
        let snapshot = self
            .blocking(move |ops| {
                ops.with_archive(&source, &op.source, &op.tag, &op.platform, |image, blobs| {
                    let store = &*ops.ports.blobs;
                    let layer =
                        |(layer, blob): (&LayerBlob, &std::path::PathBuf)| match store.layer_of_diff(&layer.diff_id) {
                            Some(there) => Ok(there),
                            None => store.unpack(blob, Compression::of_media_type(&layer.media_type), layer),
                        };
                    let layers = image.layers.iter().zip(&blobs).map(layer).collect::<Result<Vec<_>>>()?;
                    Ok(Snapshot::from(layers))
                })
            })
            .await?;
        self.store(&key, &snapshot)?;
        Ok(snapshot)
    }

    /// Reads the image of `tag` and `platform` in an archive. Its layers are unpacked by
    /// [`rondel_model::op::FsOp::Import`].
    ///
    /// # Errors
    /// When the archive is hostile, damaged, or lacks the image.
    pub async fn read_image_archive(
        self: &Arc<Self>,
        cx: &OpContext,
        source: &TreePath,
        tag: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage> {
        let tree = self.tree(cx, &source.fs).await?;
        let (source, tag, platform) = (source.clone(), tag.to_owned(), platform.clone());
        self.blocking(move |ops| ops.with_archive(&tree, &source, &tag, &platform, |image, _| Ok(image))).await
    }

    fn with_archive<T>(
        &self,
        tree: &Snapshot,
        source: &TreePath,
        tag: &str,
        platform: &Platform,
        then: impl FnOnce(ResolvedImage, Vec<std::path::PathBuf>) -> Result<T>,
    ) -> Result<T> {
        let tree = dedup_layers::view(&*self.ports.snapshots, tree)?;
        let scratch = self.ports.temp_dirs.temp_dir()?;
        let (_archive, path) = file_path(&tree, &source.path)?;
        let read = self.ports.images.read_archive(&path, tag, platform, scratch.path());
        let (image, blobs) = read.map_err(|fault| fault.context(format!("cannot import `{}`", source.path)))?;
        then(image, blobs)
    }
}

fn image_key(reference: &ImageRef, platform: &Platform) -> Option<Digest> {
    let digest = reference.digest?;
    Some(rondel_digest::of("image/v1", &(reference.name(), digest, platform)))
}

/// The key of cached credentials. A service never gets credentials that were given for another host
/// of its name.
fn pull_key(reference: &ImageRef, service: Option<&Service>) -> Digest {
    rondel_digest::of("pull/v2", &(reference.name(), reference.digest, service))
}

/// The title of a pull.
pub(crate) fn pull_title(reference: &ImageRef) -> String {
    format!("pull {}", reference.familiar())
}

/// The first 12 hexadecimal digits, for display.
fn short_digest(digest: &Sha256Digest) -> String {
    digest.hex()[..12].to_owned()
}
