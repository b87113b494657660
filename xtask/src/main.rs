//! The project's own tasks, one intent each: `cargo xtask TASK`.
//!
//! *Invariants.* Few and small dependencies, so that a task starts soon. A task that fails says
//! what to do about it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool that talks to its terminal")]

mod behaviours;
mod bench;
mod coverage;
mod images;
mod reference;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  api-coverage                        the API member by member against its versions, and what is evaluated
  behaviours [REPORT.xml…]            what users observe, by number, and what came of the tests that show it
  tidy                                what the compiler does not check: layers, cycles, lengths, words, documents
  tidy cycles CRATE                   the files of one crate that import one another, with the lines
  tidy wrap PATH…                     wrap comments that are too wide
  base-images [--into DIR] [NAME…]    prepare base images from Debian packages in an OCI layout (default .state/images)
  bench [--quick] [ROW…]              measure the budgets, on a release build
  cli-reference [--check]             write or compare docs/cli.md
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["api-coverage"] => coverage::run(&root()),
        ["behaviours", reports @ ..] => behaviours::run(&root(), reports),
        ["tidy"] => tidy::run(&root()),
        ["tidy", "wrap", named @ ..] => tidy::wrap(&root(), named),
        ["tidy", "cycles", name] => tidy::cycles(&root(), name),
        ["base-images", rest @ ..] => images::run(&root(), rest),
        ["bench", rest @ ..] => bench::run(&root(), rest),
        ["cli-reference", rest @ ..] => reference::run(&root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
