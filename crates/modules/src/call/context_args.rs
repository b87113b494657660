//! Default arguments that come from the context of a module: paths in its context directory, git
//! repositories, images.
//!
//! They are resolved before a call gets its identity, so that calls are keyed by content.

use std::sync::Arc;

use rondel_call::{EGRESS_SEAL, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::git_address::Address;
use rondel_model::op::{Filter, TreePath};
use rondel_model::{AbsPath, Fs, FsOp};
use rondel_module_model::source::module_source::{ModuleSource, SourceKind};
use rondel_module_model::source::reference::inside_context;
use rondel_module_model::typedef::type_def::{FunctionArg, TypeDefKind};
use rondel_query::Node;
use rondel_session::client::ops_and_context;
use rondel_session::{ResolverContext, client};

use crate::content::snapshot_object;
use crate::module::function_target::FunctionTarget;
use crate::source::referrer::restricted_to_referrer;
use crate::source::reload_source::host_directory;

type Arguments = Vec<(Arc<str>, Literal)>;

/// Adds the default arguments that the caller did not give, and applies the ignore patterns to
/// directories that it gave.
///
/// # Errors
/// When a path is missing or leaves the context directory.
pub async fn complete(cx: &ResolverContext, target: &FunctionTarget, mut args: Arguments) -> Result<Arguments> {
    for arg in &target.function.args {
        let at = args.iter().position(|(name, _)| **name == *arg.name);
        let value = match at.map(|at| args[at].1.clone()) {
            Some(Literal::Call(call)) if !arg.ignore.is_empty() => {
                let node = cx.evaluator.load_as(&cx.caller, &call, Some("Directory")).await?;
                let patterns =
                    Literal::List(arg.ignore.iter().map(|pattern| Literal::String((**pattern).into())).collect());
                Some(cx.evaluator.internal(&cx.caller, &node, "filter", vec![("exclude".into(), patterns)]).await?)
            }
            Some(_) => None,
            None => from_context(cx, target, arg).await.map_err(|e| {
                e.context(format!("load the default of argument `{}` of {}", arg.original, target.describe()))
            })?,
        };
        let Some(call) = value.and_then(|node| node.call) else { continue };
        match at {
            Some(at) => args[at].1 = Literal::Call(call),
            None => args.push(((*arg.name).into(), Literal::Call(call))),
        }
    }
    // IDENTITY: arguments are in the order of the schema, independent of where each one came from.
    args.sort_by_key(|(name, _)| target.function.args.iter().position(|arg| *arg.name == **name));
    Ok(args)
}

async fn from_context(cx: &ResolverContext, target: &FunctionTarget, arg: &FunctionArg) -> Result<Option<Node>> {
    if let Some(address) = &arg.default_address {
        let cx = &restricted_to_referrer(cx, &target.module.source, address)?;
        let container = cx.evaluator.internal(&cx.caller, &Node::root(), "container", Vec::new()).await?;
        let address = Literal::String((**address).into());
        return cx
            .evaluator
            .internal(&cx.caller, &container, "from", vec![("address".into(), address)])
            .await
            .map(Some);
    }
    let (Some(path), TypeDefKind::Object(def)) = (&arg.default_path, &arg.type_def.kind) else { return Ok(None) };
    let source = &target.module.source;
    match &*def.name {
        "Directory" => directory(cx, source, path, &arg.ignore).await.map(Some),
        "File" => file(cx, source, path).await.map(Some),
        "GitRepository" => repository(cx, source, path).await.map(Some),
        "GitRef" => {
            let address = Address::parse(path);
            let repository = repository(cx, source, &address.url).await?;
            let (field, args) = match address.name {
                Some(name) => ("ref", vec![("name".into(), Literal::String(name.into()))]),
                None => ("head", Vec::new()),
            };
            cx.evaluator.internal(&cx.caller, &repository, field, args).await.map(Some)
        }
        other => Err(Fault::user(format!("a default path for `{other}` is not supported yet"))),
    }
}

/// `path` relative to the context directory. Absolute paths start there, others in the folder of
/// `dagger.json`.
fn in_context(source: &ModuleSource, path: &str) -> Result<String> {
    let from = if path.starts_with('/') { "" } else { &source.root };
    // Users match on this text; see docs/protocol.md#default-paths.
    let words = "is outside of context directory, path should be relative to the context directory";
    inside_context(from, path).ok_or_else(|| Fault::user(format!("path \"{path}\" {words}")))
}

async fn directory(cx: &ResolverContext, source: &ModuleSource, path: &str, ignore: &[String]) -> Result<Node> {
    let inside = in_context(source, path)?;
    let filter = Filter { exclude: ignore.to_vec(), ..Filter::default() };
    let (ops, op_cx) = ops_and_context(cx);
    let snapshot = match source.kind {
        SourceKind::Local => {
            let directory = host_directory(client(&cx.caller), source)?.join(&inside);
            ops.import_dir(&op_cx, &directory, &filter).await?
        }
        SourceKind::Dir | SourceKind::Git => {
            let whole = source.whole_context().place;
            let place = TreePath { path: whole.path.join_inside(&inside), fs: whole.fs };
            ops.tree(&op_cx, &Fs::new(FsOp::Filter { source: place, filter: filter.into() })).await?
        }
    };
    snapshot_object(cx, "_snapshot", &snapshot, None).await
}

/// The git repository at `path`: the module's own, or one on a server.
async fn repository(cx: &ResolverContext, source: &ModuleSource, path: &str) -> Result<Node> {
    let text = |text: &str| Literal::String(text.into());
    if !matches!(path, "" | "." | "./" | "/" | ".git" | "./.git" | "/.git") {
        let cx = &restricted_to_referrer(cx, source, path)?;
        return cx.evaluator.internal(&cx.caller, &Node::root(), "git", vec![("url".into(), text(path))]).await;
    }
    if let Some(git) = &source.git {
        let args = [("url", &git.url), ("name", &git.name), ("commit", &git.commit)];
        let mut args: Arguments = args.map(|(name, value)| (name.into(), text(value))).into();
        if !git.seal.is_empty() {
            args.push((EGRESS_SEAL.into(), text(&git.seal)));
        }
        return cx.evaluator.internal(&cx.caller, &Node::root(), "_gitRepository", args).await;
    }
    let whole = match source.kind {
        SourceKind::Local => {
            let (ops, op_cx) = ops_and_context(cx);
            let snapshot =
                ops.import_dir(&op_cx, host_directory(client(&cx.caller), source)?, &Filter::default()).await?;
            snapshot_object(cx, "_snapshot", &snapshot, None).await?
        }
        _ => snapshot_object(cx, "_snapshot", &source.snapshot, None).await?,
    };
    cx.evaluator.internal(&cx.caller, &whole, "asGit", Vec::new()).await
}

async fn file(cx: &ResolverContext, source: &ModuleSource, path: &str) -> Result<Node> {
    let inside = AbsPath::new(&in_context(source, path)?);
    let name = inside.file_name().ok_or_else(|| Fault::user(format!("path \"{path}\" is a directory, not a file")))?;
    let (ops, op_cx) = ops_and_context(cx);
    if source.kind == SourceKind::Local {
        let snapshot = {
            let directory = host_directory(client(&cx.caller), source)?;
            ops.import_file(&op_cx, &directory.join(inside.relative())).await?
        };
        return snapshot_object(cx, "_snapshotFile", &snapshot, Some(name)).await;
    }
    let parent = inside.parent().unwrap_or_else(AbsPath::root);
    let directory = directory(cx, source, parent.as_str(), &[]).await?;
    let path = Literal::String(name.into());
    cx.evaluator.internal(&cx.caller, &directory, "file", vec![("path".into(), path)]).await
}
