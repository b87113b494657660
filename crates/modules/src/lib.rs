//! Loading modules and calling their functions. `module-model` has modules as data.
//!
//! Each folder may use those before it in this list: `source` (finding sources and dependencies),
//! `module` (the GraphQL types of modules), `sdk`, `call` (function calls), `load`, `schema`
//! (schemas of clients), `fields` (the API).
//!
//! *Invariants.* A source is content: a snapshot and a configuration, never a folder that may
//! change. Types are data. An unchanged module is loaded without running anything, also after a
//! restart. A type definition is read under the view recorded in its call, and a module's code is
//! served the view of its `engineVersion`. Payloads contain the module's own names, schemas those
//! of the API. Results of functions are cached under their calls. The process that made a result is
//! not part of its key.

mod bounded_cache;
pub mod call;
pub mod caller;
mod content;
pub mod fields;
pub mod load;
pub mod module;
pub mod schema;
pub mod sdk;
pub mod source;

pub use fields::register_modules;
pub use load::modules::Modules;
pub use source::resolve_options::ResolveOptions;
