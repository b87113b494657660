//! `asService` and `withServiceBinding`: services, and the containers that use them.

use rondel_fault::{Fault, Result};
use rondel_model::exec::{Expect, Stdin};
use rondel_model::health::Healthcheck;
use rondel_model::service::{ContainerService, Service, ServiceBinding, ServiceKind};
use rondel_model::{Container, ExecOp};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ExecScope, ResolverContext, client};
use rondel_version::View;

use super::exec::ExecRequest;
use super::value::{TYPE, changed, of};
use crate::expand::expand;
use crate::locate::touched;
use crate::types::service;
use crate::{entitlement_seal, inputs};
use rondel_surface::Surface;

/// Views before this one have no arguments: the service is the last process.
const WITH_ARGUMENTS: View = View::new(0, 15, 0);

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "asService", as_service);
    entitlement_seal::guard(surface, TYPE, "asService");
    surface.field(TYPE, "withServiceBinding", with_binding);
}

async fn as_service(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let container = of(&node)?;
    let service = if cx.view < WITH_ARGUMENTS { last(container) } else { asked(container, &args) };
    Ok(service::value(service?).into())
}

/// The service of the arguments `args` of `asService`.
///
/// # Errors
/// When there is no command.
pub(crate) fn asked(container: &Container, args: &Args) -> Result<Service> {
    let mut words = args.strings("args")?;
    if args.bool("expand")? {
        words = words.iter().map(|word| expand(container, word)).collect::<Result<_>>()?;
    }
    // Without arguments of its own the container runs with the entrypoint and arguments of its
    // image.
    let as_image = words.is_empty() && !container.default_args_set;
    let mut request = ExecRequest::new(words, args.bool("useEntrypoint")? || as_image);
    request.insecure = entitlement_seal::insecure(args)?;
    request.no_init = args.bool("noInit")?;
    if args.bool("experimentalPrivilegedNesting")? {
        let me = client(args.caller());
        request.scope = Some(ExecScope::of_child(me.scope.as_deref()).into_op_scope());
    }
    made(container, request)
}

/// The service of `container` in views without arguments: the last process with the changes since
/// then, or else the entrypoint and default arguments.
///
/// # Errors
/// When there is no command.
pub(crate) fn last(container: &Container) -> Result<Service> {
    let Some(exec) = &container.last_exec else {
        return made(container, ExecRequest::new(Vec::new(), true));
    };
    let before =
        Container { rootfs: exec.rootfs.clone(), mounts: exec.mounts.iter().cloned().collect(), ..container.clone() };
    let mut request = ExecRequest::new(exec.args.clone(), false);
    request.scope = exec.scope.clone();
    request.insecure = exec.insecure;
    request.no_init = exec.no_init;
    made(&before, request)
}

fn made(container: &Container, request: ExecRequest) -> Result<Service> {
    // Clients match on this text; see behaviour SVC-020.
    let exec = request.in_container(container).map_err(|_| Fault::user("no service command has been set"))?;
    let exec = ExecOp { volatile_env: Vec::new(), stdin: Stdin::Empty, expect: Expect::Any, ..exec };
    let (ports, health) = (container.ports(), Healthcheck::of(&container.config));
    let service = ContainerService { exec, ports, health, terminal: container.terminal.clone() };
    Ok(Service::new(ServiceKind::Container(Box::new(service)), None))
}

async fn with_binding(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let bound = args.object("service").await?;
    let alias = inputs::host_name("alias", &args.str("alias")?)?;
    let service = bound.get::<Service>()?.clone();
    let mut container = touched(node.get::<Container>()?);
    container.services.append(alias.as_str(), ServiceBinding { alias: alias.clone(), service });
    Ok(changed(container))
}
