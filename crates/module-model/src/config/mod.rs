//! Configuration files of modules: `dagger.json` and `dagger-module.toml`.

pub mod dagger_json;
pub mod dagger_module_toml;
pub(crate) mod edit_text;
pub mod module_config;
pub mod provider_ref;
mod read_config;
