//! What evaluation needs from the engine, and for whom it evaluates.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::exec::Scope;
use rondel_model::{AbsPath, Snapshot};
use rondel_ports::host::HostFiles;
use rondel_ports::images::Images;
use rondel_ports::index::Index;
use rondel_ports::network::Networks;
use rondel_ports::process::Processes;
use rondel_ports::secrets::Secrets;
use rondel_ports::snapshots::Snapshots;
use serde::{Deserialize, Serialize};

/// The world, as ports.
#[derive(Clone)]
pub struct Ports {
    /// Layers and snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// Results.
    pub index: Arc<dyn Index>,
    /// Processes in containers.
    pub processes: Arc<dyn Processes>,
    /// Networks of containers.
    pub networks: Arc<dyn Networks>,
    /// Images in registries, layouts and archives.
    pub images: Arc<dyn Images>,
    /// Files of the host.
    pub host: Arc<dyn HostFiles>,
}

/// For whom work is evaluated. None of it counts for any key.
#[derive(Clone)]
pub struct OpCx {
    /// Where progress and output go.
    pub events: Emitter,
    /// Who gives plaintext.
    pub secrets: Arc<dyn Secrets>,
    /// Who gives processes access to the API.
    pub scopes: Arc<dyn Scopes>,
}

/// Gives processes access to the API, as the exec scope says.
pub trait Scopes: Send + Sync {
    /// Serves the API on the process's listener to whoever connects: that *is* the scope. Serving ends when the binding is
    /// dropped.
    ///
    /// # Errors
    /// When the scope refers to something that is no longer there.
    fn bind(&self, scope: &Scope, process: ScopedProcess) -> Result<ScopeBinding>;
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
