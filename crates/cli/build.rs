//! Passes what the program was built from to `src/build_info.rs`: commit, profile and target.
//!
//! The commit is that of the variable `RONDEL_COMMIT`. Without it, an optimized build takes that of
//! the repository that these sources are the root of, and notes whether files differ from it; a
//! source archive has none. A development build has none either: the program would be built again
//! after each commit.

#![allow(clippy::print_stdout, reason = "a build script talks to Cargo on standard output")]

use std::path::Path;
use std::process::Command;

/// What the program is built from, below the root of the repository.
const SOURCES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "crates"];

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    // Cargo sets both variables for build scripts.
    println!("cargo::rustc-env=RONDEL_BUILD_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=RONDEL_BUILD_PROFILE={}", profile(&variable("OUT_DIR")));
    println!("cargo::rerun-if-env-changed=RONDEL_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let given = variable("RONDEL_COMMIT");
    if !given.is_empty() {
        println!("cargo::rustc-env=RONDEL_BUILD_COMMIT={given}");
        return;
    }
    if variable("OPT_LEVEL") == "0" {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some((commit, modified)) = state_of(&root) else { return };
    println!("cargo::rustc-env=RONDEL_BUILD_COMMIT={commit}");
    if modified {
        println!("cargo::rustc-env=RONDEL_BUILD_MODIFIED=1");
    }
}

/// The name of the profile: the directory below that of the target in `…/PROFILE/build/CRATE/out`.
fn profile(out: &str) -> String {
    let name = Path::new(out).ancestors().nth(3).and_then(Path::file_name);
    name.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The commit of the repository `root`, and whether files differ from it. `None` when `root` is not
/// the root of a repository.
fn state_of(root: &Path) -> Option<(String, bool)> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // A source archive may lie inside of another repository.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // `logs/HEAD` changes with each commit and checkout. The sources tell whether they differ.
    for path in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", path])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    for path in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let modified = !git(&[&["status", "--porcelain", "--untracked-files=no", "--"][..], &SOURCES].concat())?.is_empty();
    Some((commit, modified))
}
