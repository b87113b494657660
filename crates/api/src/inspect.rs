//! Stat and existence checks of paths in trees.

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_ops::{EntryKind, Stat};
use rondel_session::{Args, ResolverContext, client::ops_and_context};

/// The metadata of `place`. Errors name the path as the user wrote it, `asked`.
///
/// # Errors
/// When it is missing.
pub(crate) async fn stat(cx: &ResolverContext, place: &TreePath, asked: &str, follow: bool) -> Result<Stat> {
    let (ops, op_cx) = ops_and_context(cx);
    ops.stat(&op_cx, place, follow).await?.ok_or_else(|| missing(asked))
}

/// Checks that `place` is a directory.
///
/// # Errors
/// When it is missing or something else.
pub(crate) async fn require_directory(cx: &ResolverContext, place: &TreePath, asked: &str) -> Result<()> {
    // Clients match on this text; see behaviour CFS-010.
    match stat(cx, place, asked, true).await?.kind {
        EntryKind::Directory => Ok(()),
        _ => Err(Fault::user(format!("path {asked} is a file, not a directory"))),
    }
}

/// Checks that `place` is a file.
///
/// # Errors
/// When it is missing or a directory.
pub(crate) async fn require_file(cx: &ResolverContext, place: &TreePath, asked: &str) -> Result<()> {
    match stat(cx, place, asked, true).await?.kind {
        EntryKind::Directory => Err(Fault::user(format!("path {asked} is a directory, not a file"))),
        _ => Ok(()),
    }
}

/// The result of a field `exists` with the arguments `args`.
pub(crate) async fn exists(cx: &ResolverContext, place: &TreePath, args: &Args) -> Result<bool> {
    let expected = args.opt_str("expectedType")?;
    let follow = !args.bool("doNotFollowSymlinks")? && expected.as_deref() != Some("SYMLINK_TYPE");
    let (ops, op_cx) = ops_and_context(cx);
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

/// The error for a missing path.
pub(crate) fn missing(asked: &str) -> Fault {
    // Clients match on this text; see behaviour CFS-010, FIL-003, DIR-021.
    Fault::not_found(format!("{asked}: no such file or directory"))
}
