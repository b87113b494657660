//! `CurrentModule`: the module that a process acts as, seen from its own code.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::op::Filter;
use rondel_model::{AbsPath, Value};
use rondel_module_model::loaded_module::Module;
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::inside_context;
use rondel_query::{Node, Outcome};
use rondel_session::client::ops_and_context;
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::Surface;
use rondel_surface::snapshot_object::imported_directory;

use super::objects::module_object;
use crate::content::snapshot_object;

/// The module that the client acts as.
struct Current(Arc<Module>);

pub(super) fn register(surface: &mut Surface) {
    surface.field("Query", "currentModule", |cx: ResolverContext, _, _| async move {
        current(&cx).map(|module| Value::object("CurrentModule", Current(module)).into())
    });
    // The module's code finds its main object by this name. The name that a dependent gives the
    // module does not matter here.
    surface.plain("CurrentModule", "name", |it: &Current, _| Ok(Value::string(&*it.0.source.config.name)));
    surface.field("CurrentModule", "source", |cx: ResolverContext, node, _| async move {
        let source = node.get::<Current>()?.0.source.clone();
        let inside = inside_context(&source.root, source.config.source_subpath()).unwrap_or_default();
        directory(&cx, &source, &source.base.join_inside(&inside)).await.map(Outcome::from)
    });
    surface.field("CurrentModule", "generatedContextDirectory", |cx: ResolverContext, node, _| async move {
        let source = node.get::<Current>()?.0.source.clone();
        directory(&cx, &source, &source.base).await.map(Outcome::from)
    });
    surface.plain("CurrentModule", "dependencies", |it: &Current, _| {
        Ok(Value::List(it.0.dependencies.iter().map(|module| module_object(module).value).collect()))
    });
    surface.field("CurrentModule", "workdir", |cx: ResolverContext, _, args| async move { workdir(&cx, &args).await });
    surface.field("CurrentModule", "workdirFile", |cx: ResolverContext, _, args| async move {
        workdir_file(&cx, &args).await.map(Outcome::from)
    });
}

fn current(cx: &ResolverContext) -> Result<Arc<Module>> {
    let scope = client(&cx.caller).scope.as_ref();
    let module = scope.and_then(|scope| scope.acting_module.as_ref()).map(|acting_module| acting_module.module.clone());
    // Users match on this text; see docs/protocol.md#function-calls.
    module.ok_or_else(|| Fault::user("no current module: main client caller has no current module"))
}

// IDENTITY: by content, independent of the caller. What a module computes from its own files is
// cached across sessions.
async fn directory(cx: &ResolverContext, source: &ModuleSource, path: &AbsPath) -> Result<Node> {
    let all = snapshot_object(cx, "_snapshot", &source.snapshot, None).await?;
    let args = vec![("path".into(), Literal::String(path.as_str().into()))];
    cx.evaluator.internal(&cx.caller, &all, "directory", args).await
}

fn inside_workdir(args: &Args) -> Result<String> {
    let path = args.str("path")?;
    let outside = || Fault::user(format!("workdir path \"{path}\" escapes workdir"));
    if path.starts_with('/') { Err(outside()) } else { inside_context("", &path).ok_or_else(outside) }
}

async fn workdir(cx: &ResolverContext, args: &Args) -> Result<Outcome> {
    let path = client(&cx.caller).host_path(&inside_workdir(args)?);
    let filter = Filter {
        include: args.strings("include")?,
        exclude: args.strings("exclude")?,
        gitignore: args.bool("gitignore")?,
    };
    let (ops, op_cx) = ops_and_context(cx);
    Ok(imported_directory(ops.import_dir(&op_cx, &path, &filter).await?))
}

async fn workdir_file(cx: &ResolverContext, args: &Args) -> Result<Node> {
    let inside = inside_workdir(args)?;
    let name = inside.rsplit('/').next().unwrap_or_default().to_owned();
    let path = client(&cx.caller).host_path(&inside);
    let (ops, op_cx) = ops_and_context(cx);
    let snapshot = ops.import_file(&op_cx, &path).await?;
    snapshot_object(cx, "_snapshotFile", &snapshot, Some(&name)).await
}
