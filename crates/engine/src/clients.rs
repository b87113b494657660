//! The engine's clients: who is attached, and what each is served.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rondel_api::providers::ClientSecrets;
use rondel_events::Emitter;
use rondel_fault::{Fault, Kind, Result};
use rondel_hostlink::HostLink;
use rondel_link::{Hello, ModuleRequest, Served, ServedModule, Status};
use rondel_modules::{Lookup, Modules};
use rondel_ops::{Failures, OpContext};
use rondel_ports::egress::Reach;
use rondel_ports::streams::Machine;
use rondel_query::{Caller, Evaluator};
use rondel_session::{Client, ClientLink, ClientServices, ExecScope, Grants, Services, Session};
use rondel_store::Store;
use rondel_version::{ENGINE, View};
use rondel_web::Admission;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::gc::GarbageCollector;
use crate::nested::NestedScopes;
use crate::streams::Tickets;
use crate::warnings::NetworksWithWarnings;

/// A running engine.
pub struct Engine {
    /// What every handler may use.
    pub services: Arc<Services>,
    /// Evaluates calls.
    pub evaluator: Arc<Evaluator>,
    /// Loads and serves modules.
    pub modules: Arc<Modules>,
    /// The store, for checks.
    pub store: Arc<Store>,
    /// Files of this machine and of containers.
    pub host: Arc<HostLink>,
    /// Networks of containers, and remarks on what this machine lacks.
    pub networks: Arc<NetworksWithWarnings>,
    /// What keeps the disk in order.
    pub gc: Arc<GarbageCollector>,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Fires when the engine is to end.
    pub ending: CancellationToken,
    /// Streams that clients were asked to open.
    pub tickets: Arc<Tickets>,
    /// What every session allows.
    grants: Grants,
    clients: Mutex<Clients>,
    started: Instant,
}

struct Clients {
    attached: HashMap<Arc<str>, AttachedClient>,
    idle_since: Instant,
}

/// An attached client.
#[derive(Clone)]
pub struct AttachedClient {
    /// Who it is, to handlers.
    pub caller: Arc<Caller>,
    /// Fires when it goes away.
    pub gone: CancellationToken,
    /// Lets its requests in.
    pub admission: Admission,
    requested: Arc<Vec<ModuleRequest>>,
    prepared: Arc<OnceCell<Result<()>>>,
    /// Its session ends with it.
    is_main: bool,
    /// When it attached, on the clock of uses, and as uses of results are counted.
    since: (i64, u64),
}

impl AttachedClient {
    /// A client that is served `modules` before its first request. It is gone when `gone` fires.
    pub(crate) fn new(caller: Arc<Caller>, gone: CancellationToken, modules: Vec<ModuleRequest>) -> Self {
        Self {
            caller,
            gone,
            admission: Admission::default(),
            requested: Arc::new(modules),
            prepared: Arc::default(),
            is_main: false,
            since: (0, 0),
        }
    }

    /// Serves the modules it asked for, once; every request waits for that.
    ///
    /// # Errors
    /// When one cannot be loaded or served.
    pub async fn prepare(&self, engine: &Engine) -> Result<()> {
        let load = || async {
            for request in self.requested.iter() {
                self.serve(engine, request).await?;
            }
            Ok(())
        };
        self.prepared.get_or_init(load).await.clone()
    }

