//! Containers from images: `from`, `import`, `imageRef`, `Host.containerImage`.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, EGRESS_SEAL, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::image::ImageRef;
use rondel_model::op::{ImageOp, ImportOp, TreePath};
use rondel_model::{Container, EgressScope, File, Fs, Platform, Value};
use rondel_ops::{OpContext, RegistryImage};
use rondel_query::{Node, Outcome};
use rondel_session::client::ops_and_context;
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::{Surface, egress_seal};

use super::value::{TYPE, changed, of, value};
use crate::image_store::ImageStore;
use crate::types::directory;
use crate::{credentials, dockerfile, entitlement_seal, image_config, inputs};

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "from", from);
    surface.prepare(TYPE, "from", |cx, args| {
        Box::pin(std::future::ready(Ok(egress_seal::with_seal(&cx, args, "address"))))
    });
    surface.field(TYPE, "_from", pinned);
    surface.field(TYPE, "import", import);
    surface.field("Host", "containerImage", from_store);
    surface.field(TYPE, "build", build);
    surface.depends_on_client("Host", &["containerImage"]).depends_on_client(TYPE, &["build"]);
    entitlement_seal::guard_all(surface, TYPE, "build");
    surface.plain(TYPE, "imageRef", |container: &Container, _| match &container.image_ref {
        Some(reference) => Ok(Value::string(reference.to_string())),
        // Clients match on this text; see behaviour CTR-010.
        None => Err(Fault::user("Image reference can only be retrieved immediately after the 'Container.From' call")
            .with_hint("ask for `imageRef` before anything else is changed")),
    });
}

/// Resolves a tag, once per session (the field's cache scope). The result is the call `_from` with
/// the digest, which every session may reuse.
async fn from(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (container, pinned) = based_on(&cx, of(&node)?, &args).await?;
    let mut spec = CallSpec::new(TYPE, "_from").arg("address", inputs::string(&pinned.to_string()));
    if let service @ Literal::Call(_) = args.literal("registryService") {
        spec = spec.arg("registryService", service);
    }
    if let EgressScope::Anywhere = egress_seal::of(&args, &args.str("address")?) {
        let seal = egress_seal::seal(client(&cx.caller), &pinned.to_string());
        spec = spec.arg(EGRESS_SEAL, Literal::String(seal));
    }
    // IDENTITY: the digest identifies the image, whatever the tag and the client.
    let rebind = Some(Call::new(node.call.clone(), spec));
    Ok(Outcome { value: value(container), rebind })
}

async fn pinned(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    Ok(changed(based_on(&cx, of(&node)?, &args).await?.0))
}

/// `container` on the image of `args`, and the pinned reference of that image.
async fn based_on(cx: &ResolverContext, container: &Container, args: &Args) -> Result<(Container, ImageRef)> {
    let reference = image_config::reference(&args.str("address")?)?;
    let service = inputs::service(args, "registryService").await?;
    let egress = egress_seal::of(args, &args.str("address")?);
    let (ops, op_cx) = ops_and_context(cx);
    let op_cx = OpContext { egress, ..op_cx };
    let credentials = credentials::of(&op_cx, container, &reference).await?;
    let exact = container.platform != Platform::native();
    let wanted = RegistryImage { reference: &reference, credentials, service: service.as_ref() };
    let image = ops.resolve_image(&op_cx, &wanted, &container.platform, exact).await?;
    let merged = image_config::merged(&container.config, &image)?;
    let op = ImageOp { reference: image.reference.clone(), platform: image.platform.clone(), service, egress };
    let container = Container {
        rootfs: Fs::from(op),
        history: image_config::history(&image),
        platform: image.platform,
        image_ref: Some(image.reference.clone()),
        last_exec: None,
        ..image_config::configured(container, merged)
    };
    Ok((container, image.reference))
}

async fn import(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let source = source.get::<File>()?.place.clone();
    let tag = args.opt_str("tag")?.unwrap_or_else(|| Arc::from(""));
    Ok(changed(imported(&cx, of(&node)?, source, &tag).await?))
}

/// `container` on the image of `tag` in the archive at `source`.
async fn imported(cx: &ResolverContext, container: &Container, source: TreePath, tag: &str) -> Result<Container> {
    let (ops, op_cx) = ops_and_context(cx);
    let image = ops.read_image_archive(&op_cx, &source, tag, &container.platform).await?;
    let config = image_config::configuration(&image)?;
    let op = ImportOp { source, tag: tag.to_owned(), platform: image.platform.clone() };
    Ok(Container {
        rootfs: Fs::from(op),
        history: image_config::history(&image),
        platform: image.platform,
        image_ref: None,
        last_exec: None,
        ..image_config::configured(container, config)
    })
}

/// `Host.containerImage`: an image of the client's own store.
async fn from_store(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let place = ImageStore::of(&cx).await?.save(&cx, &args.str("name")?).await?;
    let container = imported(&cx, &Container::scratch(Platform::native()), place, "").await?;
    Ok(changed(container))
}

/// `build` of views before v0.19.0. Of the receiver only platform and credentials count.
async fn build(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let context = args.object("context").await?;
    let container = of(&node)?;
    let context = directory::of(&context)?;
    let built = dockerfile::build(&cx, context, container.platform.clone(), &container.registry_auth, &args).await?;
    Ok(changed(built))
}
