//! Loading modules: from sources to types.

pub mod codegen;
pub(crate) mod internal_fields;
pub mod modules;
pub mod register_types;
