//! What runtimes of all languages are made of: base images, files, copies and cache volumes.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::exec::Sharing;
use rondel_model::image::ImageRef;
use rondel_model::op::{CopyOp, Edit, Filter, ImageOp, TreePath};
use rondel_model::{AbsPath, Container, Fs, FsOp, ImageConfig, Mount, MountSource, Platform};
use rondel_ops::{OpContext, Ops, RegistryImage};

use crate::sdk::SdkSource;

/// The text of the file at `path` of the context directory. `None` when it does not exist.
pub(crate) async fn read_file(
    ops: &Arc<Ops>,
    cx: &OpContext,
    source: &SdkSource,
    path: &AbsPath,
) -> Result<Option<String>> {
    let place =
        TreePath { fs: source.context.place.fs.clone(), path: source.context.place.path.join_inside(path.relative()) };
    if ops.stat(cx, &place, true).await?.is_none() {
        return Ok(None);
    }
    let text = String::from_utf8(ops.read(cx, &place).await?);
    let (name, module) = (path.relative(), &source.name);
    text.map(Some).map_err(|_| Fault::user(format!("`{name}` of module `{module}` is not UTF-8 text")))
}

/// A container of the image `name` on this machine's platform.
///
/// # Errors
/// When there is no such image, or it cannot be read.
pub(crate) async fn image(ops: &Arc<Ops>, cx: &OpContext, name: &str) -> Result<Container> {
    let platform = Platform::native();
    let reference: ImageRef =
        name.parse().map_err(|e: rondel_model::image::InvalidReference| Fault::user(e.to_string()))?;
    let found = ops.resolve_image(cx, &RegistryImage::named(&reference), &platform, false).await?;
    let config: serde_json::Value = serde_json::from_str(found.config.get())
        .map_err(|e| Fault::user(format!("cannot read the configuration of image `{name}`")).caused_by(e))?;
    let config: ImageConfig = match config.get("config") {
        Some(config) if !config.is_null() => serde_json::from_value(config.clone())
            .map_err(|e| Fault::user(format!("cannot read the configuration of image `{name}`")).caused_by(e))?,
        _ => ImageConfig::default(),
    };
    let mut base = Container::scratch(found.platform.clone());
    let op = ImageOp { reference: found.reference, platform: found.platform, service: None, egress: cx.egress };
    base.rootfs = Fs::from(op);
    base.config = Arc::new(config);
    Ok(base)
}

/// `base` with the content of the folder `source` at `target`.
pub(crate) fn copy(base: Fs, source: TreePath, target: &str) -> Fs {
    copy_filtered(base, source, target, Filter::default())
}

/// The same, without the files that `filter` leaves out.
pub(crate) fn copy_filtered(base: Fs, source: TreePath, target: &str, filter: Filter) -> Fs {
    Fs::from(CopyOp {
        base,
        source,
        source_is_file: false,
        source_name: None,
        target: AbsPath::new(target),
        target_is_dir: true,
        filter,
        owner: None,
        permissions: None,
    })
}

/// A shared cache volume, mounted at `target`.
pub(crate) fn cache(volume: &str, target: &str) -> Mount {
    let (sharing, owner, read_only) = (Sharing::Shared, None, false);
    let source = MountSource::Cache { volume: volume.into(), source: None, sharing, owner, read_only };
    Mount { target: AbsPath::new(target), source }
}

/// `base` with a file.
pub(crate) fn write(base: Fs, path: &str, text: &str) -> Fs {
    let edit =
        Edit::WriteFile { path: AbsPath::new(path), contents: text.as_bytes().into(), permissions: 0o644, owner: None };
    Fs::new(FsOp::Edit { base, edit })
}
