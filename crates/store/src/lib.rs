//! The store: layers, blobs, cache volumes and the result index on one disk. [`Store`] implements
//! the ports of `rondel_ports::snapshots`, `dirs` and `index`.
//!
//! The state directory:
//!
//! | path | content |
//! |---|---|
//! | `format`, `lock` | version of the format; locked with `flock` by the engine that uses it |
//! | `layers/<id>/fs/` | one layer in overlay form: whiteouts are devices 0:0, opaque is an xattr |
//! | `layers/<id>/meta.json` | record of the layer; its modification time is the last use |
//! | `blobs/sha256/<hex>` | compressed layers, manifests, image configurations |
//! | `volumes/<hex>/` | cache volumes, named by the digest of their name |
//! | `git/` | Git repositories of another crate, removed with the rest |
//! | `quarantine/` | damaged layers and blobs, removed when the directory is opened |
//! | `scratch/<n>/` | unfinished work, removed when the directory is opened |
//! | `trash/` | what is being removed |
//! | `run`, `doubted/` | boot id of the last use; suspects that are verified before use |
//! | `index.sqlite` | the result index and the store's own tables; `.damaged`: could not be used |
//!
//! *Invariants.* A layer appears by one rename and never changes. Its name is the digest of its
//! content. A lookup that hits never calls `fsync`, starts a process or walks a tree. After `kill
//! -9` every visible layer, blob and index entry is complete, whatever was being written or
//! removed. Paths inside a layer that came from outside are resolved with `openat2` relative to the
//! layer's root. The overlay's own attributes never count as content.

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
