//! Builds pid 1 of the containers, a program of a few kilobytes on bare system calls, with the compiler that builds the crate.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "init/init.rs";

fn main() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").ok_or("`RUSTC` is not set")?;
    let target = env::var("TARGET").map_err(|e| format!("`TARGET`: {e}"))?;
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or("`OUT_DIR` is not set")?).join("init");
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "init", "--target", &target]);
    command.args([
        "-C",
        "panic=abort",
        "-C",
        "opt-level=s",
        "-C",
        "debuginfo=0",
        "-C",
        "strip=symbols",
        "-C",
        "relocation-model=static",
    ]);
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-z,norelro,-N"] {
        command.arg("-C").arg(format!("link-arg={argument}"));
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        command.arg("-C").arg(option);
    }
    let status = command
        .arg("-o")
        .arg(&output)
        .arg(SOURCE)
        .status()
        .map_err(|e| format!("cannot run the compiler on `{SOURCE}`: {e}"))?;
    if !status.success() {
        return Err(format!("cannot compile `{SOURCE}`: {status}"));
    }
    for input in [SOURCE, "build.rs"] {
        writeln(&format!("cargo:rerun-if-changed={input}"));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn writeln(line: &str) {
    println!("{line}");
}
