//! `Changeset` and `DiffStat`: the differences between two directories.

use rondel_fault::{Fault, Result};
use rondel_model::changes::{ChangesOp, OnConflict, PATCH_NAME};
use rondel_model::op::{Filter, TreePath};
use rondel_model::{AbsPath, Changeset, Directory, File, Fs, FsOp, Platform, Value};
use rondel_ops::{Change, ChangeKind};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};

use super::directory;
use crate::edit::CopySource;
use crate::host_path;
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "Changeset";

/// A changeset as a value of the API.
pub fn value(changes: Changeset) -> Value {
    Value::object(TYPE, changes)
}

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "changeset", |_, _, _| {
        let nothing = Directory::root(Fs::scratch(), Platform::native());
        std::future::ready(Ok(value(Changeset { before: nothing.clone(), after: nothing }).into()))
    });
    surface.plain(TYPE, "before", |changes: &Changeset, _| Ok(directory::value(changes.before.clone())));
    surface.plain(TYPE, "after", |changes: &Changeset, _| Ok(directory::value(changes.after.clone())));
    surface.plain(TYPE, "layer", |changes: &Changeset, _| Ok(directory::value(layer(changes))));
    surface.plain(TYPE, "asPatch", |changes: &Changeset, _| {
        let changes = raised(changes)?;
        let fs = Fs::new(FsOp::Changes(Box::new(ChangesOp::Write { changes: changes.pair() })));
        let place = TreePath { fs, path: AbsPath::new(PATCH_NAME) };
        let file = File { place, platform: changes.after.platform.clone(), name: None, asked: None };
        Ok(Value::object("File", file))
    });
    surface.field(TYPE, "addedPaths", |cx, node, _| paths(cx, node, ChangeKind::Added));
    surface.field(TYPE, "modifiedPaths", |cx, node, _| paths(cx, node, ChangeKind::Modified));
    surface.field(TYPE, "removedPaths", |cx, node, _| paths(cx, node, ChangeKind::Removed));
    surface.field(TYPE, "isEmpty", is_empty);
    surface.field(TYPE, "diffStats", diff_stats);
    surface.field(TYPE, "sync", sync);
    surface.field(TYPE, "export", export);
    surface.field(TYPE, "withChangeset", with_changeset);
    surface.field(TYPE, "withChangesets", with_changesets);
    surface.plain("DiffStat", "path", |it: &Change, _| Ok(Value::string(&*it.path)));
    surface
        .plain("DiffStat", "oldPath", |it: &Change, _| Ok(it.old_path.as_deref().map_or(Value::Null, Value::string)));
    surface.plain("DiffStat", "kind", |it: &Change, _| {
        Ok(Value::member(match it.kind {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Removed => "REMOVED",
            ChangeKind::Renamed => "RENAMED",
        }))
    });
    surface.plain("DiffStat", "addedLines", |it: &Change, _| Ok(count(it.added_lines)));
    surface.plain("DiffStat", "removedLines", |it: &Change, _| Ok(count(it.removed_lines)));
}

fn count(lines: usize) -> Value {
    Value::Int(i64::try_from(lines).unwrap_or(i64::MAX))
}

/// The changes, or the error of one of the directories.
fn raised(changes: &Changeset) -> Result<&Changeset> {
    match changes.before.error.as_ref().or(changes.after.error.as_ref()) {
        Some(error) => Err(Fault::user(&**error)),
        None => Ok(changes),
    }
}

fn of(node: &Node) -> Result<&Changeset> {
    raised(node.get::<Changeset>()?)
}

/// The added and modified entries as a directory.
fn layer(changes: &Changeset) -> Directory {
    let pair = changes.pair();
    let fs = Fs::new(FsOp::Diff { lower: pair.before, upper: pair.after });
    let error = changes.before.error.clone().or_else(|| changes.after.error.clone());
    Directory { error, ..Directory::root(fs, changes.after.platform.clone()) }
}

