//! Sources of modules as data: origins, dependencies, references, edits.

pub mod dependency;
mod edit_config;
mod edit_dependencies;
pub mod git_origin;
pub mod module_source;
pub mod provider_location;
pub mod reference;
pub mod source_call;
