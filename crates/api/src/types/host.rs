//! `Host`: files of the machine or the container in which the client runs.

use rondel_call::Literal;
use rondel_digest::Digest;
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::{Directory, Fs, LayerId, Platform, Snapshot, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client_on_machine};

use crate::{host_path, inputs};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;
use rondel_surface::snapshot_object::{file_of, imported_directory, imported_file};
use rondel_surface::surface::{Arguments, Rewriting};

/// The client's machine.
#[derive(Debug, Clone, Copy)]
pub struct Host;

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Host", "directory", directory).prepare("Host", "directory", uncached);
    surface.field("Host", "file", file).prepare("Host", "file", uncached);
    surface.field("Host", "findUp", find_up).prepare("Host", "findUp", uncached);
    surface.depends_on_client("Host", &["directory", "file", "findUp"]);
    surface.field("Query", "_snapshot", snapshot);
    surface.field("Query", "_snapshotFile", snapshot_file);
}

// IDENTITY: `noCache` makes every selection a call of its own.
fn uncached(_: ResolverContext, mut args: Arguments) -> Rewriting {
    if args.iter().any(|(name, value)| &**name == "noCache" && *value == Literal::Bool(true)) {
        let nonce = format!("{:032x}", rand::random::<u128>());
        args.push(("nonce".into(), Literal::String(nonce.into())));
    }
    Box::pin(std::future::ready(Ok(args)))
}

async fn directory(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let path = host_path::resolve(client_on_machine(&cx)?, &args.str("path")?).await?;
    let (ops, op_cx) = ops_and_context(&cx);
    let imported = ops.import_dir(&op_cx, &path.real, &inputs::filter(&args)?).await?;
    Ok(imported_directory(imported))
}

async fn file(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let asked = args.str("path")?;
    let path = host_path::resolve(client_on_machine(&cx)?, &asked).await?;
    let name = path.shown.file_name().map(ToOwned::to_owned);
    let name = name.ok_or_else(|| Fault::user(format!("path {asked} is a directory, not a file")))?;
    let (ops, op_cx) = ops_and_context(&cx);
    Ok(imported_file(ops.import_file(&op_cx, &path.real).await?, &name))
}

fn read_layers(args: &Args) -> Result<Snapshot> {
    let layer = |text: &String| text.parse::<Digest>().map(LayerId);
    let layers: Result<Vec<_>, _> = args.strings("layers")?.iter().map(layer).collect();
    Ok(layers.map_err(|_| Fault::user("the ID of a directory is damaged"))?.into())
}

/// The snapshot of the ID, if the store still has it.
fn kept(cx: &ResolverContext, args: &Args) -> Result<Snapshot> {
    let snapshot = read_layers(args)?;
    if ops_and_context(cx).0.ports().snapshots.touch_if_present(&snapshot) {
        return Ok(snapshot);
    }
    let fault = Fault::environment("the files behind the ID of a directory are not in the store any more");
    Err(fault.with_hint("they were removed to make room; import the directory again"))
}

async fn snapshot(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let directory = Directory::root(Fs::known(kept(&cx, &args)?), Platform::native());
    Ok(Value::object("Directory", directory).into())
}

async fn snapshot_file(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    Ok(file_of(kept(&cx, &args)?, &args.str("name")?).into())
}

/// Searches upwards from the working directory. The result is relative to that.
async fn find_up(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let name = args.str("name")?;
    let client = client_on_machine(&cx)?;
    let start = host_path::resolve(client, ".").await?.real;
    let host = ops_and_context(&cx).0.ports().host.clone();
    let (from, wanted) = (start.clone(), name.to_string());
    let found = tokio::task::spawn_blocking(move || host.find_up(&from, &wanted)).await;
    let found = found.attempt(|| format!("look for `{name}`"))?;
    // A process in a container never finds files above its root.
    let found = found.filter(|path| path.starts_with(&client.host_root));
    Ok(found.map_or(Value::Null, |path| Value::string(relative(&start, &path))).into())
}

/// `path` relative to `start`, for a path in `start` or above it.
fn relative(start: &std::path::Path, path: &std::path::Path) -> String {
    let mut up = String::new();
    for above in start.ancestors() {
        if let Ok(rest) = path.strip_prefix(above) {
            return format!("{up}{}", rest.display());
        }
        up.push_str("../");
    }
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn paths_as_seen_from_below() {
        let check = |path: &str, want: &str| assert_eq!(relative(Path::new("/a/b/c"), Path::new(path)), want);
        check("/a/b/c/x", "x");
        check("/a/b/x", "../x");
        check("/x", "../../../x");
    }
}
