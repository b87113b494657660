//! Builds the release binary and measures it.

use std::path::Path;
use std::process::Command;

/// Runs the benchmarks with base images and the example module of this repository.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let images = std::env::var("RONDEL_IMAGES").map_or_else(|_| root.join(".state/images"), Into::into);
    if !images.join("index.json").exists() {
        return Err(format!("there are no base images in `{}`; run `cargo xtask base-images`", images.display()));
    }
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), Into::into);
    let built = ["rondel-cli", "rondel-benches"];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release"]).args(built.iter().flat_map(|p| ["--package", p])).current_dir(root);
    let mut bench = Command::new(target.join("release/rondel-bench"));
    let binary = std::env::var("RONDEL_BIN").map_or_else(|_| target.join("release/rondel"), Into::into);
    bench.arg("--binary").arg(binary).arg("--images").arg(images).arg("--module").arg(root.join("examples/greeter"));
    for command in [&mut build, bench.args(words)] {
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.status().map_err(|e| format!("cannot run `{program}`: {e}"))?;
        if !status.success() {
            return Err(format!("`{program}` failed: {status}"));
        }
    }
    Ok(())
}
