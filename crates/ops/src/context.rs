//! The context of evaluation: the ports to the outside world, and the client for whom work is
//! evaluated.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};

use rondel_digest::Digest;
use rondel_events::{Emitter, Outcome, Span, Waiting, Work};
use rondel_fault::{Fault, Result, lock};
use rondel_model::exec::Scope;
use rondel_model::{AbsPath, ExecOp, ServiceBinding, Snapshot};
use rondel_ports::BoxFuture;
use rondel_ports::dirs::{TempDirs, Volumes};
use rondel_ports::egress::EgressScope;
use rondel_ports::git::Git;
use rondel_ports::host::HostFiles;
use rondel_ports::http::Http;
use rondel_ports::images::Images;
use rondel_ports::index::Index;
use rondel_ports::network::{Membership, Network, Networks};
use rondel_ports::outcome::outcome;
use rondel_ports::process::Processes;
use rondel_ports::secrets::Secrets;
use rondel_ports::snapshots::{LayerBlobs, Snapshots};
use rondel_ports::streams::Sockets;
use serde::{Deserialize, Serialize};

/// The most failures of one client that are collected. Each keeps its services running.
const MAX_FAILURES: usize = 8;

/// The ports: everything outside of this crate that evaluation uses.
#[derive(Clone)]
pub struct Ports {
    /// Layers and snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// Layers as blobs.
    pub blobs: Arc<dyn LayerBlobs>,
    /// Cache volumes.
    pub volumes: Arc<dyn Volumes>,
    /// Temporary directories.
    pub temp_dirs: Arc<dyn TempDirs>,
    /// Results.
    pub index: Arc<dyn Index>,
    /// Processes in containers.
    pub processes: Arc<dyn Processes>,
    /// Networks of containers.
    pub networks: Arc<dyn Networks>,
    /// Images in registries, layouts and archives.
    pub images: Arc<dyn Images>,
    /// Files of the web.
    pub http: Arc<dyn Http>,
    /// Files of the host.
    pub host: Arc<dyn HostFiles>,
    /// Git repositories.
    pub git: Arc<dyn Git>,
}

/// The client for whom work is evaluated, and its services. Nothing in it is part of a cache key.
#[derive(Clone)]
pub struct OpContext {
    /// Where progress and output go.
    pub events: Emitter,
    /// Provides the plaintext of secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Gives processes access to the API.
    pub scopes: Arc<dyn Scopes>,
    /// Starts the services that processes need.
    pub services: Arc<dyn Services>,
    /// Connects to sockets of clients.
    pub sockets: Arc<dyn Sockets>,
    /// Which addresses the engine may connect to for this client. Content that was fetched for the
    /// session's user is shared anyway: a connection is refused, not content.
    pub egress: EgressScope,
    /// Collects failed processes, so that the user can inspect them on a terminal. `None`: they are
    /// discarded.
    pub failures: Option<Arc<Failures>>,
}

impl OpContext {
    /// The same context, whose work is reported to `events`.
    #[must_use]
    pub fn reporting(&self, events: &Emitter) -> Self {
        Self { events: events.clone(), ..self.clone() }
    }

    /// Reports that the client waits for `label`, which another client evaluates already.
    pub(crate) fn wait_for_other(&self, work: Work, label: &str) -> (Span, Waiting) {
        let span = self.events.span(work, label);
        let waiting = span.emitter().wait("another client, which does the same");
        (span, waiting)
    }
}

/// Ends the span of a wait for an evaluation of another client, which gave `result`.
pub(crate) fn end_wait<T>(waited: Option<(Span, Waiting)>, result: &Result<T>) {
    let Some((span, waiting)) = waited else { return };
    drop(waiting);
    span.end(match outcome(result) {
        Outcome::Done => Outcome::Cached,
        other => other,
    });
}

/// Starts the services that processes need, once per session.
pub trait Services: Send + Sync {
    /// Starts every service of `bindings`, waits until each is ready, and keeps them up until the
    /// result is dropped. The span of `cx.events` is reported as waiting.
    ///
    /// # Errors
    /// When a service does not start. The message names it and its alias, the detail is that of its
    /// process.
    fn bind<'a>(&'a self, cx: &'a OpContext, bindings: &'a [ServiceBinding]) -> BoxFuture<'a, Result<BoundServices>>;

    /// Lets a process on `network` reach the services of the session, bound or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn join(&self, network: &Network, bindings: &[ServiceBinding]) -> Result<JoinedNetwork>;
}

/// Running services.
pub struct BoundServices {
    /// Lines of `/etc/hosts`: each address with a name.
    pub hosts: Vec<(Ipv4Addr, String)>,
    /// The network of each by alias, which the engine itself reaches with [`Networks::dial`].
    pub networks: Vec<(String, Network)>,
    /// Completes with the error of the first service that ends. Never completes without services.
    pub ended: BoxFuture<'static, Fault>,
    /// Keeps them running until it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl BoundServices {
    /// No services.
    pub fn none() -> Self {
        Self { hosts: Vec::new(), networks: Vec::new(), ended: Box::pin(std::future::pending()), guard: Box::new(()) }
    }
}

