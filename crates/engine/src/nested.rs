//! Serves the API inside a container. The listener decides the exec scope: every connection on it
//! acts with that scope.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondel_api::providers::ClientSecrets;
use rondel_events::{Emitter, Sink};
use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_graph::Evaluation;
use rondel_hostlink::HostLink;
use rondel_link::Hello;
use rondel_model::exec::Scope;
use rondel_modules::Modules;
use rondel_ops::{OpContext, ScopeBinding, ScopedProcess, Scopes};
use rondel_ports::BoxFuture;
use rondel_ports::egress::EgressScope;
use rondel_ports::streams::Machine;
use rondel_session::{Caller, Client, ClientLink, ClientServices, Evaluator, ExecScope, Services, Session};
use rondel_version::{ENGINE, View};
use rondel_web::{Admission, ServerLimits};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::attach::{self, AttachPoint};
use crate::client_link::Link;
use crate::client_redaction::RedactedEvents;
use crate::client_registry::AttachedClient;
use crate::container_machine::ContainerMachine;
use crate::graphql_request::{error_json, execute_body};
use crate::instruments::Instruments;
use crate::operator_log::report_errors;
use crate::responses;
use crate::warnings::NetworksWithWarnings;

/// The header in which client libraries describe themselves.
const METADATA_HEADER: &str = "x-dagger-client-metadata";
/// How many API versions the processes of one container may name at a time.
const MAX_VERSIONS: usize = 64;
/// How many processes of one container may be attached at a time.
const MAX_ATTACHED: usize = 64;
/// How many connections one container may have at a time.
const MAX_CONNECTIONS: usize = 512;

/// The longest line of an attached process after its hello, in bytes: it is asked nothing.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Serves the API to processes in containers, and makes their callers.
pub struct NestedApi {
    /// What every handler may use.
    pub services: Arc<Services>,
    /// Evaluates calls.
    pub evaluator: Arc<Evaluator>,
    /// Loads and serves modules.
    pub modules: Arc<Modules>,
    /// Files of this machine and of containers.
    pub host: Arc<HostLink>,
    /// Networks of containers.
    pub networks: Arc<NetworksWithWarnings>,
    /// Fires when the engine is to end.
    pub ending: CancellationToken,
    /// Instruments for monitoring.
    pub instruments: Arc<Instruments>,
}

/// The process in a container that a nested client comes from.
#[derive(Clone)]
pub struct NestedClient {
    /// The client whose files are "the host".
    pub origin: Arc<Client>,
    /// Where the work for its requests is reported.
    pub events: Emitter,
    /// The prefix that stands for its root in paths of host files.
    pub root: PathBuf,
    /// Its working directory inside the root.
    pub workdir: PathBuf,
    /// Its environment.
    pub link: Arc<dyn ClientLink>,
    /// Its sockets and ports.
    pub machine: Arc<dyn Machine>,
}

impl NestedApi {
    /// A caller for a process in a container. It sees what its scope decides, and nothing else. A
    /// process that acts as no module is a client of its own, of the version `asked` if it named
    /// one. With `own_modules`, modules that it names are files of its own, whatever its scope.
    fn caller(
        self: &Arc<Self>,
        process: &NestedClient,
        scope: &Arc<ExecScope>,
        asked: Option<View>,
        own_modules: bool,
    ) -> Arc<Caller> {
        let view = scope.acting_module.as_ref().map_or(asked.unwrap_or(ENGINE), |acting_module| acting_module.view);
        let child_identity = scope.child_identity();
        let module = scope.acting_module.as_ref().map(|acting_module| acting_module.implementation);
        let id = fresh_id("n");
        let session = process.origin.session.clone();
        let origin = Arc::downgrade(&process.origin);
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
                secrets: ClientSecrets::new(session.clone(), origin.clone()),
                scopes: NestedScopes::new(self, session.clone(), origin),
                services: ClientServices::new(self.services.ops.clone(), session.services.clone(), module),
                sockets: session.sockets.clone(),
                egress: EgressScope::Outside,
                failures: process.origin.op_cx.failures.clone(),
            },
            without_client_access: false,
        });
        let schema = self.modules.client_schema(&client, view);
        let caller = Caller::new(session.id.clone(), id, view, schema, process.events.clone(), client);
        Arc::new(caller.with_nested_client(true).with_child_identity(child_identity))
    }
}

/// A new name for a session or client, which begins with `prefix`.
pub(crate) fn fresh_id(prefix: &str) -> Arc<str> {
    format!("{prefix}{:032x}", rand::random::<u128>()).into()
}

