//! Patches: applied, or refused, and never outside of the directory.

use std::fs::{self, File};
use std::path::Path;

fn fill(top: &Path) -> std::io::Result<()> {
    fs::create_dir(top)?;
    fs::write(top.join("a"), "one\ntwo\nthree\n")?;
    // The seed `binary` has a delta to this one.
    fs::write(top.join("old"), (0..=255).collect::<Vec<u8>>().repeat(4))?;
    fs::create_dir(top.join("d"))?;
    fs::write(top.join("d/b"), "text without an end")?;
    std::os::unix::fs::symlink("../..", top.join("d/out"))
}

/// Applies the input to a directory.
pub fn run(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let top = folder.path().join("top");
    fill(&top).expect("it can be filled");
    let dir = File::open(&top).expect("it can be opened");
    let _ = rondel_ops::apply_patch(&dir, bytes);
    let beside = fs::read_dir(folder.path()).expect("it can be listed").count();
    assert_eq!(beside, 1, "something was written outside");
}
