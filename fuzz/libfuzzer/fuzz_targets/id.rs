//! Coverage-guided: `rondel_fuzz::id`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::id::run(input));
