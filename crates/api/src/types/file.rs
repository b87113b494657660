//! `File`: one file of a tree.

use std::sync::Arc;

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::op::{Edit, Owner, TreePath};
use rondel_model::{AbsPath, File, Fs, Platform, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};

use crate::types::{plain_objects, search};
use crate::{edit, host_path, inputs, inspect};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "File";

pub(crate) fn register(surface: &mut Surface) {
    surface.plain(TYPE, "name", |file: &File, _| Ok(Value::string(edit::file_name(file))));
    surface.plain(TYPE, "withName", with_name);
    surface.plain(TYPE, "withTimestamps", |file: &File, args| {
        let (path, seconds) = (file.place.path.clone(), args.int("timestamp")?);
        Ok(edited(file, Edit::Timestamps { path, seconds }))
    });
    surface.plain(TYPE, "chown", |file: &File, args| {
        let (path, owner) = (file.place.path.clone(), Owner((*args.str("owner")?).into()));
        Ok(edited(file, Edit::Chown { path, owner }))
    });
    surface.field(TYPE, "contents", contents);
    surface.field(TYPE, "size", size);
    surface.field(TYPE, "digest", digest);
    surface.field(TYPE, "stat", stat);
    surface.field(TYPE, "search", |cx, node, args| async move {
        let place = &node.get::<File>()?.place;
        Ok(search::run(&cx, place, &args, true).await?.into())
    });
    surface.field(TYPE, "sync", sync);
    surface.field(TYPE, "withReplaced", with_replaced);
    surface.field(TYPE, "export", export);
}

/// `Query.file`.
pub(crate) fn new(args: &Args) -> Result<Value> {
    let name = args.str("name")?;
    if name.contains('/') {
        // Clients match on the last words; see behaviour FIL-001.
        return Err(Fault::user(format!("file name `{name}` must not contain a directory")));
    }
    if name.is_empty() || &*name == "." || &*name == ".." {
        return Err(Fault::user(format!("`{name}` cannot be the name of a file")));
    }
    edit::check_path(&name)?;
    let permissions = inputs::permissions(args, "permissions")?.unwrap_or(0o644);
    let path = AbsPath::new(&name);
    let fs = edit::written(Fs::scratch(), path.clone(), args.str("contents")?, permissions, None);
    let place = TreePath { fs, path };
    Ok(Value::object(TYPE, File { place, platform: Platform::native(), name: None, asked: None }))
}

fn edited(file: &File, edit: Edit) -> Value {
    let mut file = file.clone();
    file.place.fs = edit::edited(file.place.fs, edit);
    Value::object(TYPE, file)
}

fn with_name(file: &File, args: &Args) -> Result<Value> {
    let name = args.str("name")?;
    if name.is_empty() || name.contains('/') {
        return Err(Fault::user(format!("`{name}` cannot be the name of a file")));
    }
    edit::check_path(&name)?;
    Ok(Value::object(TYPE, File { name: Some(name.to_string()), ..file.clone() }))
}

/// The path as the user wrote it.
fn asked(file: &File) -> &str {
    file.asked.as_deref().unwrap_or_else(|| file.place.path.relative())
}

async fn contents(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let (ops, op_cx) = ops_and_context(&cx);
    let bytes = ops.read(&op_cx, &file.place).await?;
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let count = |name: &str| match args.opt_int(name)?.map(usize::try_from) {
        Some(Err(_)) => Err(Fault::user(format!("`{name}` must not be negative"))),
        Some(Ok(count)) => Ok(Some(count)),
        None => Ok(None),
    };
    let (offset, limit) = (count("offsetLines")?, count("limitLines")?);
    Ok(match (offset, limit) {
        (None, None) => Value::string(text),
        (offset, limit) => Value::string(lines(&text, offset.unwrap_or(0), limit)),
    }
    .into())
}

fn lines(text: &str, offset: usize, limit: Option<usize>) -> String {
    text.split_inclusive('\n').skip(offset).take(limit.unwrap_or(usize::MAX)).collect()
}

async fn size(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let found = inspect::stat(&cx, &file.place, asked(file), true).await?;
    Ok(Value::Int(i64::try_from(found.size).unwrap_or(i64::MAX)).into())
}

async fn digest(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    let digest = ops.digest(&op_cx, &node.get::<File>()?.place, args.bool("excludeMetadata")?).await?;
    Ok(Value::string(digest).into())
}

async fn stat(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let found = inspect::stat(&cx, &file.place, asked(file), true).await?;
    Ok(plain_objects::stat(edit::file_name(file), found).into())
}

async fn sync(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    inspect::require_file(&cx, &file.place, asked(file)).await?;
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

async fn with_replaced(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let (ops, op_cx) = ops_and_context(&cx);
    let bytes = ops.read(&op_cx, &file.place).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fault::user(format!("cannot replace text in `{}`: it is no UTF-8 text", asked(file))))?;
    let first_from = args.opt_int("firstFrom")?.map(|line| usize::try_from(line).unwrap_or(0));
    let which = match (args.bool("all")?, first_from) {
        (true, _) => Which::All,
        (false, Some(_)) => Which::First,
        (false, None) => Which::Only,
    };
    let first_line = first_from.unwrap_or(0).max(1);
    let replaced = replace(&text, &args.str("search")?, &args.str("replacement")?, first_line, which)?;
    let Some(replaced) = replaced else { return Ok(node.into()) };
    let found = inspect::stat(&cx, &file.place, asked(file), true).await?;
    let (path, permissions) = (file.place.path.clone(), found.mode & 0o7777);
    let owner = Some(Owner(format!("{}:{}", found.uid, found.gid).into()));
    let contents: Arc<[u8]> = replaced.into_bytes().into();
    Ok(edited(file, Edit::WriteFile { path, contents, permissions, owner }).into())
}

