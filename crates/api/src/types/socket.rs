//! `Socket`: a unix socket of a client's machine, and its mounts in containers.

use rondel_call::{Call, CallSpec};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::{MountSource, SocketRef, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client, client_on_machine, sockets};
use rondel_surface::host_socket::socket_at;

use crate::locate::{mount, touched};
use crate::types::container;
use crate::{host_path, inputs};
use rondel_surface::Surface;

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Host", "unixSocket", of_host).depends_on_client("Host", &["unixSocket"]);
    surface.field("Query", "_socket", known);
    surface.field("Container", "withUnixSocket", mounted);
    surface.plain("Container", "withoutUnixSocket", without);
}

/// The socket need not exist before it is used.
async fn of_host(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let client = client_on_machine(&cx)?;
    let path = host_path::resolve(client, &args.str("path")?).await?;
    let SocketRef { key } = socket_at(client, &path.shown, path.real);
    let mut spec = CallSpec::new("Socket", "_socket").arg("key", inputs::string(&key.hex()));
    // IDENTITY: the call names a socket of this session.
    spec.implicit = vec![("session".into(), cx.caller.session.clone())];
    Ok(Outcome { value: value(key), rebind: Some(Call::new(None, spec)) })
}

fn value(key: Digest) -> Value {
    Value::object("Socket", SocketRef { key })
}

/// A socket from an ID. It must be a socket of this session too.
async fn known(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let key: Digest = args.str("key")?.parse().map_err(|_| Fault::user("the ID of a socket is damaged"))?;
    match client(&cx.caller).session.sockets.contains(&key) {
        true => Ok(value(key).into()),
        false => Err(sockets::unknown()),
    }
}

async fn mounted(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let source = MountSource::Socket { socket: source.get::<SocketRef>()?.clone(), owner: inputs::owner(&args)? };
    let target = inputs::path(node.get()?, &args, "path")?;
    Ok(container::value(mount(node.get()?, target, source)).into())
}

fn without(container: &rondel_model::Container, args: &Args) -> Result<Value> {
    let path = inputs::path(container, args, "path")?;
    let mut container = touched(container);
    container.mounts.retain(|mount| mount.target != path || !matches!(mount.source, MountSource::Socket { .. }));
    Ok(container::value(container))
}
