//! The report of the API coverage: made by the test that compares, so that a task needs nothing of
//! the engine.

use std::path::Path;
use std::process::Command;

/// The test, and the variable that names the file it writes its report to.
const TEST: &str = "api_coverage";
const VARIABLE: &str = "RONDEL_API_COVERAGE";

/// Compares, and prints what came of it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let file = std::env::temp_dir().join(format!("rondel-api-coverage-{}", std::process::id()));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--quiet", "--package", "xtask", "--test", TEST])
        .env(VARIABLE, &file)
        .current_dir(root)
        .output();
    let report = std::fs::read_to_string(&file);
    // It may never have been written.
    let _ = std::fs::remove_file(&file);
    let output = output.map_err(|e| format!("cannot run the test `{TEST}`: {e}"))?;
    let Ok(report) = report else {
        return Err(format!("the test `{TEST}` made no report:\n{}", String::from_utf8_lossy(&output.stderr)));
    };
    print!("{report}");
    match output.status.success() {
        true => Ok(()),
        false => Err("the API differs from what its versions had; see `crates/api/schema/core.graphql`".into()),
    }
}
