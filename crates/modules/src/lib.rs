//! Modules: their sources, their types, and calls of their functions.
//!
//! *Invariants.* A source is content: a snapshot and a configuration, never a folder that may change. Types are
//! data; an unchanged module is loaded without running anything, after a restart as well. Whatever builds a type is
//! judged under the view recorded in its call, and a module's code is served the view of its `engineVersion`. Names
//! in payloads are the module's own, names in schemas those of the API. Results of functions are kept under their
//! calls; the process that made them counts for no key.

pub mod build;
pub mod call;
pub mod clash;
pub mod codec;
pub mod codegen;
pub mod config;
mod conform;
pub mod context;
pub mod defaults;
mod document;
pub mod entrypoint;
pub mod explain;
pub mod fields;
mod find;
pub mod foreign;
mod internal;
mod keys;
pub mod load;
pub mod manifest;
pub mod module;
mod named;
pub mod names;
mod reload;
pub mod remote;
pub mod resolve;
mod revise;
pub mod runtime;
pub mod sdk_module;
pub mod serve;
pub mod source;
pub mod typedef;
pub mod types;
pub mod used;
mod vanity;
pub mod workspace;

pub use fields::register_modules;
pub use find::Lookup;
pub use load::Modules;
pub use module::{Module, ModuleObject, ModuleValue};
