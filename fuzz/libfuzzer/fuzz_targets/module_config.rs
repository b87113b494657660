//! Coverage-guided: `rondel_fuzz::module_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::module_config::run(input));
