//! Coverage-guided: `rondel_fuzz::patch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::patch::run(input));
