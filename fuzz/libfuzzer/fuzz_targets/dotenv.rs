//! Coverage-guided: `rondel_fuzz::dotenv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::dotenv::run(input));
