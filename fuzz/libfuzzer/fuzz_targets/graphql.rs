//! Coverage-guided: `rondel_fuzz::graphql`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::graphql::run(input));
