//! The attached clients of the engine, by name.
//!
//! *Invariants.* A leaf: nothing here starts, stops or wires anything. Clients hold the services of
//! the engine, so whatever those services are made of holds the registry weakly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rondel_events::Emitter;
use rondel_fault::{Fault, Kind, Result, lock};
use rondel_link::{ModuleRequest, Served, ServedModule};
use rondel_modules::{Modules, ResolveOptions};
use rondel_session::{Caller, Evaluator};
use rondel_web::Admission;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The attached clients of one engine.
#[derive(Debug)]
pub struct ClientRegistry(Mutex<RegistryState>);

#[derive(Debug)]
struct RegistryState {
    attached: HashMap<Arc<str>, AttachedClient>,
    idle_since: Instant,
}

/// When a client attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachTime {
    /// Milliseconds on the clock of last uses.
    pub clock: i64,
    /// The clock of the graph of results, which counts uses.
    pub graph_clock: u64,
}

/// An attached client.
#[derive(Clone)]
pub struct AttachedClient {
    /// The client, as handlers see it.
    pub caller: Arc<Caller>,
    /// Fires when the client goes away.
    pub gone: CancellationToken,
    /// Limits the client's requests.
    pub admission: Admission,
    requested: Arc<Vec<ModuleRequest>>,
    prepared: Arc<OnceCell<Result<()>>>,
    /// The session ends with this client.
    pub(crate) is_main: bool,
    /// When the client attached.
    pub(crate) since: AttachTime,
}

impl std::fmt::Debug for AttachedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachedClient").field("client", &self.caller.client).finish_non_exhaustive()
    }
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
            since: AttachTime::default(),
        }
    }

    /// Serves the modules that the client asked for, once. Every request waits for that.
    ///
    /// # Errors
    /// When a module cannot be loaded or served.
    pub async fn prepare(&self, modules: &Arc<Modules>, evaluator: &Arc<Evaluator>) -> Result<()> {
        let load = || async {
            for request in self.requested.iter() {
                self.serve(modules, evaluator, request).await?;
            }
            Ok(())
        };
        self.prepared.get_or_init(load).await.clone()
    }

    async fn serve(&self, modules: &Arc<Modules>, evaluator: &Arc<Evaluator>, request: &ModuleRequest) -> Result<()> {
        let source = match modules.sources.resolve(&self.caller, &request.reference, ResolveOptions::default()).await {
            Ok(source) => source,
            Err(fault) if request.optional && fault.kind() == Kind::User => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let module = modules.load(Some(evaluator), &self.caller, &source).await?;
        modules.serve(&self.caller, &module, false, request.entrypoint)
    }

    /// The modules that the client is served.
    pub fn served(&self, modules: &Modules) -> Served {
        let served = lock(&rondel_session::client(&self.caller).served).clone();
        let describe =
            |rondel_module_model::ServedModule { module, .. }: &rondel_module_model::ServedModule| ServedModule {
                name: module.name().to_owned(),
                description: module.types.description.to_string(),
                constructor: modules.schema_of(module).constructor.as_ref().map(|field| field.name.to_string()),
                broken: module.broken.iter().map(broken).collect(),
                explanation: modules.explain(module),
            };
        Served { modules: served.iter().map(describe).collect() }
    }
}

fn broken((name, why): &(String, Fault)) -> String {
    format!("the dependency `{name}` could not be loaded: {}", why.full_message())
}

impl Default for ClientRegistry {
    fn default() -> Self {
        Self(Mutex::new(RegistryState { attached: HashMap::new(), idle_since: Instant::now() }))
    }
}

impl ClientRegistry {
    /// Adds a client under its name.
    pub(crate) fn add(&self, client: AttachedClient) {
        self.state().attached.insert(client.caller.client.clone(), client);
    }

    /// Removes the client `id`. The engine is idle from now on if it was the last one.
    pub(crate) fn remove(&self, id: &str) -> Option<AttachedClient> {
        let mut state = self.state();
        state.idle_since = Instant::now();
        state.attached.remove(id)
    }

    /// The attached client `id`.
    pub fn get(&self, id: &str) -> Option<AttachedClient> {
        self.state().attached.get(id).cloned()
    }

    /// The number of attached clients.
    pub fn len(&self) -> usize {
        self.state().attached.len()
    }

    /// Whether no client is attached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of sessions: each has one main client.
    pub fn sessions(&self) -> usize {
        self.state().attached.values().filter(|client| client.is_main).count()
    }

    /// The names of the attached clients, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.state().attached.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    /// When the client attached that has been attached for longest. `None` without clients.
    pub(crate) fn oldest(&self) -> Option<AttachTime> {
        self.state().attached.values().map(|client| client.since).min()
    }

    /// The emitters of the attached clients.
    pub(crate) fn emitters(&self) -> Vec<Emitter> {
        self.state().attached.values().map(|client| client.caller.events.clone()).collect()
    }

    /// How long no client has been attached. `None` while one is.
    pub fn idle(&self) -> Option<Duration> {
        let state = self.state();
        state.attached.is_empty().then(|| state.idle_since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        lock(&self.0)
    }
}
