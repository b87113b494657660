//! Sources of modules: resolving references, files and dependencies.

pub mod dependency;
mod edit_config;
pub mod git_origin;
pub(crate) mod git_source;
pub mod module_source;
pub(crate) mod provider_location;
pub mod reference;
pub(crate) mod referrer;
mod reload_source;
pub mod resolve_options;
pub mod resolve_source;
pub mod source_call;
mod vanity;
pub mod workspace;
