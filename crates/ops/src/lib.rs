//! Evaluates the deferred work inside values against ports. One file per op family.
//!
//! *Invariants.* Work is keyed on the *content* of its inputs, so an upstream step that produces
//! the same bytes again stops the rebuild there. A cache hit starts no process, walks no tree and
//! writes nothing. No GraphQL and no sessions: the client is an [`OpContext`], passed down.

pub mod context;
pub mod options;
pub mod redact;

mod archive;
mod changes;
mod content_digest;
mod copy;
mod copy_pattern;
mod dedup_layers;
mod diff;
mod edit;
mod environment;
mod evaluate;
mod exec;
mod explain;
mod failures;
mod filter;
mod gc_roots;
mod git;
mod hardlink_copy;
mod host_files;
mod http;
mod image;
mod key;
mod mountpoint_layer;
mod mounts;
mod output;
mod owner;
mod process;
mod publish;
mod resolv_conf;
mod root;
mod search;
mod service;
mod service_client;
mod sockets;
mod stat;
mod stats;
mod terminal;
mod tree_hash;
mod unpack;
mod utf8;
mod volumes;
mod work_layer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_digest::Digest;
use rondel_graph::Graph;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::images::Credentials;

pub use changes::apply_patch::apply_to as apply_patch;
pub use changes::{Change, ChangeKind};
pub use context::{
    BoundServices, ExecResult, FailedExec, FailureScope, Failures, JoinedNetwork, NoServices, OpContext, Ports,
    ScopeBinding, ScopedProcess, Scopes, Services,
};
pub use gc_roots::referenced_layers;
pub use git::Uncommitted;
pub use http::Download;
pub use image::RegistryImage;
pub use options::{BUNDLES, HostTrust, Options};
pub use process::ServiceEnvironment;
pub use rondel_model::search::{Match, Search, Submatch};
pub use service::{RunningContainer, ServiceControl};
pub use stat::{Entry, EntryKind, MAX_BYTES, Stat};
pub use stats::OpStats;

/// The most results that are cached in memory, per kind. The index on disk has all of them.
const MAX_CACHED: usize = 25_000;

/// The evaluator of ops. One for the whole engine.
pub struct Ops {
    ports: Ports,
    options: Options,
    stats: OpStats,
    /// Results by recipe digest.
    trees: Graph<Snapshot>,
    /// Results by recipe digest.
    execs: Graph<Arc<ExecResult>>,
    /// Results by content key, so that equal processes with different recipes run once.
    runs: Graph<Arc<ExecResult>>,
    /// Layers by the digest of their uncompressed tar.
    layers: Graph<LayerId>,
    volumes: volumes::Volumes,
    mountpoint_layers: mountpoint_layer::MountpointLayers,
    /// Credentials of resolved images by name and digest, for pulling their layers later.
    credentials: Mutex<HashMap<Digest, Credentials>>,
}

impl Ops {
    /// The labels of running execs and pulls, in no order.
    pub fn running_labels(&self) -> Vec<Arc<str>> {
        [self.runs.running_labels(), self.layers.running_labels()].concat()
    }

    /// An evaluator without certificate authorities and proxies of the host.
    pub fn new(ports: Ports) -> Arc<Self> {
        Self::new_with(ports, Options::default())
    }

    /// An evaluator whose processes get what `options` say.
    pub fn new_with(ports: Ports, options: Options) -> Arc<Self> {
        Arc::new(Self {
            ports,
            options,
            stats: OpStats::default(),
            trees: Graph::new(MAX_CACHED),
            execs: Graph::new(MAX_CACHED),
            runs: Graph::new(MAX_CACHED),
            layers: Graph::new(MAX_CACHED),
            volumes: volumes::Volumes::default(),
            mountpoint_layers: mountpoint_layer::MountpointLayers::default(),
            credentials: Mutex::default(),
        })
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Counters of work so far.
    pub fn stats(&self) -> &OpStats {
        &self.stats
    }
}
