//! Patches: applied, or refused, and never outside of the directory.
#![no_main]

use std::fs::{self, File};
use std::path::Path;

use libfuzzer_sys::fuzz_target;

fn fill(top: &Path) -> std::io::Result<()> {
    fs::create_dir(top)?;
    fs::write(top.join("a"), "one\ntwo\nthree\n")?;
    fs::create_dir(top.join("d"))?;
    fs::write(top.join("d/b"), "text without an end")?;
    std::os::unix::fs::symlink("../..", top.join("d/out"))
}

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let top = folder.path().join("top");
    fill(&top).expect("it can be filled");
    let dir = File::open(&top).expect("it can be opened");
    let _ = rondel_ops::apply_patch(&dir, bytes);
    let beside = fs::read_dir(folder.path()).expect("it can be listed").count();
    assert_eq!(beside, 1, "something was written outside");
});