    async fn serve(&self, engine: &Engine, request: &ModuleRequest) -> Result<()> {
        let modules = &engine.modules;
        let source = match modules.resolve(&self.caller, &request.reference, Lookup::default()).await {
            Ok(source) => source,
            Err(fault) if request.optional && fault.kind() == Kind::User => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let module = modules.load(Some(&engine.evaluator), &self.caller, &source).await?;
        modules.serve(&self.caller, &module, false, request.entrypoint)
    }

    /// The modules that it is served.
    pub fn served(&self, engine: &Engine) -> Served {
        let served = rondel_session::client(&self.caller).map(rondel_modules::load::served).unwrap_or_default();
        let describe = |served: &rondel_modules::serve::Served| ServedModule {
            name: served.surfaced.module.name().to_owned(),
            description: served.surfaced.module.types.description.to_string(),
            constructor: served.surfaced.constructor.as_ref().map(|field| field.name.to_string()),
            broken: served.surfaced.module.broken.iter().map(broken).collect(),
            explanation: engine.modules.explain(&served.surfaced.module),
        };
        Served { modules: served.iter().map(describe).collect() }
    }
}

/// The parts of an engine that wiring makes.
pub struct Parts {
    /// What every handler may use.
    pub services: Arc<Services>,
    /// Evaluates calls.
    pub evaluator: Arc<Evaluator>,
    /// Loads and serves modules.
    pub modules: Arc<Modules>,
    /// The store.
    pub store: Arc<Store>,
    /// Files of this machine and of containers.
    pub host: Arc<HostLink>,
    /// Networks of containers, and remarks on what this machine lacks.
    pub networks: Arc<NetworksWithWarnings>,
    /// What keeps the disk in order.
    pub gc: Arc<GarbageCollector>,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// What every session allows modules and processes in containers.
    pub grants: Grants,
}

impl Engine {
    /// An engine without clients.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { services, evaluator, modules, store, host, networks, gc, rootless, grants } = parts;
        let clients = Mutex::new(Clients { attached: HashMap::new(), idle_since: Instant::now() });
        let started = Instant::now();
        let ending = CancellationToken::new();
        let tickets = Arc::default();
        Arc::new(Self {
            services,
            evaluator,
            modules,
            store,
            host,
            networks,
            gc,
            rootless,
            ending,
            tickets,
            grants,
            clients,
            started,
        })
    }

    /// Attaches the main client of a new session, or a further one of the session of `joined`.
    ///
    /// # Errors
    /// When it allows what cannot be allowed, or the session it wants to join is over.
    pub fn attach(
        self: &Arc<Self>,
        hello: Hello,
        link: Arc<dyn ClientLink>,
        machine: Arc<dyn Machine>,
        events: Emitter,
        joined: Option<&AttachedClient>,
    ) -> Result<AttachedClient> {
        let session = match joined {
            None => Session::new(fresh("s"), self.grants.clone()),
            Some(joined) if joined.gone.is_cancelled() => return Err(Fault::cancelled("the session is over")),
            Some(joined) => rondel_session::client(&joined.caller)?.session.clone(),
        };
        session.grants.allow(&hello.allow, &hello.workdir)?;
        let id = fresh("c");
        let title = title(&hello);
        let scopes = NestedScopes::new(self, session.clone());
        let secrets = ClientSecrets::new(session.clone());
        let failures = (!hello.interactive.is_empty()).then(|| Failures::new(hello.interactive));
        let client = Arc::new(Client {
            id: id.clone(),
            session: session.clone(),
            services: self.services.clone(),
            workdir: hello.workdir,
            host_root: PathBuf::from("/"),
            own_modules: true,
            link: Some(link),
            machine,
            scope: None,
            origin: None,
            served: Mutex::default(),
            op_cx: OpContext {
                events: events.clone(),
                secrets: secrets.clone(),
                scopes: scopes.clone(),
                services: ClientServices::new(session.services.clone(), None),
                sockets: session.sockets.clone(),
                reach: Reach::Anywhere,
                failures,
            },
        });
        secrets.bind(&client);
        scopes.belong_to(&client);
        let view = View::of_client(&hello.version);
        let schema = self.services.registry.project(view);
        let caller = Arc::new(Caller::new(session.id.clone(), id.clone(), view, schema, events, client));
        let gone = joined.map_or(&self.ending, |joined| &joined.gone).child_token();
        let mut attached = AttachedClient::new(caller, gone, hello.modules);
        attached.is_main = joined.is_none();
        attached.since = (self.gc.now(), self.evaluator.graph().moment());
        if attached.is_main {
            self.gc.input_log.session(attached.since.0, &attached.caller.session, title);
        }
        self.clients().attached.insert(id, attached.clone());
        self.networks.warn_first_client(&attached.caller.events);
        Ok(attached)
    }

    /// A caller for a process in a container: what it sees is decided by its scope alone. One that speaks for no module is
    /// a client of its own, of the version `asked` if it named one.
    pub fn nested(
        self: &Arc<Self>,
        process: &NestedClient,
        scope: &Arc<ExecScope>,
        asked: Option<View>,
    ) -> Arc<Caller> {
        self.nested_client(process, scope, asked, false)
    }

