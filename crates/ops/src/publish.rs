//! Publishes containers as images: packs layers and writes configurations.

use std::sync::Arc;

use rondel_digest::Sha256Digest;
use rondel_events::Work;
use rondel_fault::{Fault, Result};
use rondel_model::{Container, Snapshot};
use rondel_ports::images::{MediaTypes, OutgoingImage};
use rondel_ports::outcome::in_span;
use rondel_ports::snapshots::Compression;
use serde_json::json;

use crate::Ops;
use crate::context::OpContext;
use crate::image::RegistryImage;
use crate::stats::count;

/// The creation time in every image, so that equal content gives equal images.
const EPOCH: &str = "1970-01-01T00:00:00Z";

impl Ops {
    /// Pushes `variants` as the image `to` and returns the digest: of a manifest for one variant,
    /// of an index for several.
    ///
    /// # Errors
    /// When a tree cannot be evaluated, credentials are refused, there is no network, or a service
    /// does not start.
    pub async fn publish(
        self: &Arc<Self>,
        cx: &OpContext,
        to: &RegistryImage<'_>,
        variants: &[Container],
        compression: Option<Compression>,
        media_types: MediaTypes,
    ) -> Result<Sha256Digest> {
        let trees = self.trees_of(cx, variants).await?;
        count(&self.stats.pushes);
        let span = cx.events.span(Work::Push, format!("push {}", to.reference.familiar()));
        let events = span.emitter().clone();
        let pushed = async {
            let images = self.pack(trees, compression).await?;
            let service_host = self.connect_service(&cx.reporting(&events), to.service).await?;
            let registry = self.images(cx, &service_host);
            let credentials = to.credentials.clone();
            service_host.during(registry.push(to.reference, images, media_types, credentials, &events)).await
        };
        in_span(span, pushed).await
    }

    /// Evaluates and packs `variants` as images.
    pub(crate) async fn outgoing(
        self: &Arc<Self>,
        cx: &OpContext,
        variants: &[Container],
        compression: Option<Compression>,
    ) -> Result<Vec<OutgoingImage>> {
        let trees = self.trees_of(cx, variants).await?;
        self.pack(trees, compression).await
    }

    /// Evaluates the root file systems of `variants`.
    async fn trees_of(self: &Arc<Self>, cx: &OpContext, variants: &[Container]) -> Result<Vec<(Container, Snapshot)>> {
        if variants.is_empty() {
            return Err(Fault::user("there is no container to make an image of"));
        }
        let mut trees = Vec::with_capacity(variants.len());
        for container in variants {
            if let Some(error) = &container.error {
                return Err(Fault::user(&**error));
            }
            trees.push((container.clone(), self.tree(cx, &container.rootfs).await?));
        }
        Ok(trees)
    }

    /// Packs containers as images.
    async fn pack(
        self: &Arc<Self>,
        trees: Vec<(Container, Snapshot)>,
        compression: Option<Compression>,
    ) -> Result<Vec<OutgoingImage>> {
        let compression = compression.unwrap_or(Compression::Gzip);
        self.blocking(move |ops| {
            trees.iter().map(|(container, tree)| ops.image_of(container, tree, compression)).collect()
        })
        .await
    }

    fn image_of(&self, container: &Container, tree: &Snapshot, compression: Compression) -> Result<OutgoingImage> {
        let pack = |layer| self.ports.blobs.pack(layer, compression);
        let layers = tree.layers().iter().map(pack).collect::<Result<Vec<_>>>()?;
        let diff_ids: Vec<String> = layers.iter().map(|(layer, _)| layer.diff_id.to_string()).collect();
        Ok(OutgoingImage {
            config: configuration(container, &diff_ids)?,
            platform: container.platform.clone(),
            layers,
            annotations: container
                .annotations
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_string()))
                .collect(),
        })
    }
}

/// The configuration document of an image (OCI image specification, `config.md`).
pub(crate) fn configuration(container: &Container, diff_ids: &[String]) -> Result<Vec<u8>> {
    let (base, known) = container.history.as_ref().and_then(|history| history.below(diff_ids)).unwrap_or_default();
    let ours = diff_ids[known..].iter().map(|_| json!({"created": EPOCH, "created_by": "rondel"}));
    let history: Vec<_> = base.iter().map(|entry| json!(entry)).chain(ours).collect();
    let mut document = json!({
        "created": EPOCH,
        "architecture": container.platform.architecture,
        "os": container.platform.os,
        "config": *container.config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    });
    if !container.platform.variant.is_empty() {
        document["variant"] = json!(container.platform.variant);
    }
    serde_json::to_vec(&document).map_err(|e| Fault::bug("cannot write an image configuration as JSON").caused_by(e))
}
