//! Modules: their sources, their types, and calls of their functions.
//!
//! *Invariants.* A source is content: a snapshot and a configuration, never a folder that may change. Types are
//! data; an unchanged module is loaded without running anything, after a restart as well. Whatever builds a type is
//! judged under the view recorded in its call, and a module's code is served the view of its `engineVersion`. Names
//! in payloads are the module's own, names in schemas those of the API. Results of functions are kept under their
//! calls; the process that made them counts for no key.

mod bounded_cache;
pub mod call;
pub mod caller;
pub mod config;
mod content;
pub mod fields;
mod json;
mod json_object;
pub mod load;
pub mod module;
pub mod names;
pub mod schema;
pub mod sdk;
pub mod source;
pub mod typedef;

pub use fields::register_modules;
pub use load::modules::Modules;
pub use module::loaded_module::{Module, ModuleObject, ModuleValue};
pub use source::resolve_options::ResolveOptions;
