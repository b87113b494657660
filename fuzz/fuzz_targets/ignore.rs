//! Files of patterns, and globs: they end, and in good time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rondel_model::pattern::{Glob, IgnoreFile};

fuzz_target!(|input: (&str, &[u8])| {
    let (patterns, path) = input;
    let file = IgnoreFile::parse(patterns.as_bytes());
    for is_dir in [false, true] {
        let decided = file.decides(path, is_dir);
        assert!(decided.is_none() || !file.is_empty());
    }
    for pattern in patterns.lines() {
        if let Ok(glob) = Glob::new(pattern) {
            assert!(!glob.matches(path) || glob.covers(path), "a glob does not cover what it matches");
            let _ = glob.descend(path);
        }
    }
});