    /// The same; `own_modules`: modules that it names are files of its own, whatever its scope.
    pub(crate) fn nested_client(
        self: &Arc<Self>,
        process: &NestedClient,
        scope: &Arc<ExecScope>,
        asked: Option<View>,
        own_modules: bool,
    ) -> Arc<Caller> {
        let view = scope.acting_module.as_ref().map_or(asked.unwrap_or(ENGINE), |acting_module| acting_module.view);
        let child_identity = scope.child_identity();
        let module = scope.acting_module.as_ref().map(|acting_module| acting_module.implementation);
        let id = fresh("n");
        let session = process.origin.session.clone();
        let scopes = NestedScopes::new(self, session.clone());
        let secrets = ClientSecrets::new(session.clone());
        let services = ClientServices::new(session.services.clone(), module);
        secrets.bind(&process.origin);
        scopes.belong_to(&process.origin);
        let client = Arc::new(Client {
            id: id.clone(),
            session: session.clone(),
            services: self.services.clone(),
            workdir: process.workdir.clone(),
            host_root: process.root.clone(),
            own_modules: own_modules || scope.acting_module.is_none(),
            link: Some(process.link.clone()),
            machine: process.machine.clone(),
            scope: Some(scope.clone()),
            origin: Some(process.origin.clone()),
            served: Mutex::default(),
            op_cx: OpContext {
                events: process.events.clone(),
                secrets,
                scopes,
                services,
                sockets: session.sockets.clone(),
                reach: Reach::Outside,
                failures: process.origin.op_cx.failures.clone(),
            },
        });
        let schema = self.modules.client_schema(&client, view);
        let caller = Caller::new(session.id.clone(), id, view, schema, process.events.clone(), client);
        Arc::new(caller.with_child_identity(child_identity))
    }

    /// The attached client called `id`.
    pub fn client(&self, id: &str) -> Option<AttachedClient> {
        self.clients().attached.get(id).cloned()
    }

    /// The names of the attached clients.
    pub(crate) fn client_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.clients().attached.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    /// When the client attached that has been attached for longest, on the clock of uses and as uses of results are counted.
    pub(crate) fn oldest(&self) -> Option<(i64, u64)> {
        self.clients().attached.values().map(|client| client.since).min()
    }

    /// Where the attached clients listen.
    pub(crate) fn listeners(&self) -> Vec<Emitter> {
        self.clients().attached.values().map(|client| client.caller.events.clone()).collect()
    }

    /// Lets a client go, and its work with it unless somebody else waits for it.
    pub fn detach(&self, id: &str) {
        let mut clients = self.clients();
        if let Some(attached) = clients.attached.remove(id) {
            attached.gone.cancel();
            if attached.is_main {
                self.evaluator.end_session(&attached.caller.session);
                if let Ok(client) = rondel_session::client(&attached.caller) {
                    client.session.services.close();
                }
            }
        }
        clients.idle_since = Instant::now();
    }

    /// How long nobody has been attached; none while somebody is.
    pub fn idle(&self) -> Option<std::time::Duration> {
        let clients = self.clients();
        clients.attached.is_empty().then(|| clients.idle_since.elapsed())
    }

    /// What this machine lacks, and what was found damaged.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.networks.all();
        let more = self.store.notes();
        let more: Vec<String> = more.into_iter().filter(|note| !notes.contains(note)).collect();
        notes.extend(more);
        notes
    }

    /// How the engine is.
    pub fn status(&self) -> Status {
        Status {
            version: rondel_version::ENGINE.to_string(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            clients: self.clients().attached.len(),
            results: self.evaluator.graph().len(),
            execs: self.services.ops.stats().execs_run.load(std::sync::atomic::Ordering::Relaxed),
            rootless: self.rootless,
            notes: self.notes(),
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a process in a container comes from.
#[derive(Clone)]
pub struct NestedClient {
    /// The client whose files are "the host".
    pub origin: Arc<Client>,
    /// Where what it asks for is reported.
    pub events: Emitter,
    /// What stands for its root in paths of host files.
    pub root: PathBuf,
    /// Its working directory inside the root.
    pub workdir: PathBuf,
    /// What it has beside files.
    pub link: Arc<dyn ClientLink>,
    /// Its sockets and ports.
    pub machine: Arc<dyn Machine>,
}

/// What people are told of a session.
fn title(hello: &Hello) -> String {
    let modules: Vec<&str> =
        hello.modules.iter().filter(|module| !module.optional).map(|module| module.reference.as_str()).collect();
    let place = hello.workdir.display();
    if modules.is_empty() { format!("in {place}") } else { format!("in {place}, module {}", modules.join(", ")) }
}

fn broken((name, why): &(String, Fault)) -> String {
    format!("the dependency `{name}` could not be loaded: {}", why.full_message())
}

fn fresh(prefix: &str) -> Arc<str> {
    format!("{prefix}{:032x}", rand::random::<u128>()).into()
}
