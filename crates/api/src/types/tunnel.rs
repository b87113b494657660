//! Ports between services and the client's machine: `Host.tunnel`, `Host.service`, `Service.up`,
//! `Container.up`.

use rondel_call::Literal;
use rondel_events::{Emitter, Stream as Log, Work};
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_model::service::{Forward, HostService, Protocol, Service, ServiceKind, TunnelService};
use rondel_ports::outcome::in_span;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client, client::op_cx, client_on_machine};
use rondel_version::View;

use crate::entitlement_seal;
use crate::types::container::service::{asked, last};
use crate::types::{container, plain_objects, service};
use rondel_surface::Surface;

/// The host name of the client's own machine.
const LOCAL: &str = "localhost";
/// In views before this one `Container.up` has no arguments for the process and uses the last exec.
const WITH_ARGUMENTS: View = View::new(0, 15, 2);

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Host", "tunnel", tunnel);
    surface.field("Host", "service", of_host);
    surface.depends_on_client("Host", &["tunnel", "service"]);
    surface.field("Service", "up", up);
    surface.field("Container", "up", container_up);
    entitlement_seal::guard(surface, "Container", "up");
    surface.field("Service", "hostname", hostname);
    surface.field("Service", "endpoint", endpoint);
    surface.field("Service", "ports", ports);
}

async fn tunnel(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let node = args.object("service").await?;
    let (ports, native) = (forwards(&args)?, args.bool("native")?);
    let tunnel = made(&cx, node.get::<Service>()?.clone(), ports, native)?;
    Ok(service::value(tunnel).into())
}

/// A tunnel to the machine of the caller's client.
fn made(cx: &ResolverContext, service: Service, ports: Vec<Forward>, native: bool) -> Result<Service> {
    let me = client_on_machine(cx)?;
    me.session.services.register_machine(me.id.clone(), me.machine.clone());
    let tunnel = TunnelService { service, ports, native, client: me.id.clone() };
    rondel_session::services::forwards(&tunnel)?;
    Ok(Service::new(ServiceKind::Tunnel(tunnel), None))
}

async fn of_host(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let me = client_on_machine(&cx)?;
    let ports = forwards(&args)?;
    if ports.is_empty() {
        return Err(Fault::user("no ports specified").with_hint("name at least one port of the host"));
    }
    me.session.services.register_machine(me.id.clone(), me.machine.clone());
    let host = HostService { host: args.str("host")?.to_string(), ports, client: me.id.clone() };
    Ok(service::value(Service::new(ServiceKind::Host(host), None)).into())
}

/// Parses port forwards.
fn forwards(args: &Args) -> Result<Vec<Forward>> {
    let Literal::List(items) = args.literal("ports") else { return Ok(Vec::new()) };
    items.iter().map(forward).collect()
}

fn forward(item: &Literal) -> Result<Forward> {
    let Literal::Object(fields) = item else { return Err(Fault::user("a port forward is an object")) };
    let field = |name: &str| fields.iter().find(|(known, _)| &**known == name).map(|(_, value)| value);
    let number = |name: &str| match field(name) {
        None | Some(Literal::Null) => Ok(None),
        Some(Literal::Int(number)) => u16::try_from(*number)
            .map(Some)
            .map_err(|_| Fault::user(format!("`{name}` must be a port between 0 and 65535, not {number}"))),
        Some(_) => Err(Fault::user(format!("`{name}` must be a port"))),
    };
    let backend = number("backend")?.filter(|port| *port > 0);
    let backend = backend.ok_or_else(|| Fault::user("`backend` must be a port between 1 and 65535"))?;
    let protocol = match field("protocol") {
        Some(Literal::Enum(name) | Literal::String(name)) => Protocol::of_name(name),
        _ => Some(Protocol::Tcp),
    };
    let protocol = protocol.ok_or_else(|| Fault::user("a port's `protocol` is `TCP` or `UDP`"))?;
    Ok(Forward { frontend: number("frontend")?.filter(|port| *port > 0), backend, protocol })
}

