//! Measures the budgets of `docs/architecture.md` from outside, on the binary that users run, and
//! prints one table.
//!
//! *Invariants.* Nothing of the engine is linked in. Every row says its budget, the median, the
//! 95th percentile and how often it ran. The engine's state is in a folder of its own, which is
//! removed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool that talks to its terminal")]

mod builds;
mod display;
mod engine;
mod http;
mod modules;
mod peers;
mod rows;
mod samples;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::Engine;
use crate::samples::Row;

const USAGE: &str = "usage: rondel-bench --binary FILE --images DIR --module DIR [--quick] [ROW…]";

/// What was asked for.
struct Options {
    binary: PathBuf,
    images: PathBuf,
    module: PathBuf,
    /// A tenth of the runs.
    quick: bool,
    only: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = options(std::env::args().skip(1)).and_then(|options| run(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut binary, mut images, mut module, mut quick, mut only) = (None, None, None, false, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--binary" => binary = words.next().map(PathBuf::from),
            "--images" => images = words.next().map(PathBuf::from),
            "--module" => module = words.next().map(PathBuf::from),
            "--quick" => quick = true,
            _ if word.starts_with('-') => return Err(USAGE.into()),
            _ => only.push(word),
        }
    }
    let absolute = |path: Option<PathBuf>| {
        let path = path.ok_or(USAGE)?;
        path.canonicalize().map_err(|e| format!("there is no `{}`: {e}", path.display()))
    };
    Ok(Options { binary: absolute(binary)?, images: absolute(images)?, module: absolute(module)?, quick, only })
}

fn run(options: &Options) -> Result<(), String> {
    let engine = Engine::new(options)?;
    println!("{}", Row::HEAD);
    let mut failures = Vec::new();
    for (name, measure) in rows::all() {
        if !options.only.is_empty() && !options.only.iter().any(|o| name.contains(o.as_str())) {
            continue;
        }
        match measure(&engine) {
            Ok(rows) => rows.iter().for_each(|row| println!("{row}")),
            Err(message) => failures.push(format!("{name}: {message}")),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n")),
    }
}
