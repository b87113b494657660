//! `Workspace`: files of a module, as its entrypoint reads them.

use rondel_fault::{Fault, Result};
use rondel_model::op::{CopyOp, Filter, TreePath};
use rondel_model::{AbsPath, Fs, FsOp, Value};
use rondel_ops::EntryKind;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use crate::content::snapshot_object;
use crate::source::workspace::Workspace;
use rondel_session::client::ops_and_context;

pub(super) fn register(surface: &mut Surface) {
    surface.plain("Workspace", "path", |it: &Workspace, _| Ok(Value::string(it.path())));
    // The location of the files on a machine is not part of a workspace, so the root of the address
    // is the root of the workspace.
    surface.plain("Workspace", "address", |it: &Workspace, _| {
        Ok(Value::string(format!("file://{}", AbsPath::root().join_inside(it.path()))))
    });
    surface.field("Workspace", "directory", directory);
    surface.field("Workspace", "file", file);
    surface.field("Workspace", "findUp", find_up);
}

fn of(node: &Node) -> Result<&Workspace> {
    node.get::<Workspace>()
}

/// The place of `path` in the workspace, which must be of the kind `wanted`.
async fn place_of(cx: &ResolverContext, node: &Node, path: &str, wanted: EntryKind) -> Result<TreePath> {
    let workspace = of(node)?;
    let place = workspace.place(&workspace.resolve(path)?);
    let (ops, op_cx) = ops_and_context(cx);
    let cannot = |why: &str| Err(Fault::user(format!("cannot read \"{path}\" of the workspace: {why}")));
    match ops.stat(&op_cx, &place, true).await? {
        None => cannot("no such file or directory"),
        Some(stat) if stat.kind == wanted => Ok(place),
        Some(_) if wanted == EntryKind::Directory => cannot("it is no directory"),
        Some(_) => cannot("it is no file"),
    }
}

// IDENTITY: the result is known by its content, independent of the rest of the workspace.
async fn directory(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let place = place_of(&cx, &node, &args.str("path")?, EntryKind::Directory).await?;
    let (include, exclude) = (args.strings("include")?, args.strings("exclude")?);
    let filter = Filter { include, exclude, gitignore: args.bool("gitignore")? };
    let (ops, op_cx) = ops_and_context(&cx);
    let picked = ops.tree(&op_cx, &Fs::new(FsOp::Filter { source: place, filter: filter.into() })).await?;
    snapshot_object(&cx, "_snapshot", &picked, None).await.map(Outcome::from)
}

// IDENTITY: as for `directory`.
async fn file(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let path = args.str("path")?;
    let place = place_of(&cx, &node, &path, EntryKind::File).await?;
    let name = place.path.file_name().ok_or_else(|| Fault::bug("a file has no name"))?.to_owned();
    let copy = CopyOp {
        base: Fs::scratch(),
        source: place,
        source_is_file: true,
        source_name: Some(name.clone()),
        target: AbsPath::new(&name),
        target_is_dir: false,
        filter: Filter::default(),
        owner: None,
        permissions: None,
    };
    let (ops, op_cx) = ops_and_context(&cx);
    let copied = ops.tree(&op_cx, &Fs::from(copy)).await?;
    snapshot_object(&cx, "_snapshotFile", &copied, Some(&name)).await.map(Outcome::from)
}

/// The absolute path of the nearest `name` in `from` or a folder above it. Empty when there is
/// none.
async fn find_up(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let workspace = of(&node)?;
    let name = args.str("name")?;
    let (ops, op_cx) = ops_and_context(&cx);
    let mut at = Some(AbsPath::root().join_inside(&workspace.resolve(&args.str("from")?)?));
    while let Some(folder) = at {
        let found = folder.join_inside(&name);
        if ops.stat(&op_cx, &workspace.place(found.relative()), false).await?.is_some() {
            return Ok(Value::string(found.as_str()).into());
        }
        at = folder.parent();
    }
    Ok(Value::string("").into())
}
