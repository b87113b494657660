//! Type definitions of modules as data.

pub mod builder;
pub mod default_value;
pub mod external_types;
pub mod link_types;
pub mod type_def;
pub mod types_json;