/// Gives processes of one client access to the API.
pub struct NestedScopes {
    api: Weak<NestedApi>,
    session: Arc<Session>,
    origin: Weak<Client>,
}

impl NestedScopes {
    /// Scopes for processes of `origin`, a client of `session`. Their module sources and contextual
    /// arguments are files of `origin`.
    pub fn new(api: &Arc<NestedApi>, session: Arc<Session>, origin: Weak<Client>) -> Arc<Self> {
        Arc::new(Self { api: Arc::downgrade(api), session, origin })
    }
}

impl Scopes for NestedScopes {
    fn session(&self) -> &str {
        &self.session.id
    }

    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding> {
        let gone = || Fault::cancelled(format!("the client of session `{}` is gone", self.session.id));
        let api = self.api.upgrade().ok_or_else(gone)?;
        let ScopedProcess { listener, events, root, workdir, env, version, namespace } = process;
        let root = api.host.enter(root);
        let nested = NestedClient {
            origin: self.origin.upgrade().ok_or_else(gone)?,
            events,
            root: root.path().to_owned(),
            workdir: PathBuf::from(workdir.as_str()),
            link: Arc::new(ContainerClientLink { env: env.into_iter().collect() }),
            machine: Arc::new(ContainerMachine::new(api.host.clone(), api.networks.clone(), namespace)),
        };
        let record = scope.record.clone().and_then(|record| record.0.downcast::<ExecScope>().ok());
        let scope = record.ok_or_else(|| Fault::bug("a process has an exec scope that the engine did not make"))?;
        let asked = version.filter(|_| scope.acting_module.is_none()).map(|version| View::of_client(&version));
        let caller = api.caller(&nested, &scope, asked, false);
        // A version that a process names takes precedence over its environment, and never over the
        // module.
        let fixed = scope.acting_module.is_some();
        let ending = api.ending.child_token();
        let endpoint = NestedEndpoint {
            api,
            nested,
            scope,
            evaluation: Evaluation::current(),
            caller,
            fixed,
            others: Arc::default(),
            attached: Arc::default(),
            slots: Arc::new(Semaphore::new(MAX_ATTACHED)),
            admission: Admission::default(),
            ending: ending.clone(),
        };
        let port = listener.local_addr().attempt(|| "read the port of a nested API".into())?.port();
        listener.set_nonblocking(true).attempt(|| "serve a nested API".into())?;
        let listener = tokio::net::TcpListener::from_std(listener).attempt(|| "serve a nested API".into())?;
        let limits = ServerLimits::for_connections(MAX_CONNECTIONS);
        let serving = rondel_web::serve(listener, routes(endpoint), limits, ending.clone());
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        // Paths of the process can be resolved for as long as the API is served.
        Ok(ScopeBinding { env: environment(port), guard: Box::new((ending.drop_guard(), serving, root)) })
    }
}

/// The link to a client in a container: variables are those of the container.
struct ContainerClientLink {
    env: HashMap<String, String>,
}

impl ClientLink for ContainerClientLink {
    fn variable<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(std::future::ready(Ok(self.env.get(name).cloned())))
    }

    fn command<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(std::future::ready(Err(outside("cmd"))))
    }

    fn secret<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        let scheme = uri.split("://").next().unwrap_or_default();
        Box::pin(std::future::ready(Err(outside(scheme))))
    }
}

fn outside(scheme: &str) -> Fault {
    Fault::user(format!("secret provider `{scheme}` needs a client on a host, not a process in a container"))
        .with_hint("pass the secret into the container as an argument or a variable")
}

/// The variables by which a client library finds the API. The official libraries read these names.
fn environment(port: u16) -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        ("DAGGER_SESSION_PORT".into(), port.to_string()),
        // Being able to connect is the authorization: the listener is in the process's own network
        // namespace.
        ("DAGGER_SESSION_TOKEN".into(), format!("{:032x}", rand::random::<u128>())),
        ("DAGGER_ENGINE_NUM_CPU".into(), cores.to_string()),
    ]
}

