//! Files of patterns, and globs: they end, and in good time.

use rondel_model::pattern::{Glob, IgnoreFile};

/// Reads the input as patterns and, behind a zero byte, a path.
pub fn run(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let patterns = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let path = parts.next().unwrap_or_default();
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
}
