//! Images written as archive files (OCI image layout in a tar).

use std::ffi::OsStr;
use std::fs::File;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::{Attempt, Result};
use rondel_model::{Container, Fs, Snapshot};
use rondel_ports::images::MediaTypes;
use rondel_ports::snapshots::Compression;

use crate::Ops;
use crate::context::OpContext;
use crate::copy::plain_file;
use crate::key::Key;
use crate::work_layer::change;

/// The name of the archive in its tree.
const NAME: &str = "image.tar";

impl Ops {
    /// Returns a tree with one file, `/image.tar`: `variants` as an OCI image layout. Its bytes
    /// depend only on the containers.
    ///
    /// # Errors
    /// When a tree cannot be evaluated or the disk is full.
    pub async fn archive(
        self: &Arc<Self>,
        cx: &OpContext,
        variants: &[Container],
        compression: Option<Compression>,
        media_types: MediaTypes,
    ) -> Result<Fs> {
        let images = self.outgoing(cx, variants, compression).await?;
        let identities: Vec<(Digest, Digest)> = images
            .iter()
            .map(|image| {
                let layers: Vec<_> = image.layers.iter().map(|(layer, _)| layer.digest).collect();
                let rest = rondel_digest::of("image-parts/v1", &(layers, &image.annotations, &image.platform));
                (Digest::of_bytes(&image.config), rest)
            })
            .collect();
        let name = compression.map_or("default", Compression::key_name);
        let docker = media_types == MediaTypes::Docker;
        let key = Key::Archive { images: &identities, compression: name, docker }.digest();
        let ops = self.clone();
        let snapshot = self
            .files(key, move |store| {
                let dir = ops.ports().temp_dirs.temp_dir()?;
                let path = dir.path().join(NAME);
                ops.ports().images.archive(images, media_types, &path).and_then(|()| {
                    let mut file = File::open(&path).attempt(|| format!("read `{}`", path.display()))?;
                    change(store, &Snapshot::empty(), |root| plain_file(&mut file, root.0, OsStr::new(NAME), 0o600))
                })
            })
            .await?;
        Ok(Fs::known(snapshot))
    }
}
