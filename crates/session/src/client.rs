//! One client of one session, and the types of `rondel_query` for clients.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rondel_fault::{Code, Fault, Result, lock};
use rondel_model::entitlement::Entitlement;
use rondel_module_model::ServedModule;
use rondel_ops::{OpContext, Ops};
use rondel_ports::BoxFuture;
use rondel_ports::egress::EgressScope;
use rondel_ports::streams::Machine;

use crate::engine_services::Services;
use crate::scope::{ActingModule, ExecScope};
use crate::session::Session;

/// Requests of the engine to the machine or container in which a client runs.
pub trait ClientLink: Send + Sync {
    /// The value of an environment variable of the client's process.
    fn variable<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>>>;

    /// The standard output of a shell command run by the client.
    fn command<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// The plaintext at the address of any other secret provider.
    fn secret<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<Vec<u8>>>;
}

/// One client of one session.
pub struct Client {
    /// Its name.
    pub id: Arc<str>,
    /// Its session.
    pub session: Arc<Session>,
    /// What every handler may use.
    pub services: Arc<Services>,
    /// The base of relative host paths. For a process in a container this is its working directory,
    /// below `host_root`.
    pub workdir: PathBuf,
    /// The root of the client's file system on this machine: `/`, or the root of a running
    /// container.
    pub host_root: PathBuf,
    /// Whether modules that it names are its own files. Otherwise they are files of `origin`.
    pub own_modules: bool,
    /// The link to the client's process. `None` for a process in a container that did not attach.
    pub link: Option<Arc<dyn ClientLink>>,
    /// Its sockets, ports and terminal.
    pub machine: Arc<dyn Machine>,
    /// The exec scope. `None` for the user's own clients.
    pub scope: Option<Arc<ExecScope>>,
    /// The nearest client that is no process in a container: module sources and contextual
    /// arguments are its files. `None` for a client of the user's.
    pub origin: Option<Arc<Client>>,
    /// The modules that it is served, in the order in which they were served.
    pub served: Mutex<Vec<ServedModule>>,
    /// The context in which ops run for it.
    pub op_cx: OpContext,
    /// Whether it evaluates a call that another client selected, without its own machine,
    /// environment and credentials.
    pub without_client_access: bool,
}

/// The types of `rondel_query` whose callers are clients.
pub type Caller = rondel_query::Caller<Client>;
/// Evaluates calls of clients.
pub type Evaluator = rondel_query::Evaluator<Client>;
/// The arguments of a call of a client.
pub type Args = rondel_query::Args<Client>;
/// The context of a handler of a client's call.
pub type ResolverContext = rondel_query::ResolverContext<Client>;
/// How a field is evaluated for clients.
pub type Resolver = rondel_query::Resolver<Client>;
/// The function of a [`Resolver`].
pub type Handler = rondel_query::Handler<Client>;
/// The step of a [`Resolver`] that rewrites arguments.
pub type Prepare = rondel_query::resolver::Prepare<Client>;

/// The client that makes a call.
pub fn client(caller: &Caller) -> &Client {
    &caller.context
}

/// The client of a field that uses the client's machine.
///
/// # Errors
/// When this is not the client that selected the field.
pub fn client_on_machine(cx: &ResolverContext) -> Result<&Client> {
    let me = client(&cx.caller);
    me.check_own(&format!("evaluate `{}`", cx.call.field()))?;
    Ok(me)
}

/// The context in which ops run for the caller. They report progress where the caller does.
pub fn op_cx(cx: &ResolverContext) -> OpContext {
    let mut op_cx = client(&cx.caller).op_cx.clone();
    op_cx.events = cx.caller.events.for_call(cx.call.digest().short());
    op_cx
}

/// The ops, and the context in which they run on behalf of the caller.
pub fn ops_and_context(cx: &ResolverContext) -> (Arc<Ops>, OpContext) {
    (client(&cx.caller).services.ops.clone(), op_cx(cx))
}

