//! `Socket`: a unix socket of a client's machine, and containers that have one.

use std::path::PathBuf;

use rondel_call::{Call, CallSpec};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::{AbsPath, MountSource, SocketRef, Value};
use rondel_query::{Args, Node, Outcome, ResolverContext};
use rondel_session::{Client, client, client_on_machine, sockets};

use crate::locate::{mount, touched};
use crate::types::container;
use crate::{Surface, host_path, inputs};

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Host", "unixSocket", of_host).personal("Host", &["unixSocket"]);
    surface.field("Query", "_socket", known);
    surface.field("Container", "withUnixSocket", mounted);
    surface.plain("Container", "withoutUnixSocket", without);
}

/// Whether there is a socket counts when it is used.
async fn of_host(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let client = client_on_machine(&cx)?;
    let path = host_path::resolve(client, &args.str("path")?).await?;
    let SocketRef { key } = named(client, &path.shown, path.real);
    let mut spec = CallSpec::new("Socket", "_socket").arg("key", inputs::string(&key.hex()));
    // IDENTITY: it leads to a socket of this session.
    spec.implicit = vec![("session".into(), cx.caller.session.clone())];
    Ok(Outcome { value: value(key), rebind: Some(Call::new(None, spec)) })
}

/// The socket at the path `shown` of a client, which is at `real` for its machine.
pub(crate) fn named(client: &Client, shown: &AbsPath, real: PathBuf) -> SocketRef {
    // IDENTITY: sessions on the same machine mean the same by a path. What a process in a container means by it is its own.
    let owner = if client.origin.is_none() { "" } else { &*client.id };
    let named = rondel_digest::of("socket/v1", &(owner, shown.as_str()));
    let key = client.services.mac(named.as_bytes());
    client.session.sockets.put(key, client.machine.clone(), real);
    SocketRef { key }
}

fn value(key: Digest) -> Value {
    Value::object("Socket", SocketRef { key })
}

/// A socket that was loaded back. The ID of another session's leads nowhere, unless this one has the same.
async fn known(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let key: Digest = args.str("key")?.parse().map_err(|_| Fault::user("the ID of a socket is damaged"))?;
    match client(&cx.caller)?.session.sockets.has(&key) {
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
