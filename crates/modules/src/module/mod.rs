//! Loaded modules as data: what provides them, and the GraphQL types that they add to a schema.

pub(crate) mod acting_as;
pub mod function_target;
pub(crate) mod interface_conformance;
pub mod introspection;
pub mod load_report;
pub mod module_schema;
