//! `terminal` of containers, directories and services: a process on the client's terminal within a
//! chain of calls.

use rondel_fault::{Fault, Result};
use rondel_model::exec::TerminalCommand;
use rondel_model::service::{Service, ServiceKind};
use rondel_model::{AbsPath, Container, Directory, MountSource, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ExecScope, ResolverContext, client};

use crate::locate::mount;
use crate::select::select;
use crate::types::container::{self, ExecRequest};
use crate::{entitlement_seal, inputs};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The default command.
const SHELL: &str = "/bin/sh";
/// The default image for terminals of directories.
const IMAGE: &str = "busybox";
/// Where a directory is mounted in the container of its terminal.
const PLACE: &str = "/src";

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Container", "terminal", of_container);
    surface.field("Directory", "terminal", of_directory);
    surface.field("Service", "terminal", of_service);
    surface.plain("Container", "withDefaultTerminalCmd", with_default);
    for (type_name, field) in
        [("Container", "terminal"), ("Container", "withDefaultTerminalCmd"), ("Directory", "terminal")]
    {
        entitlement_seal::guard(surface, type_name, field);
    }
}

fn command(args: &Args, words: &str) -> Result<TerminalCommand> {
    let me = client(args.caller());
    let nesting = args.bool("experimentalPrivilegedNesting")?;
    Ok(TerminalCommand {
        args: args.strings(words)?,
        scope: nesting.then(|| ExecScope::of_child(me.scope.as_deref()).into_op_scope()),
        insecure: entitlement_seal::insecure(args)?,
    })
}

fn with_default(container: &Container, args: &Args) -> Result<Value> {
    let terminal = Some(command(args, "args")?.into());
    Ok(container::value(Container { terminal, ..container.clone() }))
}

/// Returns the container unchanged. Changes made on the terminal are discarded.
async fn of_container(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    if &**args.field().ty.base() == "Terminal" {
        return Err(Fault::user("terminals over websockets, as versions before v0.12.0 have them, are not served")
            .with_hint("use a client, or an `engineVersion` of the module, of v0.12.0 or newer"));
    }
    open(&cx, container::of(&node)?, command(&args, "cmd")?).await?;
    Ok(node.into())
}

async fn of_directory(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let directory = node.get::<Directory>()?;
    if let Some(error) = &directory.error {
        return Err(Fault::user(&**error));
    }
    let base = match args.opt_object("container").await? {
        Some(base) => base,
        None => {
            let empty = select(&cx, &Node::root(), "container", Vec::new()).await?;
            select(&cx, &empty, "from", vec![("address", inputs::string(IMAGE))]).await?
        }
    };
    let (fs, path) = (directory.place.fs.clone(), directory.place.path.clone());
    let source = MountSource::Directory { fs, path, read_only: false, owner: None };
    let base = mount(container::of(&base)?, AbsPath::new(PLACE), source);
    let base = base.configure(|config| PLACE.clone_into(&mut config.working_dir));
    open(&cx, &base, command(&args, "cmd")?).await?;
    Ok(node.into())
}

/// The command of the arguments, else the container's default terminal command, else a shell.
fn words(asked: Vec<String>, default: Option<&TerminalCommand>) -> Vec<String> {
    let words = if asked.is_empty() { default.map_or(asked, |default| default.args.clone()) } else { asked };
    if words.is_empty() { vec![SHELL.to_owned()] } else { words }
}

/// Opens a terminal in the container of the service. The service is started for that and stays up
/// for a while.
async fn of_service(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let service = node.get::<Service>()?;
    let ServiceKind::Container(container) = service.kind() else {
        return Err(Fault::user("cannot open a terminal in a service that is not a container, but ports of a client"));
    };
    let me = client(&cx.caller);
    let (ops, op_cx) = ops_and_context(&cx);
    let used = me.session.services.acquire(&ops, &op_cx, service).await;
    let used = used.map_err(|fault| fault.context(format!("start {}", service.hostname())))?;
    let inside = used
        .running
        .container
        .clone()
        .ok_or_else(|| Fault::bug("a service of a container has no running container"))?;
    let words = words(args.strings("cmd")?, container.terminal.as_deref());
    let terminal = me.host_client().machine.terminal().await?;
    let exit_code = ops.interact_inside(&op_cx, container, inside, words, terminal).await?;
    match used.killed_with_service(exit_code).await {
        Some(ended) => {
            Err(ended.context(format!("the service {} ended, and its terminal with it", service.hostname())))
        }
        None => Ok(node.into()),
    }
}

/// Opens a terminal in `container` and waits for its end. The exit code is ignored.
async fn open(cx: &ResolverContext, container: &Container, asked: TerminalCommand) -> Result<()> {
    let me = client(&cx.caller);
    let default = container.terminal.as_deref().filter(|_| asked.args.is_empty());
    let mut request = ExecRequest::new(words(asked.args, default), false);
    request.insecure = asked.insecure || default.is_some_and(|default| default.insecure);
    request.scope = asked.scope.or_else(|| default.and_then(|default| default.scope.clone()));
    let exec = request.in_container(container)?;
    let (ops, op_cx) = ops_and_context(cx);
    for fs in exec.inputs() {
        // ORDER: slow work comes before the terminal opens, while progress is still shown.
        ops.tree(&op_cx, fs).await?;
    }
    let terminal = me.host_client().machine.terminal().await?;
    ops.interact(&op_cx, exec, terminal).await.map(drop)
}
