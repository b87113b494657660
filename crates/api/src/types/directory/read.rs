//! Entries of a directory: lists, stat, search, export.

use rondel_fault::Result;
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Directory, File, Value};
use rondel_ops::{Entry, EntryKind};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};
use rondel_version::View;

use super::value::{TYPE, of, value};
use crate::types::{plain_objects, search};
use crate::{host_path, inspect};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// From this view on, names of directories end with a slash.
const SLASHES: View = View::new(0, 17, 0);

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "entries", entries);
    surface.field(TYPE, "glob", glob);
    surface.field(TYPE, "name", name);
    surface.field(TYPE, "digest", digest);
    surface.field(TYPE, "directory", directory);
    surface.field(TYPE, "file", file);
    surface.field(TYPE, "exists", exists);
    surface.field(TYPE, "stat", stat);
    surface.field(TYPE, "findUp", find_up);
    surface.field(TYPE, "search", |cx, node, args| async move {
        let place = &of(&node)?.place;
        Ok(search::run(&cx, place, &args, false).await?.into())
    });
    surface.field(TYPE, "sync", sync);
    surface.field(TYPE, "export", export);
}

/// The location of `path` within `directory`.
fn place(directory: &Directory, path: &str) -> TreePath {
    TreePath { fs: directory.place.fs.clone(), path: directory.place.path.join_inside(path) }
}

/// The location of `path` for fields in which `..` leads above `directory`, up to the root of the
/// tree, as in Dagger.
fn place_or_above(directory: &Directory, path: &str) -> TreePath {
    let path = directory.place.path.join(path.trim_start_matches('/'));
    TreePath { fs: directory.place.fs.clone(), path }
}

fn names(entries: Vec<Entry>, view: View) -> Value {
    let name = |entry: Entry| match entry.kind {
        EntryKind::Directory if view >= SLASHES && !entry.name.ends_with('/') => format!("{}/", entry.name),
        _ => entry.name,
    };
    Value::strings(entries.into_iter().map(name))
}

async fn entries(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let asked = args.opt_str("path")?.unwrap_or_default();
    let place = place_or_above(of(&node)?, &asked);
    if !asked.is_empty() {
        inspect::require_directory(&cx, &place, &asked).await?;
    }
    let (ops, op_cx) = ops_and_context(&cx);
    Ok(names(ops.entries(&op_cx, &place).await?, cx.view).into())
}

async fn glob(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let directory = of(&node)?;
    let (ops, op_cx) = ops_and_context(&cx);
    Ok(names(ops.glob(&op_cx, &directory.place, &args.str("pattern")?).await?, cx.view).into())
}

async fn name(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let name = of(&node)?.place.path.file_name();
    Ok(Value::string(match name {
        None => "/".to_owned(),
        Some(name) if cx.view >= SLASHES => format!("{name}/"),
        Some(name) => name.to_owned(),
    })
    .into())
}

async fn digest(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    Ok(Value::string(ops.digest(&op_cx, &of(&node)?.place, false).await?).into())
}

async fn directory(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (parent, asked) = (of(&node)?, args.str("path")?);
    let place = place_or_above(parent, &asked);
    inspect::require_directory(&cx, &place, &asked).await?;
    Ok(value(Directory { place, platform: parent.platform.clone(), error: None }).into())
}

async fn file(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (parent, asked) = (of(&node)?, args.str("path")?);
    let place = place_or_above(parent, &asked);
    inspect::require_file(&cx, &place, &asked).await?;
    let file = File { place, platform: parent.platform.clone(), name: None, asked: Some(asked.to_string()) };
    Ok(Value::object("File", file).into())
}

async fn exists(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let asked = args.str("path")?;
    if asked.is_empty() {
        return Ok(Value::Bool(false).into());
    }
    let place = place(of(&node)?, &asked);
    Ok(Value::Bool(inspect::exists(&cx, &place, &args).await?).into())
}

async fn stat(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let asked = args.str("path")?;
    if asked.is_empty() {
        // As in `stat(2)`, the empty path is not the directory itself.
        return Err(inspect::missing("stat"));
    }
    let place = place(of(&node)?, &asked);
    let found = inspect::stat(&cx, &place, &asked, !args.bool("doNotFollowSymlinks")?).await?;
    Ok(plain_objects::stat(&asked, found).into())
}

/// Searches `start`, then each directory above it up to the receiver. The result is relative to the
/// receiver.
async fn find_up(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let directory = of(&node)?;
    let (name, start) = (args.str("name")?, args.str("start")?);
    let (ops, op_cx) = ops_and_context(&cx);
    let mut at = Some(AbsPath::new(&start));
    while let Some(folder) = at {
        let found = folder.join_inside(&name);
        if ops.stat(&op_cx, &place(directory, found.as_str()), false).await?.is_some() {
            return Ok(Value::string(found.relative()).into());
        }
        at = folder.parent();
    }
    Ok(Value::Null.into())
}

async fn sync(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let directory = of(&node)?;
    let (ops, op_cx) = ops_and_context(&cx);
    ops.tree(&op_cx, &directory.place.fs).await?;
    if !directory.place.path.is_root() {
        inspect::require_directory(&cx, &directory.place, directory.place.path.relative()).await?;
    }
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

async fn export(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let directory = of(&node)?;
    let to = host_path::resolve(client(&cx.caller), &args.str("path")?).await?;
    let (ops, op_cx) = ops_and_context(&cx);
    ops.export_dir(&op_cx, &directory.place, &to.real, args.bool("wipe")?).await?;
    Ok(host_path::outcome(&args, &to))
}
