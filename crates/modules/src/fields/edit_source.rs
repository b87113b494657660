//! `ModuleSource.with…`: sources with a changed configuration.

use std::collections::HashMap;
use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_module_model::source::git_origin::split_version;
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::{ReferenceKind, classify};
use rondel_query::{Node, Outcome};
use rondel_session::client::ops_and_context;
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::Surface;
use rondel_version::ENGINE;

use super::objects::source_object;
use crate::load::modules::Modules;
use crate::source::referrer::Referrer;
use crate::source::resolve_options::ResolveOptions;
use crate::source::resolve_source::SourceRequest;

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
    surface.field("ModuleSource", "withEngineVersion", |cx: ResolverContext, node: Node, args: Args| async move {
        let changed = with_version(&cx, node.get::<ModuleSource>()?, &args.str("version")?).await?;
        Ok(source_object(&Arc::new(changed)))
    });
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
async fn with_version(cx: &ResolverContext, source: &ModuleSource, version: &str) -> Result<ModuleSource> {
    let version = match version {
        "latest" => ENGINE,
        version => rondel_version::of_module(version).map_err(|e| Fault::user(e.to_string()))?,
    };
    let (ops, op_cx) = ops_and_context(cx);
    let was_read = source.config_exists() && ops.stat(&op_cx, &source.configuration_file(), true).await?.is_some();
    source.with_engine_version(version, was_read)
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
    let mut wanted: HashMap<usize, Option<&str>> = HashMap::new();
    for name in names {
        let found = source.find_dependency(name);
        let (at, version) = found.ok_or_else(|| source.no_dependency(name, "updated"))?;
        if is_local(source, at) {
            // Users match on this text; see docs/protocol.md#changing-dependencies.
            return Err(Fault::user("updating local dependencies is not supported")
                .with_hint(format!("`{name}` is read from its folder each time it is used")));
        }
        wanted.insert(at, version);
    }
    let mut updated = source.clone();
    for (at, (config, found)) in source.config.dependencies.iter().zip(&source.dependencies).enumerate() {
        if is_local(source, at) || !(names.is_empty() || wanted.contains_key(&at)) {
            continue;
        }
        let reference = match wanted.get(&at).copied().flatten() {
            Some(version) => format!("{}@{version}", split_version(&config.source).0),
            None => config.source.clone(),
        };
        let egress = Some(Referrer::of_module(client(&cx.caller), source).egress(&reference));
        let options = ResolveOptions { egress, ..ResolveOptions::default() };
        let request = SourceRequest::of(String::new());
        let newer = modules.sources.in_repository(&cx.caller, &reference, options, request).await;
        let doing = || format!("update the dependency `{}`", found.name());
        let mut newer = newer.map_err(|e| e.context(doing()).fault())?.as_ref().clone();
        // Keeps the name that the dependent gives it. An unresolved dependency has no name of its
        // own.
        let own = found.found().map(|source| source.name().to_owned());
        newer.renamed = own.or_else(|| Some(config.name.clone()).filter(|name| !name.is_empty()));
        updated = updated.with_dependencies(&[newer])?;
    }
    Ok(updated)
}

/// Whether the dependency at an index is a folder beside the module.
fn is_local(source: &ModuleSource, at: usize) -> bool {
    let config = &source.config.dependencies[at];
    match classify(&config.source, &config.pin) {
        ReferenceKind::Local => true,
        ReferenceKind::Git => false,
        ReferenceKind::Either => source.dependencies[at].found().is_some_and(|found| found.kind == source.kind),
    }
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
