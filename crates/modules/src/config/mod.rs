//! Configuration files of modules: `dagger.json` and `dagger-module.toml`.

pub mod dagger_module_toml;
pub mod module_config;
