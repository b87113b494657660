//! Layers, blobs, volumes and the result index on one disk: [`Store`] implements the ports `Snapshots` and `Index`.
//!
//! The state folder:
//!
//! | path | what |
//! |---|---|
//! | `format`, `lock` | version and form of the folder; held with `flock` by the one engine that uses it |
//! | `layers/<id>/fs/` | one layer, in overlay form: whiteouts are character devices 0:0, opaque directories carry an attribute |
//! | `layers/<id>/meta.json` | size, number of files, and which modification times are no content; its own time is the last use |
//! | `blobs/sha256/<hex>` | packed layers, manifests, configurations, as they came or were made |
//! | `volumes/<hex>/` | cache volumes, named by the digest of their name |
//! | `git/` | git repositories; another crate's, removed with the rest |
//! | `quarantine/` | what was found damaged; thrown away when the folder is opened |
//! | `scratch/<n>/` | what is being written; thrown away when the folder is opened |
//! | `trash/` | what is being deleted |
//! | `run`, `doubted/` | in which run of the machine the folder was used last; what is checked before it is used again |
//! | `index.sqlite` | the result index and what the store itself remembers; `.damaged` is one that could not be used |
//!
//! *Invariants.* A layer appears by one rename and never changes; its name is the digest of its content. Nothing on a
//! path that finds what it looks for calls `fsync`, starts a process or walks a tree. After `kill -9` every layer, blob
//! and entry that can be seen is whole, whatever was being written or removed. Whoever names a path inside a layer that came from outside goes through
//! `openat2` relative to the layer's root. The overlay's own attributes never count as content.

mod blobs;
mod commit;
mod crash_recovery;
mod disk_space;
mod flatten;
mod gc;
mod index_damage;
mod last_used;
mod layer_digest;
mod layer_info;
mod layers;
pub mod memory;
mod mounts;
mod options;
mod overlay;
mod pack;
mod path_layers;
mod port_impls;
mod read_ahead;
mod remove_tree;
mod scan;
mod shared_inodes;
mod sqlite;
mod state_dir;
mod store;
mod sys;
mod tar_read;
mod tar_write;
mod trash;
mod unpack;
mod verify;
mod volumes;

pub use disk_space::Disk;
pub use gc::Refers;
pub use options::{Limits, Options};
pub use store::Store;
pub use verify::{Check, Usage};
