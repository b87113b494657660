//! Content as objects of the API. The call of each object contains its content and nothing else.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::Result;
use rondel_model::op::{Edit, TreePath};
use rondel_model::{AbsPath, Directory, Fs, FsOp, Platform, Snapshot};
use rondel_query::Node;
use rondel_session::ResolverContext;

use rondel_session::client::ops_and_context;

/// A snapshot as an object of the API. The object's call depends on the content alone.
///
/// # Errors
/// When the API has no such field.
pub(crate) async fn snapshot_object(
    cx: &ResolverContext,
    field: &str,
    snapshot: &Snapshot,
    name: Option<&str>,
) -> Result<Node> {
    let layers = snapshot.layers().iter().map(|layer| Literal::String(layer.0.hex().into())).collect();
    let mut args: Vec<(Arc<str>, Literal)> = vec![("layers".into(), Literal::List(layers))];
    args.extend(name.map(|name| ("name".into(), Literal::String(name.into()))));
    cx.evaluator.internal(&cx.caller, &Node::root(), field, args).await
}

/// A file with the given content. The object's call depends on the content alone.
///
/// # Errors
/// When the file cannot be stored.
pub(crate) async fn file_with_content(cx: &ResolverContext, name: &str, content: Vec<u8>) -> Result<Node> {
    let (ops, op_cx) = ops_and_context(cx);
    let edit = Edit::WriteFile { path: AbsPath::new(name), contents: content.into(), permissions: 0o644, owner: None };
    let snapshot = ops.tree(&op_cx, &Fs::new(FsOp::Edit { base: Fs::scratch(), edit })).await?;
    snapshot_object(cx, "_snapshotFile", &snapshot, Some(name)).await
}

/// A directory value with the files of `snapshot` below `path`.
pub(crate) fn directory_value(snapshot: &Snapshot, path: AbsPath) -> rondel_model::Value {
    let place = TreePath { fs: Fs::known(snapshot.clone()), path };
    rondel_model::Value::object("Directory", Directory { place, platform: Platform::native(), error: None })
}