impl Client {
    /// The client whose files are "the host" for module sources: `origin`, or the client itself.
    pub fn host_client(&self) -> &Client {
        self.origin.as_deref().unwrap_or(self)
    }

    /// Returns a copy of the client. Processes that its calls start act as `children_act_as`, or
    /// are clients of their own with `None`. With `adopts` the same holds for processes of recipes
    /// that it brings.
    #[must_use]
    pub fn with_children_acting_as(&self, children_act_as: Option<ActingModule>, adopts: bool) -> Self {
        let mine = self.scope.as_deref().cloned().unwrap_or_default();
        let scope = Some(Arc::new(ExecScope { children_act_as, adopts, started: Arc::default(), ..mine }));
        Self { scope, ..self.copy() }
    }

    /// Returns a copy of the client for which the engine connects only to addresses outside of this
    /// machine and its networks.
    #[must_use]
    pub fn with_outside_egress(&self) -> Self {
        Self { op_cx: OpContext { egress: EgressScope::Outside, ..self.op_cx.clone() }, ..self.copy() }
    }

    /// Returns a copy of the client for calls that another client selected: without its machine,
    /// its environment and its credentials, and with connections to the outside only.
    #[must_use]
    pub fn without_client_access(&self) -> Self {
        Self { link: None, without_client_access: true, ..self.with_outside_egress() }
    }

    /// Whether it is a process in a container, or evaluates a call that one selected.
    pub fn is_nested_client(&self) -> bool {
        self.origin.is_some() || self.without_client_access
    }

    /// Checks that the client may use its own machine, environment and credentials.
    ///
    /// # Errors
    /// When it evaluates a call that another client selected.
    pub fn check_own(&self, doing: &str) -> Result<()> {
        match self.without_client_access {
            false => Ok(()),
            true => Err(Fault::denied(format!(
                "cannot {doing} for this client: a process in a container asked for it, and meant its own machine"
            ))
            .with_hint("select it again as the client whose machine is meant, and pass the result")),
        }
    }

    fn copy(&self) -> Self {
        Self {
            id: self.id.clone(),
            session: self.session.clone(),
            services: self.services.clone(),
            workdir: self.workdir.clone(),
            host_root: self.host_root.clone(),
            own_modules: self.own_modules,
            link: self.link.clone(),
            machine: self.machine.clone(),
            scope: self.scope.clone(),
            origin: self.origin.clone(),
            served: Mutex::new(lock(&self.served).clone()),
            op_cx: self.op_cx.clone(),
            without_client_access: self.without_client_access,
        }
    }

    /// The path of this machine for `path` of the client. `~` is not expanded.
    pub fn host_path(&self, path: &str) -> PathBuf {
        let inside = rondel_model::AbsPath::new(&self.workdir.to_string_lossy()).join(path);
        self.host_root.join(inside.relative())
    }
}

/// Checks that a client has `entitlement`.
///
/// # Errors
/// When it does not. The hints say how to allow it.
pub fn check_entitled(client: &Client, entitlement: Entitlement) -> Result<()> {
    // The user's own clients are no process in a container.
    let Some(scope) = &client.scope else { return Ok(()) };
    let module =
        scope.acting_module.as_ref().or(scope.children_act_as.as_ref()).map(|acting_module| &*acting_module.source);
    if client.session.grants.include(entitlement, module) {
        return Ok(());
    }
    let who = match module {
        None => "a process in a container".to_owned(),
        Some("") => "a module without a place of its own".to_owned(),
        Some(module) => format!("the module `{module}`"),
    };
    // Users of BuildKit match on the last words.
    let fault = Fault::denied(format!("{who} may not ask for this: {entitlement} is not allowed"));
    let fault = fault.with_code(Code::EntitlementRequired).with_hint(format!(
        "`--allow {entitlement}` allows it to every module and process of the session, `allow = [\"{entitlement}\"]` in \
         the configuration to those of every session"
    ));
    Err(match module.filter(|module| !module.is_empty()) {
        Some(module) => fault.with_hint(format!("`--allow {entitlement}={module}` allows it to this module alone")),
        None => fault,
    })
}
