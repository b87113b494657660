//! One client of one session.

use std::any::Any;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rondel_fault::{Fault, Result, lock};
use rondel_ops::OpContext;
use rondel_ports::BoxFuture;
use rondel_ports::egress::EgressScope;
use rondel_ports::streams::Machine;

use crate::Services;
use crate::entitlements::{Grants, SessionGrants};
use crate::remotes::Remotes;
use crate::scope::{ActingModule, ExecScope};
use crate::secrets::SecretStore;
use crate::services::SessionServices;
use crate::sockets::SocketStore;

/// A session: the clients that share secrets, services and per-session results.
pub struct Session {
    /// Its name.
    pub id: Arc<str>,
    /// Plaintext that its clients gave.
    pub secrets: Arc<SecretStore>,
    /// Sockets that its clients gave.
    pub sockets: Arc<SocketStore>,
    /// Services that its clients use.
    pub services: Arc<SessionServices>,
    /// What git servers said.
    pub remotes: Remotes,
    /// What modules and processes in containers may ask for beyond what everyone may.
    pub grants: SessionGrants,
}

impl Session {
    /// A new session called `id`, which allows what `grants` say from the beginning.
    pub fn new(id: Arc<str>, grants: Grants) -> Arc<Self> {
        let services = SessionServices::new(id.clone());
        let (secrets, sockets) = (Arc::default(), Arc::default());
        let grants = SessionGrants::new(grants);
        Arc::new(Self { secrets, sockets, services, remotes: Remotes::default(), grants, id })
    }
}

/// What the engine can ask of the machine, or the container, in which a client runs.
pub trait ClientLink: Send + Sync {
    /// The value of an environment variable of the client's process.
    fn variable<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>>>;

    /// The standard output of a shell command run by the client.
    fn command<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// The plaintext at the address of a provider that is neither of these.
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
    /// What relative host paths are relative to. For a process in a container: its working directory, below `host_root`.
    pub workdir: PathBuf,
    /// Where the client's file system is found on this machine: `/`, or the root of a running container.
    pub host_root: PathBuf,
    /// Modules that it names are files of its own. Otherwise they are files of `origin`.
    pub own_modules: bool,
    /// The way to the client's process.
    pub link: Option<Arc<dyn ClientLink>>,
    /// Its sockets, ports and terminal.
    pub machine: Arc<dyn Machine>,
    /// The exec scope, for processes in containers.
    pub scope: Option<Arc<ExecScope>>,
    /// The nearest client that is not a process in a container: module sources and contextual arguments are its files.
    pub origin: Option<Arc<Client>>,
    /// The modules it is served, in the order in which they were served. Kept by the module loader, opaque here.
    pub served: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// For whom deferred work is evaluated.
    pub op_cx: OpContext,
    /// It evaluates what another client asked for, and lends it nothing of its own.
    pub is_stranger: bool,
}

/// The types of `rondel_query` whose callers are clients.
pub type Caller = rondel_query::Caller<Client>;
/// Evaluates calls of clients.
pub type Evaluator = rondel_query::Evaluator<Client>;
/// The arguments of a call of a client.
pub type Args = rondel_query::Args<Client>;
/// What a handler receives beside receiver and arguments.
pub type ResolverContext = rondel_query::ResolverContext<Client>;
/// Evaluates a field for clients.
pub type Resolver = rondel_query::Resolver<Client>;
/// The function of a [`Resolver`].
pub type Handler = rondel_query::Handler<Client>;
/// The step of a [`Resolver`] that rewrites arguments.
pub type Prepare = rondel_query::resolver::Prepare<Client>;

/// The client that makes a call.
pub fn client(caller: &Caller) -> &Client {
    &caller.context
}

/// The client that asks, whose own machine the field means.
///
/// # Errors
/// When it is another client than the one that selected the field.
pub fn client_on_machine(cx: &ResolverContext) -> Result<&Client> {
    let me = client(&cx.caller);
    me.check_own(&format!("evaluate `{}`", cx.call.field()))?;
    Ok(me)
}

/// The context for deferred work on behalf of the caller, reporting where the caller reports.
pub fn op_cx(cx: &ResolverContext) -> OpContext {
    let mut op_cx = client(&cx.caller).op_cx.clone();
    op_cx.events = cx.caller.events.for_call(cx.call.digest().short());
    op_cx
}

impl Client {
    /// The client whose files are "the host" for module sources: itself, or its origin.
    pub fn host_client(&self) -> &Client {
        self.origin.as_deref().unwrap_or(self)
    }

    /// The same client; processes that its calls start act as `starts`, or are clients of their own. With `adopts` so do
    /// those of recipes that it brings.
    #[must_use]
    pub fn with_children_acting_as(&self, children_act_as: Option<ActingModule>, adopts: bool) -> Self {
        let mine = self.scope.as_deref().cloned().unwrap_or_default();
        let scope = Some(Arc::new(ExecScope { children_act_as, adopts, started: Arc::default(), ..mine }));
        Self { scope, ..self.again() }
    }

    /// The same client, for whom connections of the engine lead to the outside alone.
    #[must_use]
    pub fn outside(&self) -> Self {
        Self { op_cx: OpContext { egress: EgressScope::Outside, ..self.op_cx.clone() }, ..self.again() }
    }

    /// The same client, as it evaluates what another client asked for: without its machine, its environment and its
    /// credentials. Connections of the engine lead to the outside alone.
    #[must_use]
    pub fn stranger(&self) -> Self {
        Self { link: None, is_stranger: true, ..self.outside() }
    }

    /// Whether it is a process in a container, or evaluates what one asked for.
    pub fn is_foreign(&self) -> bool {
        self.origin.is_some() || self.is_stranger
    }

    /// Refuses what needs the machine of the client that asked, for another client.
    ///
    /// # Errors
    /// When it is a stranger.
    pub fn check_own(&self, doing: &str) -> Result<()> {
        match self.is_stranger {
            false => Ok(()),
            true => Err(Fault::denied(format!(
                "cannot {doing} for this client: a process in a container asked for it, and meant its own machine"
            ))
            .with_hint("select it again as the client whose machine is meant, and pass the result")),
        }
    }

    fn again(&self) -> Self {
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
            is_stranger: self.is_stranger,
        }
    }

    /// `path` as this client means it, as a path of this machine. `~` is not expanded here.
    pub fn host_path(&self, path: &str) -> PathBuf {
        let inside = rondel_model::AbsPath::new(&self.workdir.to_string_lossy()).join(path);
        self.host_root.join(inside.relative())
    }
}
