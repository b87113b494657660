//! `dagger.json` and `dagger-module.toml`.

use rondel_modules::config::Config;
use rondel_modules::manifest;

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let _ = Config::parse(text, "dagger.json");
    let _ = manifest::parse(text, "dagger-module.toml");
}
