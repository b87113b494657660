//! `ModuleSource`, and the fields that give one.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::{AbsPath, Directory, Value};
use rondel_module_model::config::module_config::GeneratedClient;
use rondel_module_model::source::git_origin::GitOrigin;
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::inside_context;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use super::definition::optional;
use super::objects::{introspection, module_object, sdk_value, source_object};
use crate::load::codegen::generated;
use crate::load::modules::Modules;
use crate::source::resolve_options::ResolveOptions;

pub(super) fn register(surface: &mut Surface, modules: &Arc<Modules>) {
    let with = |modules: &Arc<Modules>| modules.clone();
    let it = with(modules);
    surface.field("Query", "moduleSource", move |cx, _, args| {
        let modules = it.clone();
        async move { module_source(&modules, &cx, &args).await }
    });
    let it = with(modules);
    surface.field("ModuleSource", "asModule", move |cx: ResolverContext, node, _| {
        let modules = it.clone();
        async move { as_module(&modules, &cx, Arc::new(of(&node)?.clone())).await }
    });
    let it = with(modules);
    surface.field("Directory", "asModuleSource", move |cx: ResolverContext, node, args| {
        let modules = it.clone();
        async move { in_directory(&modules, &cx, &node, &args).await.map(|source| source_object(&source)) }
    });
    let it = with(modules);
    surface.field("Directory", "asModule", move |cx: ResolverContext, node, args| {
        let modules = it.clone();
        async move {
            let source = in_directory(&modules, &cx, &node, &args).await?;
            as_module(&modules, &cx, source).await
        }
    });
    let it = with(modules);
    surface.field("ModuleSource", "generatedContextDirectory", move |cx: ResolverContext, node, _| {
        let modules = it.clone();
        async move { generated(&cx, &modules, &Arc::new(of(&node)?.clone())).await }
    });
    let it = with(modules);
    surface.field("ModuleSource", "introspectionSchemaJSON", move |cx: ResolverContext, node, _| {
        let modules = it.clone();
        async move { introspection_of(&modules, &cx, of(&node)?).await }
    });
    names(surface);
    places(surface);
}

fn of(node: &Node) -> Result<&ModuleSource> {
    node.get::<ModuleSource>()
}

async fn module_source(modules: &Arc<Modules>, cx: &ResolverContext, args: &Args) -> Result<Outcome> {
    let (reference, pin) = (args.str("refString")?, args.opt_str("refPin")?.unwrap_or_default());
    let (exact, allow_missing) = (args.bool("disableFindUp")?, args.bool("allowNotExists")?);
    let lookup = ResolveOptions { pin: &pin, exact, allow_missing, unconfigured: true, egress: None };
    let source = modules.sources.resolve(&cx.caller, &reference, lookup).await?;
    match args.opt_str("requireKind")? {
        Some(kind) if *kind != *source.kind.member() => {
            let got = source.kind.member();
            Err(Fault::user(format!("module source \"{reference}\" must be of kind {kind}, and is of kind {got}")))
        }
        _ => Ok(source_object(&source)),
    }
}

async fn as_module(modules: &Arc<Modules>, cx: &ResolverContext, source: Arc<ModuleSource>) -> Result<Outcome> {
    let module = modules.load(Some(&cx.evaluator), &cx.caller, &source).await?;
    Ok(module_object(&module))
}

async fn in_directory(
    modules: &Arc<Modules>,
    cx: &ResolverContext,
    node: &Node,
    args: &Args,
) -> Result<Arc<ModuleSource>> {
    let path = args.opt_str("sourceRootPath")?.unwrap_or_default();
    let root = inside_context("", &path)
        .ok_or_else(|| Fault::user(format!("source root path \"{path}\" is outside of the directory")))?;
    modules.sources.in_directory(&cx.caller, node.get::<Directory>()?, root).await
}

