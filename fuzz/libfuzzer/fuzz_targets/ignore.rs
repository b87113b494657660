//! Coverage-guided: `rondel_fuzz::ignore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::ignore::run(input));