/// The endpoint of one container.
#[derive(Clone)]
pub struct NestedEndpoint {
    api: Arc<NestedApi>,
    nested: NestedClient,
    scope: Arc<ExecScope>,
    /// The evaluation that waits for the process. What the process asks for is a part of it, so
    /// that a process that asks for its own result, or for that of the function call that it
    /// serves, gets an error and does not wait for itself.
    evaluation: Evaluation,
    /// The caller of requests that name no attached client.
    caller: Arc<Caller>,
    /// The module as which the process acts decides the version.
    fixed: bool,
    /// Callers of other versions, for processes that name one.
    others: Arc<Mutex<HashMap<View, Arc<Caller>>>>,
    /// Processes that attached. Each is a client of its own with this scope: serving it a module
    /// does not change what other processes see.
    attached: Arc<Mutex<HashMap<String, AttachedClient>>>,
    /// Slots for further attached processes.
    slots: Arc<Semaphore>,
    /// Limits requests of processes that did not attach.
    admission: Admission,
    /// Fires when the API is no longer served.
    ending: CancellationToken,
}

/// The API in a container as a point at which processes attach, with the slot of one process.
struct ExecAttachPoint {
    endpoint: NestedEndpoint,
    _slot: OwnedSemaphorePermit,
}

impl AttachPoint for ExecAttachPoint {
    fn attach(&self, hello: Hello, _: &Arc<Link>, sink: Arc<dyn Sink>) -> Result<AttachedClient> {
        self.endpoint.attach(hello, sink)
    }

    fn detach(&self, id: &str) {
        self.endpoint.detach(id);
    }

    fn max_line_bytes(&self) -> u64 {
        MAX_LINE_BYTES
    }

    fn instruments(&self) -> &Instruments {
        &self.endpoint.api.instruments
    }
}

impl NestedEndpoint {
    /// Attaches a process as a client of its own in the scope of this endpoint. `sink` receives the
    /// events of its requests.
    ///
    /// # Errors
    /// When the process asks for something that a process in a container cannot have.
    pub(crate) fn attach(&self, hello: Hello, sink: Arc<dyn Sink>) -> Result<AttachedClient> {
        if !hello.interactive.is_empty() {
            return Err(Fault::user("a process in a container cannot use `--interactive`: it has no terminal to show"));
        }
        if !hello.allow.is_empty() {
            let fault =
                Fault::denied("a process in a container cannot use `--allow`: only a client outside allows things");
            return Err(fault.with_hint("give `--allow` to the command on your machine"));
        }
        let sink = RedactedEvents::new(self.nested.origin.session.secrets.clone(), sink);
        let nested =
            NestedClient { events: self.nested.events.also(sink), workdir: hello.workdir, ..self.nested.clone() };
        let asked = Some(&hello.version).filter(|version| !version.is_empty()).map(|version| View::of_client(version));
        let view = asked.filter(|_| !self.fixed).unwrap_or(self.caller.view);
        let caller = self.api.caller(&nested, &self.scope, Some(view), true);
        let client = AttachedClient::new(caller, self.ending.child_token(), hello.modules);
        let (session, client_id, origin) = (&*client.caller.session, &*client.caller.client, &*self.nested.origin.id);
        tracing::info!(session, client = client_id, origin, "client attached in a container");
        let mut attached = lock(&self.attached);
        attached.insert(client.caller.client.to_string(), client.clone());
        Ok(client)
    }

    /// Detaches a process and cancels its work.
    pub(crate) fn detach(&self, id: &str) {
        let gone = lock(&self.attached).remove(id);
        if let Some(client) = gone {
            client.gone.cancel();
            tracing::info!(session = &*client.caller.session, client = id, "client detached in a container");
        }
    }

    /// The attached process that a request names. Unknown names are ignored: every process here has
    /// this scope.
    fn named(&self, headers: &HeaderMap) -> Option<AttachedClient> {
        let id = headers.get(rondel_link::CLIENT_HEADER).and_then(|v| v.to_str().ok())?;
        lock(&self.attached).get(id).cloned()
    }

    /// The caller of a request. A process may name the version of its library, unless a module
    /// decides it.
    fn caller(&self, headers: &HeaderMap) -> Arc<Caller> {
        let version = headers.get(METADATA_HEADER).and_then(|value| version_in(value.as_bytes()));
        let view = version.filter(|_| !self.fixed).map(|version| View::of_client(&version));
        let Some(view) = view.filter(|view| *view != self.caller.view) else { return self.caller.clone() };
        let mut others = lock(&self.others);
        // The bound keeps a process from filling the memory with versions.
        if others.len() >= MAX_VERSIONS {
            others.clear();
        }
        let caller = || self.api.caller(&self.nested, &self.scope, Some(view), false);
        others.entry(view).or_insert_with(caller).clone()
    }
}

/// The version of the library in the metadata header. A client that names none gets the engine's
/// version: docs/protocol.md#client-metadata.
fn version_in(metadata: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        client_version: String,
    }
    let json = STANDARD.decode(metadata).ok()?;
    serde_json::from_slice::<Metadata>(&json).ok().map(|metadata| metadata.client_version)
}

