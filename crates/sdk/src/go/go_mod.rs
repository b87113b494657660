//! `go.mod`: what of it matters before Go reads it.

use rondel_fault::{Fault, Result};

use super::names::kebab;

/// The version of Go that the base image has, as major and minor.
pub(crate) const GO: (u32, u32) = (1, 26);

/// The image that has it.
pub(crate) const IMAGE: &str = "golang:1.26-bookworm";

/// The module path that a `go.mod` declares.
///
/// # Errors
/// When it declares none, has no `go` line, or asks for a newer Go.
pub(crate) fn module_path(text: &str, module: &str) -> Result<String> {
    let line = |name: &str| {
        let rest = text.lines().filter_map(|line| line.trim().strip_prefix(name));
        let rest =
            rest.filter(|rest| rest.starts_with([' ', '\t'])).map(|rest| rest.split("//").next().unwrap_or(rest));
        rest.map(|rest| rest.trim().trim_matches('"').to_owned()).next()
    };
    let path = line("module").filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Fault::user(format!("`go.mod` of module `{module}` has no module directive")))?;
    // Users match on these texts.
    let version = line("go").ok_or_else(|| Fault::user("go.mod has no go directive"))?;
    let mut numbers = version.split(['.', 'r', 'b']).map(|part| part.parse::<u32>().unwrap_or(0));
    let wanted = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if wanted > GO {
        return Err(Fault::user(format!(
            "existing go.mod has unsupported version {version} (highest supported version is {}.{}.x)",
            GO.0, GO.1
        ))
        .with_hint("lower the `go` line"));
    }
    Ok(path)
}

/// Checks that the `go.mod` that is there when a module is made is meant for the module.
///
/// # Errors
/// When it declares another path.
pub(crate) fn check_new(path: &str, module: &str) -> Result<()> {
    let expected = new_path(module);
    if path == expected {
        return Ok(());
    }
    // Users match on this text.
    let fault = Fault::user(format!("existing go.mod path \"{path}\" does not match the module's name \"{expected}\""));
    Err(fault.with_hint("the code of a module is a Go module of its own: choose another folder with `--source`"))
}

/// The `go.mod` of a module that has none.
pub(crate) fn new(module: &str) -> String {
    format!("module {}\n\ngo {}.{}\n", new_path(module), GO.0, GO.1)
}

/// The module path of a new module.
pub(crate) fn new_path(module: &str) -> String {
    format!("dagger/{}", kebab(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives() {
        let check = |text: &str, want: &str| assert_eq!(module_path(text, "m").expect("reads"), want);
        check("module dagger/my-mod\n\ngo 1.21\n", "dagger/my-mod");
        check("// x\nmodule \"example.com/a\" // y\ngo 1.26.3\ntoolchain go1.27.0\n", "example.com/a");
        let refused = |text: &str| module_path(text, "m").expect_err("is refused").to_string();
        assert_eq!(refused("module x\n"), "go.mod has no go directive");
        assert_eq!(
            refused("module x\ngo 1.99\n"),
            "existing go.mod has unsupported version 1.99 (highest supported version is 1.26.x)"
        );
        assert!(refused("go 1.20\n").contains("has no module directive"));
        check(&new("MyMod"), "dagger/my-mod");
    }
}
