//! The API inside a container: whoever connects to the listener of an exec *is* its scope.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, post};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::exec::Scope;
use rondel_ops::{ScopeBinding, ScopedProcess, Scopes};
use rondel_query::Caller;
use rondel_session::{Client, ExecScope, Session};
use tokio_util::task::AbortOnDropHandle;

use crate::answer::answer;
use crate::sessions::{Engine, Nesting};

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
    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding> {
        let gone = || Fault::cancelled(format!("the client of session `{}` is gone", self.session.id));
        let engine = self.engine.upgrade().ok_or_else(gone)?;
        let ScopedProcess { listener, events, root, workdir } = process;
        let root = engine.host.enter(root);
        let nesting = Nesting {
            origin: self.origin.get().and_then(Weak::upgrade).ok_or_else(gone)?,
            events,
            root: root.path().to_owned(),
            workdir: PathBuf::from(workdir.as_str()),
        };
        let record = scope.record.clone().and_then(|record| record.0.downcast::<ExecScope>().ok());
        let scope = record.ok_or_else(|| Fault::bug("a process has an exec scope that the engine did not make"))?;
        let caller = engine.nested(&nesting, scope);
        let port = listener.local_addr().attempt(|| "read the port of a nested API".into())?.port();
        listener.set_nonblocking(true).attempt(|| "serve a nested API".into())?;
        let listener = tokio::net::TcpListener::from_std(listener).attempt(|| "serve a nested API".into())?;
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(engine, caller, listener)));
        // The files of the process can be named for as long as the API is served.
        Ok(ScopeBinding { env: environment(port), guard: Box::new((serving, root)) })
    }
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

#[derive(Clone)]
struct Served {
    engine: Arc<Engine>,
    caller: Arc<Caller>,
}

async fn serve(engine: Arc<Engine>, caller: Arc<Caller>, listener: tokio::net::TcpListener) {
    let routes = Router::new()
        .route("/query", post(query))
        .route("/init", any(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", any(|| async { StatusCode::OK }))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Served { engine, caller });
    if let Err(e) = axum::serve(listener, routes).await {
        tracing::warn!("serving a nested API ended: {e}");
    }
}

async fn query(State(served): State<Served>, body: Bytes) -> impl IntoResponse {
    let text = answer(&served.engine.evaluator, &served.caller, &body).await;
    ([(header::CONTENT_TYPE, "application/json")], text)
}
