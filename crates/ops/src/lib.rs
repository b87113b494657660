//! Evaluates the deferred work inside values against ports: one file per op family.
//!
//! *Invariants.* Work is keyed on the *content* of its inputs, so that an upstream step which gives the
//! same bytes again stops the rebuild there. A hit runs nothing, walks nothing and writes nothing. No
//! GraphQL, no sessions: who asks is an [`OpContext`], passed down.

pub mod context;
pub mod options;
pub mod scrub;

mod archive;
mod changes;
mod content;
mod copy;
mod copy_pattern;
mod diff;
mod digest;
mod edit;
mod environment;
mod evaluate;
mod exec;
mod explain;
mod failures;
mod filter;
mod git;
mod held;
mod http;
mod image;
mod key;
mod lend;
mod mounts;
mod output;
mod owner;
mod process;
mod publish;
mod reach;
mod read;
mod resolver;
mod root;
mod search;
mod service;
mod skeleton;
mod sockets;
mod stack;
mod stats;
mod terminal;
mod unpack;
mod volumes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rondel_digest::Digest;
use rondel_graph::Graph;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::images::Credentials;

pub use changes::patch::apply_to as apply_patch;
pub use changes::{Change, ChangeKind};
pub use context::{
    BoundServices, ExecResult, JoinedNetwork, NoServices, OpContext, Ports, ScopeBinding, ScopedProcess, Scopes,
    Services,
};
pub use failures::{FailureScope, Failures, Left};
pub use git::Uncommitted;
pub use held::referred;
pub use http::Download;
pub use image::AtRegistry;
pub use options::{BUNDLES, HostTrust, Options};
pub use process::ServiceEnvironment;
pub use read::{Entry, EntryKind, MAX_BYTES, Stat};
pub use search::{Match, Search, Submatch};
pub use service::{Inside, ServiceControl};
pub use stats::OpStats;

/// How many results are remembered in memory, per kind; the index on disk has them all.
const REMEMBERED: usize = 25_000;

/// Evaluates work. One for the whole engine.
pub struct Ops {
    ports: Ports,
    options: Options,
    stats: OpStats,
    /// By recipe.
    trees: Graph<Snapshot>,
    /// By recipe.
    execs: Graph<Arc<ExecResult>>,
    /// By content key: equal processes that were asked for differently run once.
    runs: Graph<Arc<ExecResult>>,
    /// By the digest of the tar inside.
    layers: Graph<LayerId>,
    volumes: volumes::Volumes,
    skeletons: skeleton::Skeletons,
    /// Who resolved an image may pull it later, when its files are needed. By name and digest.
    credentials: Mutex<HashMap<Digest, Credentials>>,
}

impl Ops {
    /// Evaluates against `ports`, without trust or proxies of the host.
    pub fn new(ports: Ports) -> Arc<Self> {
        Self::new_with(ports, Options::default())
    }

    /// Evaluates against `ports`; processes are given what `options` say.
    pub fn new_with(ports: Ports, options: Options) -> Arc<Self> {
        Arc::new(Self {
            ports,
            options,
            stats: OpStats::default(),
            trees: Graph::new(REMEMBERED),
            execs: Graph::new(REMEMBERED),
            runs: Graph::new(REMEMBERED),
            layers: Graph::new(REMEMBERED),
            volumes: volumes::Volumes::default(),
            skeletons: skeleton::Skeletons::default(),
            credentials: Mutex::default(),
        })
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// What was done so far.
    pub fn stats(&self) -> &OpStats {
        &self.stats
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
