//! `dagger.json` and `dagger-module.toml`.

use rondel_module_model::config::dagger_module_toml;
use rondel_module_model::config::module_config::ModuleConfig;

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let _ = ModuleConfig::parse(text, "dagger.json");
    let _ = dagger_module_toml::parse(text, "dagger-module.toml");
}
