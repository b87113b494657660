//! `Query`: the root of the API.

use rondel_fault::{Fault, Result};
use rondel_model::{Container, Directory, Fs, Platform, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_version::ENGINE;

use crate::inputs;
use crate::types::host::Host;
use crate::types::{address, file};
use rondel_surface::api_error::ApiError;
use rondel_surface::{Surface, surface};

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "id", id);
    surface.field("Query", "_root", |_, _, _| std::future::ready(Ok(Outcome::from(Node::root()))));
    surface.field("Query", "pipeline", surface::same);
    surface.field("Query", "node", node);
    surface.field("Query", "__schemaVersion", |cx, _, _| {
        std::future::ready(Ok(Outcome::from(Value::string(cx.view.to_string()))))
    });
    root(surface, "version", |_| Ok(Value::string(ENGINE.to_string())));
    root(surface, "defaultPlatform", |_| Ok(Value::string(Platform::native().to_string())));
    root(surface, "container", container);
    root(surface, "directory", |_| Ok(Value::object("Directory", Directory::root(Fs::scratch(), Platform::native()))));
    root(surface, "file", file::new);
    root(surface, "host", |_| Ok(Value::object("Host", Host)));
    root(surface, "address", address::new);
    root(surface, "error", |args| {
        Ok(Value::object("Error", ApiError { message: args.str("message")?.to_string(), values: Vec::new() }))
    });
}

fn root(surface: &mut Surface, field: &str, make: fn(&Args) -> Result<Value>) {
    surface.field("Query", field, move |_, _, args| std::future::ready(make(&args).map(Outcome::from)));
}

fn container(args: &Args) -> Result<Value> {
    let platform = match args.opt_str("platform")? {
        Some(text) => inputs::platform(&text)?,
        None => Platform::native(),
    };
    Ok(Value::object("Container", Container::scratch(platform)))
}

async fn id(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let spec = rondel_call::CallSpec::new("Query", "_root");
    let call = node.call.unwrap_or_else(|| rondel_call::Call::new(None, spec));
    Ok(Value::string(cx.evaluator.encode(&call)).into())
}

async fn node(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let found = surface::load(&cx, &args, None).await?;
    match &found.value {
        Value::Object(_) => Ok(found),
        _ => Err(Fault::user("cannot load an object: the ID stands for none")),
    }
}
