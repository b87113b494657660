//! Mounts of a container: directories, files, caches, secrets, tmpfs.

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, Directory, File, MountSource, SecretRef, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, change, changed, read};
use crate::locate::{mount, touched};
use crate::types::cache_volume::CacheVolume;
use crate::{edit, inputs};
use rondel_surface::Surface;

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "withMountedDirectory", with_directory);
    surface.field(TYPE, "withMountedFile", with_file);
    surface.field(TYPE, "withMountedCache", with_cache);
    surface.field(TYPE, "withMountedSecret", with_secret);
    change(surface, "withMountedTemp", with_temp);
    change(surface, "withoutMount", |container, args| {
        let path = inputs::path(container, args, "path")?;
        let mut container = touched(container);
        container.mounts.retain(|mount| mount.target != path);
        Ok(container)
    });
    read(surface, "mounts", |container, _| {
        let listed = container
            .mounts
            .iter()
            .filter(|mount| !matches!(mount.source, MountSource::Secret { .. } | MountSource::Socket { .. }));
        Ok(Value::strings(listed.map(|mount| mount.target.as_str())))
    });
}

fn mounted(container: &Container, args: &Args, source: MountSource) -> Result<Container> {
    Ok(mount(container, inputs::path(container, args, "path")?, source))
}

async fn with_directory(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let source = source.get::<Directory>()?;
    // IDENTITY: the mounted directory counts, not the tree around it.
    let (fs, path) = (edit::selected(source), AbsPath::root());
    let (read_only, owner) = (args.bool("readOnly")?, inputs::owner(&args)?);
    let mut container = mounted(node.get()?, &args, MountSource::Directory { fs, path, read_only, owner })?;
    container.error = container.error.or_else(|| source.error.clone());
    Ok(changed(container))
}

async fn with_file(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let place = source.get::<File>()?.place.clone().isolated();
    let source = MountSource::File { fs: place.fs, path: place.path, owner: inputs::owner(&args)? };
    Ok(changed(mounted(node.get()?, &args, source)?))
}

async fn with_cache(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let cache = args.object("cache").await?;
    let cache = cache.get::<CacheVolume>()?.clone();
    let seed = args.opt_object("source").await?;
    let seed = seed.map(|node| node.get::<Directory>().map(|directory| directory.place.clone())).transpose()?;
    let seed = seed.or(cache.source).map(|place| TreePath { fs: place.into_tree(), path: AbsPath::root() });
    let source = MountSource::Cache {
        volume: cache.name,
        source: seed,
        sharing: inputs::sharing(&args)?.unwrap_or(cache.sharing),
        owner: inputs::owner(&args)?.or(cache.owner),
        read_only: false,
    };
    Ok(changed(mounted(node.get()?, &args, source)?))
}

async fn with_secret(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let secret = args.object("source").await?;
    let source = MountSource::Secret {
        secret: secret.get::<SecretRef>()?.clone(),
        owner: inputs::owner(&args)?,
        mode: inputs::permissions(&args, "mode")?.unwrap_or(0o400),
    };
    Ok(changed(mounted(node.get()?, &args, source)?))
}

fn with_temp(container: &Container, args: &Args) -> Result<Container> {
    let size = args.opt_int("size")?;
    let size = size.map(|size| match u64::try_from(size) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(Fault::user(format!("the size of a temporary mount must be greater than zero, not {size}"))),
    });
    mounted(container, args, MountSource::Temp { size: size.transpose()? })
}