/// A field of sources in git repositories: its name, and its value for a repository and the folder
/// in it.
type OfGit = (&'static str, fn(&GitOrigin, &str) -> String);

fn names(surface: &mut Surface) {
    surface.plain("ModuleSource", "asString", |it: &ModuleSource, _| Ok(Value::string(as_string(it))));
    surface.plain("ModuleSource", "moduleName", |it: &ModuleSource, _| Ok(Value::string(it.name())));
    surface.plain("ModuleSource", "moduleOriginalName", |it: &ModuleSource, _| Ok(Value::string(&*it.config.name)));
    surface.plain("ModuleSource", "engineVersion", |it: &ModuleSource, _| {
        let given = &it.config.engine_version;
        let view = rondel_version::of_module(given).map(|view| view.to_string());
        Ok(Value::string(view.unwrap_or_else(|_| given.clone())))
    });
    surface.plain("ModuleSource", "digest", |it: &ModuleSource, _| Ok(Value::string(it.digest().to_string())));
    surface.plain("ModuleSource", "kind", |it: &ModuleSource, _| Ok(Value::member(it.kind.member())));
    surface.plain("ModuleSource", "configExists", |it: &ModuleSource, _| Ok(Value::Bool(it.config_exists())));
    surface.plain("ModuleSource", "sdk", |it: &ModuleSource, _| Ok(sdk_value(it.config.sdk.as_ref())));
    let of_git: [OfGit; 7] = [
        ("pin", |git, _| git.commit.clone()),
        ("commit", |git, _| git.commit.clone()),
        ("version", |git, _| git.version.clone()),
        ("cloneRef", |git, _| git.clone_address().to_owned()),
        ("cloneURL", |git, _| git.clone_address().to_owned()),
        ("htmlRepoURL", |git, _| git.html_repository()),
        ("htmlURL", |git, root| git.html(root)),
    ];
    for (field, read) in of_git {
        surface.plain("ModuleSource", field, move |it: &ModuleSource, _| {
            Ok(Value::string(it.git.as_ref().map(|git| read(git, &it.root)).unwrap_or_default()))
        });
    }
    surface.plain("ModuleSource", "configClients", |it: &ModuleSource, _| {
        Ok(Value::List(
            it.config.clients.iter().map(|client| Value::object("ModuleConfigClient", client.clone())).collect(),
        ))
    });
    surface.plain("ModuleConfigClient", "generator", |it: &GeneratedClient, _| Ok(Value::string(&*it.generator)));
    surface.plain("ModuleConfigClient", "directory", |it: &GeneratedClient, _| Ok(Value::string(&*it.directory)));
    surface.plain("ModuleSource", "toolchains", |_: &ModuleSource, _| Ok(Value::List(Arc::new([]))));
    surface.plain("ModuleSource", "dependencies", |it: &ModuleSource, _| {
        Ok(Value::List(it.found().map(|dependency| source_object(dependency).value).collect()))
    });
    surface.field("ModuleSource", "sync", rondel_surface::surface::id);
}

fn as_string(source: &ModuleSource) -> String {
    match source.host.as_str() {
        "" => source.git.as_ref().map_or_else(|| source.root.clone(), |git| git.reference(&source.root)),
        host => AbsPath::new(host).join_inside(&source.root).to_string(),
    }
}

/// A path of the source root for display: `.` for the context directory itself.
fn shown(path: &str) -> Value {
    Value::string(if path.is_empty() { "." } else { path })
}

fn places(surface: &mut Surface) {
    surface
        .plain("ModuleSource", "contextDirectory", |it: &ModuleSource, _| Ok(Value::object("Directory", it.context())));
    surface.plain("ModuleSource", "sourceRootSubpath", |it: &ModuleSource, _| Ok(shown(&it.root)));
    surface.plain("ModuleSource", "originalSubpath", |it: &ModuleSource, _| Ok(shown(&it.root)));
    surface.plain("ModuleSource", "repoRootPath", |it: &ModuleSource, _| {
        Ok(Value::string(it.git.as_ref().map_or_else(|| it.host.clone(), |git| git.repository())))
    });
    surface.plain("ModuleSource", "sourceSubpath", |it: &ModuleSource, _| {
        let path = inside_context(&it.root, it.config.source_subpath()).unwrap_or_default();
        Ok(if it.config.has_functions() { shown(&path) } else { Value::string("") })
    });
    surface.plain("ModuleSource", "localContextDirectoryPath", |it: &ModuleSource, _| match it.host.as_str() {
        "" => Err(Fault::user("the module source is not on a host: it has no local context directory")),
        host => Ok(Value::string(host)),
    });
    surface.plain("ModuleSource", "directory", |it: &ModuleSource, args| {
        let asked = args.str("path")?;
        let outside = || Fault::user(format!("path \"{asked}\" is outside of context directory"));
        let from = if asked.starts_with('/') { "" } else { &it.root };
        let inside = inside_context(from, &asked).ok_or_else(outside)?;
        match &it.git {
            Some(git) => Ok(crate::content::directory_value(&git.whole, AbsPath::new(&inside))),
            None => Ok(crate::content::directory_value(&it.snapshot, it.base.join_inside(&inside))),
        }
    });
    surface.plain("ModuleSource", "blueprint", |_: &ModuleSource, _| Ok(optional(None)));
}

async fn introspection_of(modules: &Arc<Modules>, cx: &ResolverContext, source: &ModuleSource) -> Result<Outcome> {
    // The schema that the module will see when it is loaded. Dependencies that cannot be loaded are
    // left out.
    let (dependencies, _) = modules.dependencies(Some(&cx.evaluator), &cx.caller, source).await?;
    introspection(cx, source.view()?, &dependencies).await
}
