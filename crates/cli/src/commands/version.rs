//! `rondel version`: prints the version.

use std::process::ExitCode;

use clap::Command;
use rondel_fault::Result;

pub(crate) fn command() -> Command {
    Command::new("version").about("Print the version, and the API version it serves")
}

pub(crate) fn run() -> Result<ExitCode> {
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    crate::output::write(&format!("rondel v{version} (API {}) {platform}\n", rondel_version::ENGINE))?;
    Ok(ExitCode::SUCCESS)
}