/// `directory` with the changes applied.
pub(crate) fn applied(directory: &Directory, changes: &Changeset) -> Result<Directory> {
    let op = ChangesOp::Apply { base: directory.place.clone(), changes: raised(changes)?.pair() };
    let mut directory = directory.clone();
    directory.place.fs = Fs::new(FsOp::Changes(Box::new(op)));
    Ok(directory)
}

/// `directory` with the patch file at `patch` applied.
pub(crate) fn patched(directory: &Directory, patch: TreePath) -> Directory {
    let op = ChangesOp::Patch { base: directory.place.clone(), patch };
    let mut directory = directory.clone();
    directory.place.fs = Fs::new(FsOp::Changes(Box::new(op)));
    directory
}

async fn paths(cx: ResolverContext, node: Node, kind: ChangeKind) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    let changes = ops.changes(&op_cx, &of(&node)?.pair()).await?;
    let mut names: Vec<String> = Vec::new();
    for change in changes.into_iter().filter(|change| change.kind == kind) {
        // A removed directory is listed without its entries.
        let inside = |dir: &String| dir.ends_with('/') && change.path.starts_with(&**dir);
        if kind != ChangeKind::Removed || !names.last().is_some_and(inside) {
            names.push(change.path);
        }
    }
    Ok(Value::strings(names).into())
}

async fn is_empty(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    Ok(Value::Bool(ops.changes(&op_cx, &of(&node)?.pair()).await?.is_empty()).into())
}

async fn diff_stats(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    let stats = ops.diff_stats(&op_cx, &of(&node)?.pair()).await?;
    Ok(Value::List(stats.into_iter().map(|change| Value::object("DiffStat", change)).collect()).into())
}

async fn sync(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let changes = of(&node)?;
    let (ops, op_cx) = ops_and_context(&cx);
    ops.tree(&op_cx, &changes.before.place.fs).await?;
    ops.tree(&op_cx, &changes.after.place.fs).await?;
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

async fn export(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let changes = of(&node)?;
    let to = host_path::resolve(client(&cx.caller), &args.str("path")?).await?;
    let (ops, op_cx) = ops_and_context(&cx);
    ops.export_changes(&op_cx, &changes.pair(), &to.real).await?;
    Ok(host_path::outcome(&args, &to))
}

async fn with_changeset(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let theirs = args.object("changes").await?;
    Ok(value(merged(of(&node)?, raised(theirs.get()?)?, on_conflict(&args)?)).into())
}

async fn with_changesets(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let on_conflict = on_conflict(&args)?;
    let mut changes = of(&node)?.clone();
    for theirs in args.objects("changes").await? {
        changes = merged(&changes, raised(theirs.get()?)?, on_conflict);
    }
    Ok(value(changes).into())
}

fn on_conflict(args: &Args) -> Result<OnConflict> {
    Ok(match args.opt_str("onConflict")?.as_deref() {
        Some("FAIL_EARLY") => OnConflict::FailEarly,
        Some("LEAVE_CONFLICT_MARKERS") => OnConflict::Mark,
        Some("PREFER_OURS") => OnConflict::Ours,
        Some("PREFER_THEIRS") => OnConflict::Theirs,
        _ => OnConflict::Fail,
    })
}

fn merged(ours: &Changeset, theirs: &Changeset, on_conflict: OnConflict) -> Changeset {
    let mut before = ours.before.clone();
    if before.place != theirs.before.place {
        let mut copied = CopySource::directory(&theirs.before);
        copied.filter = Filter::default();
        before.place.fs = copied.into_tree(before.place.fs, before.place.path.clone(), true);
    }
    let op = ChangesOp::Merge { base: before.place.clone(), ours: ours.pair(), theirs: theirs.pair(), on_conflict };
    let mut after = before.clone();
    after.place.fs = Fs::new(FsOp::Changes(Box::new(op)));
    Changeset { before, after }
}
