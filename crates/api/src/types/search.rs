//! `SearchResult` and `SearchSubmatch`: matches of a text search in files.

use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_model::op::TreePath;
use rondel_ops::{Match, Search, Submatch};
use rondel_session::{Args, ResolverContext};

use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

pub(crate) fn register(surface: &mut Surface) {
    surface.plain("SearchResult", "filePath", |it: &Match, _| Ok(Value::string(&*it.path)));
    surface.plain("SearchResult", "lineNumber", |it: &Match, _| Ok(number(it.line)));
    surface.plain("SearchResult", "absoluteOffset", |it: &Match, _| Ok(number(it.offset)));
    surface.plain("SearchResult", "matchedLines", |it: &Match, _| Ok(Value::string(&*it.lines)));
    surface.plain("SearchResult", "submatches", |it: &Match, _| {
        Ok(Value::List(it.submatches.iter().map(|part| Value::object("SearchSubmatch", part.clone())).collect()))
    });
    surface.plain("SearchSubmatch", "text", |it: &Submatch, _| Ok(Value::string(&*it.text)));
    surface.plain("SearchSubmatch", "start", |it: &Submatch, _| Ok(number(it.start)));
    surface.plain("SearchSubmatch", "end", |it: &Submatch, _| Ok(number(it.end)));
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Runs the search of the arguments at `place`. For a file, `paths` and `globs` are ignored.
pub(crate) async fn run(cx: &ResolverContext, place: &TreePath, args: &Args, is_file: bool) -> Result<Value> {
    let strings = |name| if is_file { Ok(Vec::new()) } else { args.strings(name) };
    let limit = match args.opt_int("limit")?.map(usize::try_from) {
        None => None,
        Some(Ok(limit)) if limit > 0 => Some(limit),
        Some(_) => return Err(Fault::user("`limit` must be at least 1")),
    };
    let search = Search {
        pattern: args.str("pattern")?.to_string(),
        literal: args.bool("literal")?,
        multiline: args.bool("multiline")?,
        dotall: args.bool("dotall")?,
        insensitive: args.bool("insensitive")?,
        skip_ignored: args.bool("skipIgnored")?,
        skip_hidden: args.bool("skipHidden")?,
        files_only: args.bool("filesOnly")?,
        limit,
        paths: strings("paths")?,
        globs: strings("globs")?,
    };
    let (ops, op_cx) = ops_and_context(cx);
    let found = ops.search(&op_cx, place, &search).await?;
    Ok(Value::List(found.into_iter().map(|hit| Value::object("SearchResult", hit)).collect()))
}
