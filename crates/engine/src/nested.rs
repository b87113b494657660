//! The API inside a container: whoever connects to the listener of an exec *is* its scope.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::exec::Scope;
use rondel_ops::{ScopeBinding, ScopedProcess, Scopes};
use rondel_ports::BoxFuture;
use rondel_query::Caller;
use rondel_session::{Client, ClientLink, ExecScope, Session};
use rondel_version::View;
use serde::Deserialize;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::answer::answer;
use crate::container_machine::ContainerMachine;
use crate::sessions::{Engine, Nesting};

/// The header in which client libraries describe themselves.
const METADATA_HEADER: &str = "x-dagger-client-metadata";
/// How many versions one process may speak as at a time.
const MOST_VERSIONS: usize = 64;

/// Gives processes of one client access to the API.
pub struct NestedScopes {
    engine: Weak<Engine>,
    session: Arc<Session>,
    origin: OnceLock<Weak<Client>>,
}

impl NestedScopes {
    /// For a client of `session` that is being made.
    pub fn new(engine: &Arc<Engine>, session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self { engine: Arc::downgrade(engine), session, origin: OnceLock::new() })
    }

    /// Says whose processes they are: module sources and contextual arguments of theirs are files of `origin`.
    pub fn belong_to(&self, origin: &Arc<Client>) {
        let _ = self.origin.set(Arc::downgrade(origin));
    }
}

impl Scopes for NestedScopes {
    fn session(&self) -> &str {
        &self.session.id
    }

    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding> {
        let gone = || Fault::cancelled(format!("the client of session `{}` is gone", self.session.id));
        let engine = self.engine.upgrade().ok_or_else(gone)?;
        let ScopedProcess { listener, events, root, workdir, env, version, namespace } = process;
        let root = engine.host.enter(root);
        let nesting = Nesting {
            origin: self.origin.get().and_then(Weak::upgrade).ok_or_else(gone)?,
            events,
            root: root.path().to_owned(),
            workdir: PathBuf::from(workdir.as_str()),
            link: Arc::new(Inside { env: env.into_iter().collect() }),
            machine: Arc::new(ContainerMachine::new(engine.host.clone(), engine.networks.clone(), namespace)),
        };
        let record = scope.record.clone().and_then(|record| record.0.downcast::<ExecScope>().ok());
        let scope = record.ok_or_else(|| Fault::bug("a process has an exec scope that the engine did not make"))?;
        let asked = version.filter(|_| scope.speaker.is_none()).map(|version| View::of_client(&version));
        let caller = engine.nested(&nesting, &scope, asked);
        // What a process says of its version counts more than what its environment says, and never more than the module.
        let fixed = scope.speaker.is_some();
        let door = Door { engine, nesting, scope, caller, fixed, others: Arc::default() };
        let port = listener.local_addr().attempt(|| "read the port of a nested API".into())?.port();
        listener.set_nonblocking(true).attempt(|| "serve a nested API".into())?;
        let listener = tokio::net::TcpListener::from_std(listener).attempt(|| "serve a nested API".into())?;
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(door, listener)));
        // The files of the process can be named for as long as the API is served.
        Ok(ScopeBinding { env: environment(port), guard: Box::new((serving, root)) })
    }
}

/// A container as the machine of a client. What its processes ask for is looked for inside it.
struct Inside {
    env: HashMap<String, String>,
}

impl ClientLink for Inside {
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
        .with_hint("Pass the secret into the container as an argument or a variable")
}

/// What a client library needs to find the API. The names are those that the official libraries read.
fn environment(port: u16) -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        ("DAGGER_SESSION_PORT".into(), port.to_string()),
        // Being able to connect is the authorization: the listener is in the process's own network namespace.
        ("DAGGER_SESSION_TOKEN".into(), format!("{:032x}", rand::random::<u128>())),
        ("DAGGER_ENGINE_NUM_CPU".into(), cores.to_string()),
    ]
}

/// Where a process comes in.
#[derive(Clone)]
struct Door {
    engine: Arc<Engine>,
    nesting: Nesting,
    scope: Arc<ExecScope>,
    /// Who the process is.
    caller: Arc<Caller>,
    /// Its version is settled by the module for which it speaks.
    fixed: bool,
    /// The same as a client of another version, for other processes.
    others: Arc<Mutex<HashMap<View, Arc<Caller>>>>,
}

impl Door {
    /// Who asks. A process whose version is not settled may name that of its library.
    fn caller(&self, headers: &HeaderMap) -> Arc<Caller> {
        let version = headers.get(METADATA_HEADER).and_then(|value| version_in(value.as_bytes()));
        let view = version.filter(|_| !self.fixed).map(|version| View::of_client(&version));
        let Some(view) = view.filter(|view| *view != self.caller.view) else { return self.caller.clone() };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // A process cannot fill the memory with versions.
        if others.len() >= MOST_VERSIONS {
            others.clear();
        }
        let caller = || self.engine.nested(&self.nesting, &self.scope, Some(view));
        others.entry(view).or_insert_with(caller).clone()
    }
}

/// The version of the library in the metadata that a client sends along, which is that of the engine when it names none:
/// spec/protocol.md §1.6, §2.1.
fn version_in(metadata: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        client_version: String,
    }
    let json = STANDARD.decode(metadata).ok()?;
    serde_json::from_slice::<Metadata>(&json).ok().map(|metadata| metadata.client_version)
}

async fn serve(door: Door, listener: tokio::net::TcpListener) {
    let routes = Router::new()
        .route("/query", post(query).get(query_in_url))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(door);
    if let Err(e) = axum::serve(listener, routes).await {
        tracing::warn!("serving a nested API ended: {e}");
    }
}

/// A query whose parts stand in the address: spec/protocol.md §1.7.
async fn query_in_url(State(door): State<Door>, headers: HeaderMap, RawQuery(parts): RawQuery) -> impl IntoResponse {
    query(State(door), headers, body_of(&parts.unwrap_or_default()).into()).await
}

/// The parts of a query in an address as the body of a request.
fn body_of(parts: &str) -> String {
    let parts: HashMap<_, _> = url::form_urlencoded::parse(parts.as_bytes()).collect();
    let [query, name] = ["query", "operationName"].map(|part| json!(parts.get(part)));
    // What is no JSON is refused as it is in a body.
    let variables = parts.get("variables").filter(|text| !text.is_empty()).map_or("null", |text| text.as_ref());
    format!(r#"{{"query": {query}, "operationName": {name}, "variables": {variables}}}"#)
}

async fn query(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let text = answer(&door.engine.evaluator, &door.caller(&headers), &body).await;
    ([(header::CONTENT_TYPE, "application/json")], text)
}