/// The routes. Being able to connect is the authorization, so no token is checked.
fn routes(endpoint: NestedEndpoint) -> Router {
    Router::new()
        .route(rondel_link::QUERY, post(query).get(query_in_url))
        .route(rondel_link::ATTACH, get(attach_process))
        .route(rondel_link::SERVED, get(served))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .with_state(endpoint)
}

async fn attach_process(State(endpoint): State<NestedEndpoint>, request: Request) -> Response<Body> {
    match endpoint.slots.clone().try_acquire_owned() {
        Ok(slot) => attach::upgrade(request, ExecAttachPoint { endpoint, _slot: slot }),
        Err(_) => {
            let why = format!("{MAX_ATTACHED} processes of this container are attached, which is the most");
            let (session, client) = (&*endpoint.caller.session, &*endpoint.caller.client);
            tracing::warn!(session, client, reason = why, "client refused");
            endpoint.api.instruments.clients_refused.inc();
            (StatusCode::SERVICE_UNAVAILABLE, error_json(&why)).into_response()
        }
    }
}

async fn served(State(endpoint): State<NestedEndpoint>, headers: HeaderMap) -> Response<Body> {
    match endpoint.named(&headers) {
        Some(client) => match client.prepare(&endpoint.api.modules, &endpoint.api.evaluator).await {
            Ok(()) => responses::json(&client.served(&endpoint.api.modules)).into_response(),
            Err(fault) => (StatusCode::BAD_REQUEST, responses::refused(fault).body()).into_response(),
        },
        None => responses::unknown_client(),
    }
}

/// Executes a query in the query string of the URL: docs/protocol.md#http-endpoint.
async fn query_in_url(
    State(endpoint): State<NestedEndpoint>,
    headers: HeaderMap,
    RawQuery(parts): RawQuery,
) -> Response<Body> {
    let body = body_of(&parts.unwrap_or_default());
    // The content length describes the body of the GET request, not the query.
    let headers =
        headers.into_iter().filter(|(name, _)| !matches!(name, Some(name) if *name == header::CONTENT_LENGTH));
    answered(endpoint, headers.filter_map(|(name, value)| Some((name?, value))).collect(), body.into()).await
}

async fn query(State(endpoint): State<NestedEndpoint>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    answered(endpoint, head.headers, body).await
}

async fn answered(endpoint: NestedEndpoint, headers: HeaderMap, body: Body) -> Response<Body> {
    endpoint.evaluation.clone().scope(answered_within(endpoint, headers, body)).await
}

async fn answered_within(endpoint: NestedEndpoint, headers: HeaderMap, body: Body) -> Response<Body> {
    let named = endpoint.named(&headers);
    let admission = named.as_ref().map_or(&endpoint.admission, |client| &client.admission);
    let (body, _admitted) = match admission.admit(&headers, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let Some(client) = named else {
        return responses::graphql(execute(&endpoint.api, &endpoint.caller(&headers), &body).await);
    };
    let work = async {
        match client.prepare(&endpoint.api.modules, &endpoint.api.evaluator).await {
            Ok(()) => execute(&endpoint.api, &client.caller, &body).await,
            Err(fault) => report(&endpoint.api, &client.caller, &responses::refused(fault)),
        }
    };
    responses::graphql(tokio::select! {
        text = work => text,
        () = client.gone.cancelled() => error_json("the client is gone"),
    })
}

/// The response to `body`, as JSON.
async fn execute(api: &NestedApi, caller: &Arc<Caller>, body: &[u8]) -> String {
    match execute_body(&api.evaluator, caller, body).await {
        Ok(response) => report(api, caller, &response),
        Err(invalid) => {
            api.instruments.invalid_request();
            invalid
        }
    }
}

fn report(api: &NestedApi, caller: &Caller, response: &rondel_query::Response) -> String {
    report_errors(&caller.session, &caller.client, response, &api.instruments);
    response.body()
}

/// The request body for a query in a query string.
fn body_of(parts: &str) -> String {
    let parts: HashMap<_, _> = url::form_urlencoded::parse(parts.as_bytes()).collect();
    let [query, name] = ["query", "operationName"].map(|part| json!(parts.get(part)));
    // Malformed JSON is refused in the same way as in a body.
    let variables = parts.get("variables").filter(|text| !text.is_empty()).map_or("null", |text| text.as_ref());
    format!(r#"{{"query": {query}, "operationName": {name}, "variables": {variables}}}"#)
}
