//! `ModuleSource.with…`: sources with a changed configuration.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::{ReferenceKind, classify};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::Surface;
use rondel_version::ENGINE;

use super::objects::source_object;
use crate::load::modules::Modules;
use crate::source::referrer::Referrer;
use crate::source::resolve_options::ResolveOptions;

pub(super) fn register(surface: &mut Surface, modules: &Arc<Modules>) {
    pure(surface);
    loading(surface, modules);
}

/// Registers the changes that need nothing but the configuration.
fn pure(surface: &mut Surface) {
    let mut change = |field: &str, change: fn(&ModuleSource, &Args) -> Result<ModuleSource>| {
        surface.field("ModuleSource", field, move |_, node: Node, args: Args| {
            let changed = node.get::<ModuleSource>().and_then(|source| change(source, &args));
            std::future::ready(changed.map(|source| source_object(&Arc::new(source))))
        });
    };
    change("withName", |it, args| it.with_name(&args.str("name")?));
    change("withEngineVersion", |it, args| with_version(it, &args.str("version")?));
    change("withoutDependencies", |it, args| it.without_dependencies(&args.strings("dependencies")?));
    change("withClient", |it, args| it.with_client(&args.str("generator")?, &args.str("outputDir")?));
    change("withoutClient", |it, args| it.without_client(&args.str("path")?));
    change("withExperimentalFeatures", |it, args| it.with_features(&features(args)?, true));
    change("withoutExperimentalFeatures", |it, args| it.with_features(&features(args)?, false));
    surface.field("ModuleSource", "withDependencies", |_, node: Node, args: Args| async move {
        let mut added = Vec::new();
        for dependency in args.objects("dependencies").await? {
            added.push(dependency.get::<ModuleSource>()?.clone());
        }
        Ok(source_object(&Arc::new(node.get::<ModuleSource>()?.with_dependencies(&added)?)))
    });
}

/// Registers the changes that alter which files belong to the source.
fn loading(surface: &mut Surface, modules: &Arc<Modules>) {
    let mut change = |field: &str, change: fn(&ModuleSource, &Args) -> Result<ModuleSource>| {
        let modules = modules.clone();
        surface.field("ModuleSource", field, move |cx: ResolverContext, node: Node, args: Args| {
            let modules = modules.clone();
            async move {
                let changed = change(node.get::<ModuleSource>()?, &args)?;
                Ok(source_object(&Arc::new(with_files(&modules, &cx, changed).await?)))
            }
        });
    };
    change("withSourceSubpath", |it, args| it.with_source(&args.str("path")?));
    change("withIncludes", |it, args| it.with_includes(&args.strings("patterns")?));
    change("withSDK", |it, args| it.with_sdk(&args.str("source")?));
    let modules = modules.clone();
    surface.field("ModuleSource", "withUpdateDependencies", move |cx: ResolverContext, node: Node, args: Args| {
        let modules = modules.clone();
        async move {
            let source = node.get::<ModuleSource>()?;
            let updated = with_updates(&modules, &cx, source, &args.strings("dependencies")?).await?;
            Ok(source_object(&Arc::new(updated)))
        }
    });
    surface.field("ModuleSource", "generatedContextChangeset", |cx: ResolverContext, node: Node, _| async move {
        changeset(&cx, &node).await
    });
}

async fn with_files(modules: &Modules, cx: &ResolverContext, source: ModuleSource) -> Result<ModuleSource> {
    let mut source = modules.sources.reloaded(&cx.caller, &source, &[]).await?;
    let sdk = source.config.sdk.as_ref().filter(|sdk| !rondel_sdk::is_builtin(&sdk.source));
    if let (Some(sdk), None) = (sdk, &source.sdk) {
        source.sdk = Some(modules.sources.tool(&cx.caller, &source, &sdk.source).await?);
    }
    Ok(source)
}

/// Sets the engine version. `latest` becomes the version of this engine.
fn with_version(source: &ModuleSource, version: &str) -> Result<ModuleSource> {
    let version = match version {
        "latest" => ENGINE.to_string(),
        version => rondel_version::of_module(version).map_err(|e| Fault::user(e.to_string()))?.to_string(),
    };
    source.with_config_edit(|config| {
        config.insert("engineVersion".into(), version.into());
        Ok(())
    })
}

fn features(args: &Args) -> Result<Vec<String>> {
    let Literal::List(items) = args.literal("features") else { return Ok(Vec::new()) };
    let name = |item: &Literal| match item {
        Literal::Enum(name) => Ok(name.to_string()),
        _ => Err(Fault::bug("a feature is no member of an enum")),
    };
    items.iter().map(name).collect()
}

/// Updates the dependencies `names`, or all when `names` is empty. A dependency on the host is
/// always current.
async fn with_updates(
    modules: &Modules,
    cx: &ResolverContext,
    source: &ModuleSource,
    names: &[String],
) -> Result<ModuleSource> {
    let listed = || source.config.dependencies.iter().zip(&source.dependencies);
    let mut updated = source.clone();
    for name in names {
        let (wanted, _) = name.split_once('@').unwrap_or((name, ""));
        let known = listed().find(|(config, found)| {
            found.name() == wanted || config.source == *name || config.source.split('@').next() == Some(wanted)
        });
        match known {
            None => return Err(source.no_dependency(name, "updated")),
            Some((config, _)) if classify(&config.source, &config.pin) == ReferenceKind::Local => {
                // Users match on this text; see docs/protocol.md#changing-dependencies.
                return Err(Fault::user("updating local dependencies is not supported")
                    .with_hint(format!("`{name}` is read from its folder each time it is used")));
            }
            Some(_) => {}
        }
    }
    for (config, found) in listed() {
        if classify(&config.source, &config.pin) == ReferenceKind::Local {
            continue;
        }
        let place = config.source.split('@').next().unwrap_or_default();
        let asked = names.iter().find(|name| {
            let wanted = name.split('@').next();
            wanted == Some(found.name()) || wanted == Some(place)
        });
        let reference = match asked {
            None if !names.is_empty() => continue,
            Some(name) if name.contains('@') => format!("{place}@{}", name.rsplit('@').next().unwrap_or_default()),
            _ => config.source.clone(),
        };
        let egress = Some(Referrer::of_module(client(&cx.caller), source).egress(&reference));
        let lookup = ResolveOptions { egress, ..ResolveOptions::default() };
        let mut newer = modules.sources.resolve(&cx.caller, &reference, lookup).await?.as_ref().clone();
        // Keeps the name that the dependent gives it. An unresolved dependency has no name of its
        // own.
        let own = found.found().map(|source| source.name().to_owned());
        newer.renamed = own.or_else(|| Some(config.name.clone()).filter(|name| !name.is_empty()));
        updated = updated.without_dependencies(&[found.name().to_owned()])?.with_dependencies(&[newer])?;
    }
    Ok(updated)
}

/// What code generation changes in the context directory.
async fn changeset(cx: &ResolverContext, node: &Node) -> Result<Outcome> {
    let step = |receiver: Node, field: &'static str, args: Vec<(Arc<str>, Literal)>| async move {
        cx.evaluator.internal(&cx.caller, &receiver, field, args).await
    };
    let generated = step(node.clone(), "generatedContextDirectory", Vec::new()).await?;
    let context = step(node.clone(), "contextDirectory", Vec::new()).await?;
    let context = context.call.ok_or_else(|| Fault::bug("a directory has no call"))?;
    Ok(step(generated, "changes", vec![("from".into(), Literal::Call(context))]).await?.into())
}
