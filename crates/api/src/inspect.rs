//! Questions about places in trees.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_ops::{EntryKind, OpContext, Ops, Stat};
use rondel_session::{Args, ResolverContext, client, client::op_cx};

/// What evaluates deferred work, and for whom.
pub(crate) fn tools(cx: &ResolverContext) -> (Arc<Ops>, OpContext) {
    (client(&cx.caller).services.ops.clone(), op_cx(cx))
}

/// What is at `place`; `asked` is the path in the user's words.
///
/// # Errors
/// When nothing is there.
pub(crate) async fn stat(cx: &ResolverContext, place: &TreePath, asked: &str, follow: bool) -> Result<Stat> {
    let (ops, op_cx) = tools(cx);
    ops.stat(&op_cx, place, follow).await?.ok_or_else(|| missing(asked))
}

/// Refuses a place that is no directory.
///
/// # Errors
/// When nothing or something else is there.
pub(crate) async fn require_directory(cx: &ResolverContext, place: &TreePath, asked: &str) -> Result<()> {
    // Clients match on this text; see behaviour CFS-010.
    match stat(cx, place, asked, true).await?.kind {
        EntryKind::Directory => Ok(()),
        _ => Err(Fault::user(format!("path {asked} is a file, not a directory"))),
    }
}

/// Refuses a place that is no file.
///
/// # Errors
/// When nothing or a directory is there.
pub(crate) async fn require_file(cx: &ResolverContext, place: &TreePath, asked: &str) -> Result<()> {
    match stat(cx, place, asked, true).await?.kind {
        EntryKind::Directory => Err(Fault::user(format!("path {asked} is a directory, not a file"))),
        _ => Ok(()),
    }
}

/// The answer of `exists`, whose arguments are `args`.
pub(crate) async fn exists(cx: &ResolverContext, place: &TreePath, args: &Args) -> Result<bool> {
    let expected = args.opt_str("expectedType")?;
    let follow = !args.bool("doNotFollowSymlinks")? && expected.as_deref() != Some("SYMLINK_TYPE");
    let (ops, op_cx) = tools(cx);
    let found = ops.stat(&op_cx, place, follow).await?;
    Ok(found.is_some_and(|stat| is_of(stat.kind, expected.as_deref())))
}

fn is_of(kind: EntryKind, expected: Option<&str>) -> bool {
    match expected {
        Some("REGULAR_TYPE") => kind == EntryKind::File,
        Some("DIRECTORY_TYPE") => kind == EntryKind::Directory,
        Some("SYMLINK_TYPE") => kind == EntryKind::Symlink,
        _ => true,
    }
}

/// The error for a path that is not there.
pub(crate) fn missing(asked: &str) -> Fault {
    // Clients match on this text; see behaviour CFS-010, FIL-003, DIR-021.
    Fault::not_found(format!("{asked}: no such file or directory"))
}
