//! Containers, directories, files, secrets, services and the deferred work inside them, as
//! immutable data.
//!
//! *Invariants.* No I/O, nothing asynchronous, no clock. A value is cheap to clone: everything
//! large is shared. Work is an [`op::FsOp`] or an [`exec::ExecOp`] inside a value; its recipe
//! digest is fixed when it is made and derives from one codec ([`rondel_digest::of`] over
//! `Serialize`). Plaintext of secrets never occurs here. Lists that grow with every step of a chain
//! of calls are persistent ([`chain::Chain`], [`table::Table`]): a step adds what it changes, and
//! copies nothing.

pub mod chain;
pub mod changes;
pub mod compression;
pub mod container;
pub mod egress;
pub mod entitlement;
pub mod exec;
pub mod explain;
pub mod git;
pub mod git_address;
pub mod health;
pub mod history;
pub mod image;
pub mod image_config;
pub mod mode;
pub mod op;
pub mod path;
pub mod pattern;
pub mod platform;
pub mod search;
pub mod secret;
pub mod service;
pub mod snapshot;
pub mod socket;
pub mod table;
pub mod value;

pub use chain::Chain;
pub use compression::Compression;
pub use container::{Changeset, Container, Directory, File};
pub use egress::EgressScope;
pub use exec::{ExecOp, ExecTitle, Mount, MountSource};
pub use git::{GitRef, GitRepository, GitSource};
pub use history::History;
pub use image_config::ImageConfig;
pub use mode::ModeChange;
pub use op::{Fs, FsOp, Owner};
pub use path::AbsPath;
pub use platform::Platform;
pub use secret::SecretRef;
pub use service::{Service, ServiceBinding};
pub use snapshot::{LayerId, Snapshot};
pub use socket::SocketRef;
pub use table::Table;
pub use value::{Object, Value};
