//! `dagger.json` and `dagger-module.toml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rondel_modules::config::Config;
use rondel_modules::manifest;

fuzz_target!(|text: &str| {
    let _ = Config::parse(text, "dagger.json");
    let _ = manifest::parse(text, "dagger-module.toml");
});