/// A process's membership in the network of its session.
pub struct JoinedNetwork {
    /// The DNS search domains, in order.
    pub search: Vec<String>,
    /// Ends the membership when it is dropped.
    pub membership: Membership,
}

/// Has no services. Used for work that belongs to no session.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn bind<'a>(&'a self, _: &'a OpContext, bindings: &'a [ServiceBinding]) -> BoxFuture<'a, Result<BoundServices>> {
        let bound = match bindings.first() {
            None => Ok(BoundServices::none()),
            Some(first) => Err(Fault::bug(format!("the service `{}` is needed outside of any session", first.alias))),
        };
        Box::pin(std::future::ready(bound))
    }

    fn join(&self, _: &Network, _: &[ServiceBinding]) -> Result<JoinedNetwork> {
        Ok(JoinedNetwork { search: Vec::new(), membership: Box::new(()) })
    }
}

/// Gives processes access to the API with their exec scope.
pub trait Scopes: Send + Sync {
    /// Serves the API on the process's listener. Every connection on it acts with `scope`. Serving
    /// ends when the binding is dropped.
    ///
    /// # Errors
    /// When the scope refers to something that no longer exists.
    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding>;

    /// The session id, for display.
    fn session(&self) -> &str {
        ""
    }
}

/// What the API of a container needs to know about the process that is about to start in it.
pub struct ScopedProcess {
    /// On loopback inside the process's own network namespace.
    pub listener: TcpListener,
    /// Receives the spans of its requests.
    pub events: Emitter,
    /// Its root. Mounts below are visible through it once the process runs.
    pub root: OwnedFd,
    /// Its working directory.
    pub workdir: AbsPath,
    /// The version of the API that its environment asks for.
    pub version: Option<String>,
    /// Its environment, secrets included.
    pub env: Vec<(String, String)>,
    /// Its network namespace.
    pub namespace: Weak<OwnedFd>,
}

/// The API as served to one process.
pub struct ScopeBinding {
    /// Environment variables by which the process finds the API.
    pub env: Vec<(String, String)>,
    /// Ends serving when it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// The result of a process: exit code, output and file trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecResult {
    /// The exit code.
    pub exit_code: i32,
    /// Standard output with secrets redacted. Bytes that are not UTF-8 are replaced.
    pub stdout: Arc<str>,
    /// Standard error, likewise.
    pub stderr: Arc<str>,
    /// Both streams, in the order of writing.
    pub combined: Arc<str>,
    /// The root file system afterwards.
    pub rootfs: Snapshot,
    /// The mounted trees afterwards, by target. Without caches, secrets and temporary file systems.
    pub mounts: BTreeMap<AbsPath, Snapshot>,
}

/// The failed processes of one client that asked to inspect them.
pub struct Failures {
    command: Vec<String>,
    state: Mutex<FailureState>,
}

#[derive(Default)]
struct FailureState {
    requests: usize,
    left: Vec<FailedExec>,
    more: usize,
}

/// A failed process with everything that a further process needs to run in its place.
pub struct FailedExec {
    /// The recipe digest of the process.
    pub(crate) of: Digest,
    pub(crate) exec: ExecOp,
    pub(crate) fault: Fault,
    pub(crate) cx: OpContext,
    pub(crate) services: Box<dyn Any + Send + Sync>,
}

/// A request of the client that is in progress. Failures that are not taken before the last request
/// ends are discarded.
pub struct FailureScope<'a>(&'a Failures);

impl Failures {
    /// No failures yet. `command` runs on the terminal.
    pub fn new(command: Vec<String>) -> Arc<Self> {
        Arc::new(Self { command, state: Mutex::default() })
    }

    /// Adds what a failed process left.
    pub(crate) fn push(&self, failed: FailedExec) {
        lock(&self.state).left.push(failed);
    }

    /// The command that runs on the terminal.
    pub(crate) fn command(&self) -> &[String] {
        &self.command
    }

    /// Begins a request of the client.
    pub fn begin(&self) -> FailureScope<'_> {
        lock(&self.state).requests += 1;
        FailureScope(self)
    }

    pub(crate) fn wants(&self, exec: &ExecOp) -> bool {
        // Users want to inspect the processes that a module's code starts, not that code itself.
        if exec.scope.as_ref().is_some_and(|scope| scope.module.is_some()) {
            return false;
        }
        let mut state = lock(&self.state);
        if state.requests == 0 {
            return false;
        }
        let digest = exec.digest();
        let again = state.left.iter().any(|left| left.of == digest);
        if !again && state.left.len() >= MAX_FAILURES {
            state.more += 1;
        }
        !again && state.left.len() < MAX_FAILURES
    }
}

impl FailureScope<'_> {
    /// Takes the failed processes in order, and the number of further ones that were not collected.
    pub fn failed(&self) -> (Vec<FailedExec>, usize) {
        let mut state = lock(&self.0.state);
        (std::mem::take(&mut state.left), std::mem::take(&mut state.more))
    }
}

impl Drop for FailureScope<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.requests -= 1;
        if state.requests == 0 {
            (state.left, state.more) = (Vec::new(), 0);
        }
    }
}
