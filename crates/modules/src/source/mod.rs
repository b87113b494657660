//! Finding sources of modules: resolving references, files and dependencies.

pub(crate) mod git_source;
pub(crate) mod referrer;
pub(crate) mod reload_source;
pub mod resolve_options;
pub mod resolve_source;
mod vanity;
pub mod workspace;
