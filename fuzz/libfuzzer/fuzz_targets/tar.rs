//! Coverage-guided: `rondel_fuzz::tar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::tar::run(input));
