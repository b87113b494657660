//! The type registry: every member of the API with the versions it belongs to, projected to one
//! schema per view.
//!
//! *Invariants.* A schema never changes once it is projected. Views that admit the same members
//! share one schema, and different schemas share every type and field that is the same in both. A
//! projected schema is valid GraphQL: what refers to a type that the view does not have is left
//! out. This crate does not know what handlers do; it carries them.

mod builder;
mod entry;
mod extend;
mod introspect;
mod project;
mod read;
mod registry;
mod schema_json;

pub use builder::{FieldInfo, RegistryBuilder};
pub use entry::{LEGACY_IDS_UNTIL, LegacyLoad, Scope};
pub use extend::{Extension, extend};
pub use introspect::{IntrospectionCache, introspect};
pub use registry::Registry;
pub use rondel_gql::print as sdl;
pub use schema_json::{schema_json, without};
