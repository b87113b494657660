//! The command-line reference, made from what the binary itself says.

use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/cli.md";
const HEAD: &str = "# Command line\n\nMade by `cargo xtask cli-reference` from `rondel help`; do not edit.\n";

/// Writes `docs/cli.md`, or compares it.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let (check, binary) = match words {
        [] => (false, None),
        ["--check"] => (true, None),
        ["--binary", binary] => (false, Some(*binary)),
        ["--check", "--binary", binary] => (true, Some(*binary)),
        _ => return Err("usage: cargo xtask cli-reference [--check] [--binary FILE]".into()),
    };
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), Into::into);
    let binary = binary.map_or_else(|| target.join("debug/rondel"), Into::into);
    let mut page = HEAD.to_owned();
    describe(&binary, &[], &mut page)?;
    let path = root.join(PAGE);
    if check {
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        return if there == page {
            Ok(())
        } else {
            Err(format!("`{PAGE}` is out of date; run `cargo xtask cli-reference`"))
        };
    }
    std::fs::write(&path, page).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}

/// One section per command, its subcommands after it.
fn describe(binary: &Path, command: &[&str], page: &mut String) -> Result<(), String> {
    let shown = ["rondel"].iter().chain(command).copied().collect::<Vec<_>>().join(" ");
    // `rondel help call` and not `rondel call --help`, which is about the module at hand.
    let output = Command::new(binary).arg("help").args(command).env_clear().output();
    let output = output.map_err(|e| format!("cannot run `{}`: {e}; build it first", binary.display()))?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("the help of `{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    page.push_str(&format!("\n## `{shown}`\n\n```text\n{}\n```\n", help.trim_end()));
    let subcommands: Vec<&str> = subcommands(&help).collect();
    for subcommand in subcommands {
        describe(binary, &[command, &[subcommand]].concat(), page)?;
    }
    Ok(())
}

fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| l.starts_with("  "));
    listed.filter_map(|l| l.split_whitespace().next()).filter(|name| *name != "help")
}

#[cfg(test)]
mod tests {
    use super::subcommands;

    #[test]
    fn subcommands_are_found() {
        let help = "About\n\nCommands:\n  serve  Run\n  stop   End\n  help   Print\n\nOptions:\n  -h";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["serve", "stop"]);
    }
}