async fn up(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    run(&cx, node.get::<Service>()?.clone(), &args).await
}

async fn container_up(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let container = container::of(&node)?;
    let service = if cx.view < WITH_ARGUMENTS { last(container) } else { asked(container, &args) };
    run(&cx, service?, &args).await
}

/// Tunnels to a service until the service ends or the call is cancelled.
async fn run(cx: &ResolverContext, service: Service, args: &Args) -> Result<Outcome> {
    let (me, op_cx) = (client(&cx.caller), op_cx(cx));
    let ports = forwards(args)?;
    let native = ports.is_empty() && !args.bool("random")?;
    let name = service.hostname().to_owned();
    let tunnel = made(cx, service, ports, native)?;
    let span = cx.caller.events.span(Work::Other, format!("tunnel to {name}"));
    let events = span.emitter().clone();
    let opened = async {
        let op_cx = op_cx.reporting(&events);
        let used = me.session.services.acquire(&me.services.ops, &op_cx, &tunnel);
        let used = events.waiting(|| format!("service {name}"), used).await?;
        tell_ports(&events, &used.running.forwards);
        Err::<Outcome, Fault>(used.ended().await)
    };
    in_span(span, opened).await
}

/// Tells the user where the ports of a tunnel lead.
fn tell_ports(events: &Emitter, forwards: &[Forward]) {
    for forward in forwards {
        let port = forward.frontend.unwrap_or_default();
        let scheme = match (forward.protocol, forward.backend) {
            (Protocol::Tcp, 80 | 8000 | 8080) => "http",
            (protocol, _) => protocol.name(),
        };
        let text = format!("tunnel started: {scheme}://{LOCAL}:{port} leads to port {}\n", forward.backend);
        events.log(Log::Note, text);
    }
}

/// The ports of a running tunnel. Empty for other services.
fn opened(cx: &ResolverContext, service: &Service) -> Result<Option<Vec<Forward>>> {
    if !matches!(service.kind(), ServiceKind::Tunnel(_)) {
        return Ok(None);
    }
    let opened = client(&cx.caller).session.services.open_ports(service);
    opened.map(Some).ok_or_else(|| Fault::user("the tunnel is not running").with_hint("start it with `Service.start`"))
}

async fn hostname(_: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let service = node.get::<Service>()?;
    Ok(Value::string(match service.kind() {
        ServiceKind::Tunnel(_) => LOCAL,
        _ => service.hostname(),
    })
    .into())
}

async fn endpoint(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let service = node.get::<Service>()?;
    let Some(opened) = opened(&cx, service)? else { return Ok(service::endpoint(service, &args)?.into()) };
    let wanted = args.opt_int("port")?;
    let found = match wanted {
        None => opened.first(),
        Some(port) => {
            let is = |number: u16| i64::from(number) == port;
            let by = |name: fn(&Forward) -> u16| opened.iter().find(|forward| is(name(forward)));
            by(|forward| forward.frontend.unwrap_or_default()).or_else(|| by(|forward| forward.backend))
        }
    };
    let port = found.and_then(|forward| forward.frontend);
    let port = port.ok_or_else(|| Fault::user(format!("the tunnel has no port {}", wanted.unwrap_or_default())))?;
    let scheme = args.opt_str("scheme")?.filter(|scheme| !scheme.is_empty());
    let scheme = scheme.map_or_else(String::new, |scheme| format!("{scheme}://"));
    Ok(Value::string(format!("{scheme}{LOCAL}:{port}")).into())
}

async fn ports(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let service = node.get::<Service>()?;
    Ok(match opened(&cx, service)? {
        None => plain_objects::service_ports(service),
        Some(ports) => {
            let open = HostService { host: LOCAL.into(), ports, client: "".into() };
            plain_objects::service_ports(&Service::new(ServiceKind::Host(open), None))
        }
    }
    .into())
}
