//! `CacheVolume`: a named volume that outlives containers.

use rondel_call::Literal;
use rondel_fault::Result;
use rondel_model::exec::Sharing;
use rondel_model::op::{Owner, TreePath};
use rondel_model::{Directory, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, Client, ResolverContext, client};

use crate::inputs;
use rondel_surface::Surface;
use rondel_surface::surface::{Arguments, Rewriting};

/// Separates the namespace from the key in the name of a volume.
const SEPARATOR: char = '\u{1f}';

/// A cache volume, and the defaults of its mounts.
#[derive(Debug, Clone)]
pub struct CacheVolume {
    /// The name, its namespace included.
    pub name: String,
    /// Its initial content.
    pub source: Option<TreePath>,
    /// How concurrent users share it.
    pub sharing: Sharing,
    /// The initial owner of its root.
    pub owner: Option<Owner>,
}

/// Puts the volumes of a client into its namespace. For [`Surface::prepare`] of `cacheVolume`.
/// Volumes of a client without a namespace are the user's own. A volume that is passed on keeps its
/// name. A namespace in the arguments, which views before v0.18.11 have, holds for every client.
pub fn namespaced(
    namespace: impl Fn(&Client) -> Option<String> + Send + Sync + 'static,
) -> impl Fn(ResolverContext, Arguments) -> Rewriting + Send + Sync + 'static {
    move |cx, mut args| {
        let prefix = namespace(client(&cx.caller));
        Box::pin(async move {
            let Some(prefix) = prefix else { return Ok(args) };
            if args.iter().any(|(name, value)| &**name == "namespace" && is_text(value)) {
                return Ok(args);
            }
            for (name, value) in &mut args {
                if let (true, Literal::String(key)) = (&**name == "key", &*value) {
                    *value = inputs::string(&format!("{prefix}{SEPARATOR}{key}"));
                }
            }
            Ok(args)
        })
    }
}

/// The argument that records the namespace of a build. No view has it.
pub(crate) const BUILD_NAMESPACE: &str = "namespace";

/// Puts the cache mounts of Dockerfiles that a client builds into its namespace, as [`namespaced`]
/// does with volumes. For [`Surface::prepare`] of fields that build.
pub fn namespaced_build(
    namespace: impl Fn(&Client) -> Option<String> + Send + Sync + 'static,
) -> impl Fn(ResolverContext, Arguments) -> Rewriting + Send + Sync + 'static {
    move |cx, mut args| {
        let prefix = namespace(client(&cx.caller));
        Box::pin(async move {
            args.extend(prefix.map(|prefix| (BUILD_NAMESPACE.into(), inputs::string(&prefix))));
            Ok(args)
        })
    }
}

fn is_text(value: &Literal) -> bool {
    matches!(value, Literal::String(text) if !text.is_empty())
}

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "cacheVolume", cache_volume);
}

async fn cache_volume(_: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let source = args.opt_object("source").await?;
    let source = source.map(|node| node.get::<Directory>().map(|directory| directory.place.clone())).transpose()?;
    let key = args.str("key")?;
    let namespace = args.opt_str("namespace")?.filter(|text| !text.is_empty());
    // The leading separator keeps it apart from the namespaces of modules.
    let name = namespace.map(|namespace| format!("{SEPARATOR}{namespace}{SEPARATOR}{key}"));
    let volume = CacheVolume {
        name: name.unwrap_or_else(|| key.to_string()),
        source,
        sharing: inputs::sharing(&args)?.unwrap_or(Sharing::Shared),
        owner: inputs::owner(&args)?,
    };
    Ok(Value::object("CacheVolume", volume).into())
}
