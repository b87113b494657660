//! Coverage-guided: `rondel_fuzz::git_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rondel_fuzz::git_address::run(input));
