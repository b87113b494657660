//! Coverage-guided: `rondel_fuzz::dockerfile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::dockerfile::run(input));