/// Which matches are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    First,
    /// The only one.
    Only,
}

/// The most matches that an error names.
const MAX_SHOWN_MATCHES: usize = 20;

/// The text with matches at or after `first_line`, counted from one, replaced. `None` if there are
/// no matches and all were to be replaced.
fn replace(text: &str, search: &str, replacement: &str, first_line: usize, which: Which) -> Result<Option<String>> {
    if search.is_empty() {
        return Err(Fault::user("the text to search for is empty"));
    }
    let start = text.split_inclusive('\n').take(first_line - 1).map(str::len).sum();
    let (head, tail) = text.split_at(start);
    // Clients match on words of both errors.
    match (tail.matches(search).take(2).count(), which) {
        (0, Which::All) => Ok(None),
        (0, _) => Err(Fault::user(format!("search string not found: `{search}`"))),
        (2, Which::Only) => {
            let places = places(text, search);
            Err(Fault::user(format!("search string found multiple times: {places}"))
                .with_hint("set `all` or `firstFrom`"))
        }
        (_, Which::All) => Ok(Some(format!("{head}{}", tail.replace(search, replacement)))),
        _ => Ok(Some(format!("{head}{}", tail.replacen(search, replacement, 1)))),
    }
}

/// The lines of matches, and their bytes in them.
fn places(text: &str, search: &str) -> String {
    let (mut line, mut line_start, mut shown) = (1, 0, Vec::new());
    let mut matches = text.match_indices(search);
    for (at, _) in matches.by_ref().take(MAX_SHOWN_MATCHES) {
        let passed = &text.as_bytes()[line_start..at];
        line += passed.iter().filter(|byte| **byte == b'\n').count();
        line_start += passed.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = at - line_start;
        shown.push(format!("line {line} ({column}-{})", column + search.len()));
    }
    let more = if matches.next().is_some() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

async fn export(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let path = args.str("path")?;
    inspect::require_file(&cx, &file.place, asked(file)).await?;
    let to = host_path::resolve(client(&cx.caller), &path).await?;
    let (host, real) = (ops_and_context(&cx).0.ports().host.clone(), to.real.clone());
    let is_dir = move || host.open(&real).and_then(|found| found.metadata()).is_ok_and(|found| found.is_dir());
    let is_dir = tokio::task::spawn_blocking(is_dir).await.attempt(|| format!("look at `{path}`"))?;
    if !is_dir && !path.ends_with('/') {
        return exported(&cx, &args, &file.place, &path).await;
    }
    if !args.bool("allowParentDirPath")? {
        return Err(Fault::user(format!("cannot export a file to `{path}`: it is a directory"))
            .with_hint("name the file, or set `allowParentDirPath`"));
    }
    exported(&cx, &args, &file.place, &format!("{path}/{}", edit::file_name(file))).await
}

/// Writes the file at `place` to `path` of the client.
pub(crate) async fn exported(cx: &ResolverContext, args: &Args, place: &TreePath, path: &str) -> Result<Outcome> {
    let to = host_path::resolve(client(&cx.caller), path).await?;
    let (ops, op_cx) = ops_and_context(cx);
    ops.export_file(&op_cx, place, &to.real).await?;
    Ok(host_path::outcome(args, &to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_windows() {
        let text = "1\n2\n3\n4";
        let check = |offset, limit, want: &str| assert_eq!(lines(text, offset, limit), want);
        check(1, Some(2), "2\n3\n");
        check(2, None, "3\n4");
        check(0, Some(1), "1\n");
        check(9, None, "");
        check(0, Some(0), "");
    }

    #[test]
    fn replacements() {
        let check = |line, which, want: Result<Option<&str>, &str>| {
            let got = replace("a\nb a\na\n", "a", "x", line, which).map_err(|fault| fault.message().to_owned());
            assert_eq!(got, want.map(|text| text.map(ToOwned::to_owned)).map_err(ToOwned::to_owned));
        };
        check(1, Which::All, Ok(Some("x\nb x\nx\n")));
        check(2, Which::All, Ok(Some("a\nb x\nx\n")));
        check(9, Which::All, Ok(None));
        check(2, Which::First, Ok(Some("a\nb x\na\n")));
        check(1, Which::First, Ok(Some("x\nb a\na\n")));
        check(9, Which::First, Err("search string not found: `a`"));
        let found = "search string found multiple times: line 1 (0-1), line 2 (2-3), line 3 (0-1)";
        check(1, Which::Only, Err(found));
        assert!(replace("a", "", "x", 1, Which::All).is_err());
        assert!(places(&"a".repeat(21), "a").ends_with("line 1 (19-20), …"));
    }
}
