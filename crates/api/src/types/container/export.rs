//! Writes containers as images: `publish`, `export`, `exportImage`, `asTarball`.

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, File, Fs, Value};
use rondel_ops::RegistryImage;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, of};
use crate::image_store::ImageStore;
use crate::types::file::exported;
use crate::{credentials, image_config, inputs};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The path of an image archive in its tree.
const ARCHIVE: &str = "/image.tar";

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "publish", publish);
    surface.field(TYPE, "asTarball", as_tarball);
    surface.field(TYPE, "export", export);
    surface.field(TYPE, "exportImage", export_image);
}

/// The images to write: the container and every variant. An empty container with variants is left
/// out.
async fn variants(node: &Node, args: &Args) -> Result<Vec<Container>> {
    let own = of(node)?.clone();
    let others = args.objects("platformVariants").await?;
    let mut all = Vec::with_capacity(others.len() + 1);
    if others.is_empty() || own.rootfs != Fs::scratch() {
        all.push(own);
    }
    for other in &others {
        all.push(of(other)?.clone());
    }
    let mut platforms: Vec<String> = all.iter().map(|variant| variant.platform.to_string()).collect();
    platforms.sort_unstable();
    match platforms.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::user(format!("two variants have the platform `{}`", pair[0]))),
        None => Ok(all),
    }
}

async fn publish(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let reference = image_config::reference(&args.str("address")?)?;
    let variants = variants(&node, &args).await?;
    let (ops, op_cx) = ops_and_context(&cx);
    let credentials = credentials::of(&op_cx, of(&node)?, &reference).await?;
    let (compression, media_types) = (inputs::compression(&args)?, inputs::media_types(&args)?);
    let service = inputs::service(&args, "registryService").await?;
    let to = RegistryImage { reference: &reference, credentials, service: service.as_ref() };
    let digest = ops.publish(&op_cx, &to, &variants, compression, media_types).await?;
    Ok(Value::string(reference.pinned(digest).to_string()).into())
}

async fn archive(cx: &ResolverContext, node: &Node, args: &Args) -> Result<TreePath> {
    let variants = variants(node, args).await?;
    let (ops, op_cx) = ops_and_context(cx);
    let fs = ops.archive(&op_cx, &variants, inputs::compression(args)?, inputs::media_types(args)?).await?;
    Ok(TreePath { fs, path: AbsPath::new(ARCHIVE) })
}

async fn as_tarball(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let place = archive(&cx, &node, &args).await?;
    let file = File { place, platform: of(&node)?.platform.clone(), name: None, asked: None };
    Ok(Value::object("File", file).into())
}

async fn export(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let path = inputs::text(of(&node)?, &args, "path")?;
    if leaves(&path) {
        return Err(Fault::user(format!("cannot export to `{path}`: it is outside of the working directory"))
            .with_hint("use an absolute path"));
    }
    let place = archive(&cx, &node, &args).await?;
    exported(&cx, &args, &place, &path).await
}

async fn export_image(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let store = ImageStore::of(&cx).await?;
    // The tool may accept more forms of names than registries, but each is an image reference.
    let name = args.str("name")?;
    image_config::reference(&name)?;
    let place = archive(&cx, &node, &args).await?;
    store.load(&cx, &place, &name).await?;
    Ok(Value::Null.into())
}

/// Whether a relative path leaves the directory it starts in.
fn leaves(path: &str) -> bool {
    if path.starts_with('/') {
        return false;
    }
    let mut depth = 0_i64;
    path.split('/').any(|part| {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave() {
        assert!(["../x", "..", "a/../../b", "./.."].iter().all(|path| leaves(path)));
        assert!(!["x", "a/../b", "/../x", "./a", "a/b/../../c"].iter().any(|path| leaves(path)));
    }
}
