//! `Service`: a container or port that containers reach by a host name.

use rondel_call::Literal;
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_model::service::{GivenName, Service, ServiceKind};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client, client::op_cx};

use crate::inputs;
use rondel_surface::Surface;
use rondel_surface::surface::{Arguments, Rewriting};

/// The type's name.
const TYPE: &str = "Service";

/// Separates a host name from the module that gave it, in the arguments of a call.
const SEPARATOR: char = '\u{1f}';

pub(crate) fn register(surface: &mut Surface) {
    surface.plain(TYPE, "withHostname", with_hostname);
    surface.prepare(TYPE, "withHostname", of_module);
    surface.field(TYPE, "start", start);
    surface.field(TYPE, "stop", stop);
    surface.field(TYPE, "sync", sync);
}

/// A service as a value of the API.
pub fn value(service: Service) -> Value {
    Value::object(TYPE, service)
}

/// The address at which containers reach a service.
pub(crate) fn endpoint(service: &Service, args: &Args) -> Result<Value> {
    let port = match args.opt_int("port")? {
        Some(port) => u16::try_from(port).ok().filter(|port| *port > 0),
        None => service.ports().first().map(|port| port.number),
    };
    let port = port.ok_or_else(|| match args.given("port") {
        true => Fault::user("a port is a number between 1 and 65535"),
        // Clients match on this text; see behaviour SVC-001.
        false => Fault::user("no ports exposed").with_hint("name a port, or expose one with `withExposedPort`"),
    })?;
    let scheme = args.opt_str("scheme")?.filter(|scheme| !scheme.is_empty());
    let scheme = scheme.map_or_else(String::new, |scheme| format!("{scheme}://"));
    Ok(Value::string(format!("{scheme}{}:{port}", service.hostname())))
}

// IDENTITY: the name belongs to the module whose code gives it, so the module is part of the call.
fn of_module(cx: ResolverContext, mut args: Arguments) -> Rewriting {
    Box::pin(async move {
        let acting_module = client(&cx.caller).scope.as_ref().and_then(|scope| scope.acting_module.as_ref());
        for (name, value) in &mut args {
            if let ("hostname", Literal::String(hostname)) = (&**name, &*value) {
                let hostname = inputs::host_name("hostname", hostname)?;
                *value = inputs::string(&match acting_module {
                    Some(acting_module) => format!("{hostname}{SEPARATOR}{}", acting_module.implementation.hex()),
                    None => hostname,
                });
            }
        }
        Ok(args)
    })
}

fn with_hostname(service: &Service, args: &Args) -> Result<Value> {
    let text = args.str("hostname")?;
    let (name, module) = match text.split_once(SEPARATOR) {
        None => (&*text, None),
        Some((name, module)) => {
            let module: Digest = module.parse().map_err(|_| Fault::user(format!("`{text}` is no host name")))?;
            (name, Some(module))
        }
    };
    Ok(value(service.named(GivenName { name: name.to_owned(), module })))
}

async fn start(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (client, op_cx) = (client(&cx.caller), op_cx(&cx));
    client.session.services.start(&client.services.ops, &op_cx, node.get()?).await?;
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

async fn stop(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let service = node.get::<Service>()?;
    client(&cx.caller).session.services.stop(service, args.bool("kill")?).await;
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

/// Evaluates the files that the service needs.
async fn sync(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    if let ServiceKind::Container(container) = node.get::<Service>()?.kind() {
        let (ops, op_cx) = (&client(&cx.caller).services.ops, op_cx(&cx));
        for fs in container.exec.inputs() {
            ops.tree(&op_cx, fs).await?;
        }
    }
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}
