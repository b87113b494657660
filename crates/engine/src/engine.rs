//! A running engine: its parts, and what happens when clients attach and detach.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rondel_api::providers::ClientSecrets;
use rondel_events::{Emitter, Sink};
use rondel_fault::{Fault, Result};
use rondel_link::{Hello, Status};
use rondel_ops::{Failures, OpContext};
use rondel_ports::egress::EgressScope;
use rondel_ports::streams::Machine;
use rondel_session::{Caller, Client, ClientLink, ClientServices, Grants, Session};
use rondel_store::Store;
use rondel_version::View;
use tokio_util::sync::CancellationToken;

use crate::client_redaction::RedactedEvents;
use crate::client_registry::{AttachTime, AttachedClient, ClientRegistry};
use crate::gc::GarbageCollector;
use crate::log_output::LogOutput;
use crate::nested::{NestedApi, NestedScopes, fresh_id};
use crate::operator_log::OperatorLog;
use crate::streams::Tickets;
use crate::work_tracker::WorkTracker;

/// A running engine.
pub struct Engine {
    /// The API for processes in containers, with everything that evaluates calls.
    pub api: Arc<NestedApi>,
    /// The store, for warnings about damage.
    pub store: Arc<Store>,
    /// Garbage collection of the cache.
    pub gc: GarbageCollector,
    /// What runs now, and the inputs of what ran.
    pub tracker: Arc<WorkTracker>,
    /// The commit that the engine was built from, if its build says so.
    pub commit: Option<String>,
    /// Attached clients.
    pub clients: Arc<ClientRegistry>,
    /// Whether the engine runs as an ordinary user.
    pub rootless: bool,
    /// Fires when the engine is to end.
    pub ending: CancellationToken,
    /// Streams that clients were asked to open.
    pub tickets: Arc<Tickets>,
    /// What every session allows modules and processes in containers.
    pub grants: Grants,
    /// When the engine started.
    pub started: Instant,
    /// The log for operators.
    pub log: LogOutput,
}

impl Engine {
    /// Attaches the main client of a new session, or a further one of the session of `joined`.
    ///
    /// # Errors
    /// When it allows what cannot be allowed, or the session it wants to join is over.
    pub fn attach(
        &self,
        hello: Hello,
        link: Arc<dyn ClientLink>,
        machine: Arc<dyn Machine>,
        sink: Arc<dyn Sink>,
        joined: Option<&AttachedClient>,
    ) -> Result<AttachedClient> {
        let session = match joined {
            None => Session::new(fresh_id("s"), self.grants.clone()),
            Some(joined) if joined.gone.is_cancelled() => return Err(Fault::cancelled("the session is over")),
            Some(joined) => rondel_session::client(&joined.caller).session.clone(),
        };
        session.grants.allow(&hello.allow, &hello.workdir)?;
        let id = fresh_id("c");
        let title = title(&hello);
        if joined.is_none() {
            self.log.redact(&session);
        }
        let sink = RedactedEvents::new(session.secrets.clone(), sink);
        let log = OperatorLog::new(session.id.clone(), id.clone(), sink, self.api.instruments.clone());
        let events = Emitter::new(log);
        let failures = (!hello.interactive.is_empty()).then(|| Failures::new(hello.interactive));
        let client = Arc::new_cyclic(|this| Client {
            id: id.clone(),
            session: session.clone(),
            services: self.api.services.clone(),
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
                secrets: ClientSecrets::new(session.clone(), this.clone()),
                scopes: NestedScopes::new(&self.api, session.clone(), this.clone()),
                services: ClientServices::new(self.api.services.ops.clone(), session.services.clone(), None),
                sockets: session.sockets.clone(),
                egress: EgressScope::Anywhere,
                failures,
            },
            without_client_access: false,
        });
        let view = View::of_client(&hello.version);
        let schema = self.api.services.registry.project(view);
        let caller = Arc::new(Caller::new(session.id.clone(), id, view, schema, events, client));
        let gone = joined.map_or(&self.ending, |joined| &joined.gone).child_token();
        let mut attached = AttachedClient::new(caller, gone, hello.modules);
        attached.is_main = joined.is_none();
        attached.since = AttachTime { clock: self.tracker.now(), graph_clock: self.api.evaluator.graph().clock() };
        if attached.is_main {
            self.tracker.input_log.session(attached.since.clock, &attached.caller.session, title.clone());
        }
        let (session, client) = (&*attached.caller.session, &*attached.caller.client);
        tracing::info!(session, client, view = %view, main = attached.is_main, title, "client attached");
        self.clients.add(attached.clone());
        self.api.networks.warn_first_client(&attached.caller.events);
        Ok(attached)
    }

    /// Detaches a client, and cancels its work unless other clients wait for it.
    pub fn detach(&self, id: &str) {
        let Some(attached) = self.clients.remove(id) else { return };
        attached.gone.cancel();
        let (session, client) = (&*attached.caller.session, &*attached.caller.client);
        let attached_ms = self.tracker.now() - attached.since.clock;
        tracing::info!(session, client, attached_ms, main = attached.is_main, "client detached");
        if attached.is_main {
            self.api.evaluator.end_session(&attached.caller.session);
            rondel_session::client(&attached.caller).session.services.close();
        }
    }

    /// Missing host features, and damage that was found.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.api.networks.all();
        let more = self.store.warnings();
        let more: Vec<String> = more.into_iter().filter(|note| !warnings.contains(note)).collect();
        warnings.extend(more);
        warnings
    }

    /// The labels of running calls, execs and pulls, sorted.
    fn running(&self) -> Vec<String> {
        let (calls, work) = (self.api.evaluator.graph().running_labels(), self.api.services.ops.running_labels());
        let mut labels: Vec<String> = calls.iter().chain(&work).map(ToString::to_string).collect();
        labels.sort_unstable();
        labels
    }

    /// The status of the engine.
    pub fn status(&self) -> Status {
        Status {
            version: crate::VERSION.to_owned(),
            commit: self.commit.clone(),
            api_version: rondel_version::ENGINE.to_string(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            clients: self.clients.len(),
            results: self.api.evaluator.graph().len(),
            running: self.running(),
            execs: self.api.services.ops.stats().execs_run.load(std::sync::atomic::Ordering::Relaxed),
            rootless: self.rootless,
            notes: self.warnings(),
        }
    }
}

/// A description of a session for `rondel cache why`.
fn title(hello: &Hello) -> String {
    let modules: Vec<&str> =
        hello.modules.iter().filter(|module| !module.optional).map(|module| module.reference.as_str()).collect();
    let place = hello.workdir.display();
    if modules.is_empty() { format!("in {place}") } else { format!("in {place}, module {}", modules.join(", ")) }
}
