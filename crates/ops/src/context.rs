//! What evaluation needs from the engine, and for whom it evaluates.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};

use rondel_digest::Digest;
use rondel_events::Emitter;
use rondel_fault::{Fault, Result};
use rondel_model::exec::Scope;
use rondel_model::{AbsPath, ExecOp, ServiceBinding, Snapshot};
use rondel_ports::BoxFuture;
use rondel_ports::dirs::TempDir;
use rondel_ports::dirs::{TempDirs, Volumes};
use rondel_ports::egress::EgressScope;
use rondel_ports::git::Git;
use rondel_ports::host::HostFiles;
use rondel_ports::http::Http;
use rondel_ports::images::Images;
use rondel_ports::index::Index;
use rondel_ports::network::{Membership, Network, Networks};
use rondel_ports::process::Processes;
use rondel_ports::secrets::Secrets;
use rondel_ports::snapshots::{LayerBlobs, Snapshots};
use rondel_ports::streams::Sockets;
use serde::{Deserialize, Serialize};

use crate::sync::lock;

/// How many failures of one client wait to be shown. Each holds services.
const MAX_FAILURES: usize = 8;

/// The world, as ports.
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

/// For whom work is evaluated. None of it counts for any key.
#[derive(Clone)]
pub struct OpContext {
    /// Where progress and output go.
    pub events: Emitter,
    /// Who gives plaintext.
    pub secrets: Arc<dyn Secrets>,
    /// Who gives processes access to the API.
    pub scopes: Arc<dyn Scopes>,
    /// Who brings up the services that processes need.
    pub services: Arc<dyn Services>,
    /// Who leads to sockets of clients.
    pub sockets: Arc<dyn Sockets>,
    /// How far connections of the engine may lead. What was fetched for the session's user is shared all the same: it is a
    /// connection that is refused, and not content.
    pub egress: EgressScope,
    /// Where a person is shown what failed processes left; none: nobody looks.
    pub failures: Option<Arc<Failures>>,
}

/// Brings up the services that processes need, once for everybody in a session.
pub trait Services: Send + Sync {
    /// Brings up every service of `bindings`, waits until each is ready, and keeps it up until what is given is dropped.
    ///
    /// # Errors
    /// When one does not come up: the text names it and its alias, the detail is that of its process.
    fn bind<'a>(
        &'a self,
        cx: &'a OpContext,
        bindings: &'a [ServiceBinding],
    ) -> BoxFuture<'a, Result<BoundServices>>;

    /// Lets a process on `network` reach the services of the session, bound to it or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn join(&self, network: &Network, bindings: &[ServiceBinding]) -> Result<JoinedNetwork>;
}

/// Services that are up.
pub struct BoundServices {
    /// Lines of `/etc/hosts`: each address with a name.
    pub hosts: Vec<(Ipv4Addr, String)>,
    /// The network of each, by alias: the engine itself reaches it with [`Networks::dial`].
    pub networks: Vec<(String, Network)>,
    /// The error of the first that ends; never, when there is none.
    pub ended: BoxFuture<'static, Fault>,
    /// Keeps them up until it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl BoundServices {
    /// No services.
    pub fn none() -> Self {
        Self { hosts: Vec::new(), networks: Vec::new(), ended: Box::pin(std::future::pending()), guard: Box::new(()) }
    }
}

/// A process's place in the network of its session.
pub struct JoinedNetwork {
    /// The domains in which it looks for names, in this order.
    pub search: Vec<String>,
    /// Ends it when it is dropped.
    pub membership: Membership,
}

/// Knows no services: for work that belongs to no session.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn bind<'a>(
        &'a self,
        _: &'a OpContext,
        bindings: &'a [ServiceBinding],
    ) -> BoxFuture<'a, Result<BoundServices>> {
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

/// Gives processes access to the API, as the exec scope says.
pub trait Scopes: Send + Sync {
    /// Serves the API on the process's listener to whoever connects: that *is* the scope. Serving ends when the binding is
    /// dropped.
    ///
    /// # Errors
    /// When the scope refers to something that is no longer there.
    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding>;

    /// The session for which it serves, for people.
    fn session(&self) -> &str {
        ""
    }
}

/// A process that is about to start, as far as the API inside it needs to know.
pub struct ScopedProcess {
    /// On loopback inside the process's own network namespace.
    pub listener: TcpListener,
    /// Where what it asks for is reported.
    pub events: Emitter,
    /// Its root; what is mounted below is seen through it once the process runs.
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

/// An API that is being served to one process.
pub struct ScopeBinding {
    /// Variables the process needs to find it.
    pub env: Vec<(String, String)>,
    /// Ends serving when it is dropped.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// What a process left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecResult {
    /// The exit code.
    pub exit_code: i32,
    /// Standard output, scrubbed; bytes that are no UTF-8 are replaced.
    pub stdout: Arc<str>,
    /// Standard error, likewise.
    pub stderr: Arc<str>,
    /// Both, in the order in which they came.
    pub combined: Arc<str>,
    /// The root afterwards.
    pub rootfs: Snapshot,
    /// The trees mounted in it afterwards, by target. Caches, secrets and temporary file systems are not here.
    pub mounts: BTreeMap<AbsPath, Snapshot>,
}

/// The failures of one client that asked to be shown them.
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

/// What a process that failed left: everything that a further process needs to stand in its place.
pub struct FailedExec {
    /// What the process was.
    pub(crate) of: Digest,
    pub(crate) exec: ExecOp,
    pub(crate) fault: Fault,
    pub(crate) cx: OpContext,
    pub(crate) services: Box<dyn Any + Send + Sync>,
}

/// A request of the client that is being answered. What is not taken before the last one ends is forgotten.
pub struct FailureScope<'a>(&'a Failures);

impl Failures {
    /// None yet; `command` is what runs on the terminal.
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

    /// A request of the client begins.
    pub fn begin(&self) -> FailureScope<'_> {
        lock(&self.state).requests += 1;
        FailureScope(self)
    }

    pub(crate) fn wants(&self, exec: &ExecOp) -> bool {
        // A person wants the processes that the code of a module starts, not that code itself.
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
    /// Takes what failed processes left, in the order in which they failed, and how many more there were.
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
