//! The command line of a container's process.

use rondel_fault::{Fault, Result};
use rondel_model::ImageConfig;

/// The command line: the entrypoint if it is used, then `args`, or the default arguments if `args`
/// is empty.
///
/// # Errors
/// When the command line is empty.
pub(crate) fn resolve(config: &ImageConfig, args: &[String], use_entrypoint: bool) -> Result<Vec<String>> {
    let own = if args.is_empty() { config.cmd.as_deref().unwrap_or_default() } else { args };
    let entrypoint = config.entrypoint.as_deref().filter(|_| use_entrypoint).unwrap_or_default();
    let command: Vec<String> = entrypoint.iter().chain(own).cloned().collect();
    if command.is_empty() {
        return Err(none());
    }
    Ok(command)
}

/// The error for a container without a command.
pub(crate) fn none() -> Fault {
    // Clients match on this text; see behaviour EXEC-003.
    Fault::user("no command has been set")
        .with_hint("name it in `args`, or set one with `withDefaultArgs` or `withEntrypoint`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entrypoint: &[&str], cmd: &[&str], args: &[&str], use_entrypoint: bool, want: Result<&[&str], &str>) {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let config =
            ImageConfig { entrypoint: Some(owned(entrypoint)), cmd: Some(owned(cmd)), ..ImageConfig::default() };
        let got = resolve(&config, &owned(args), use_entrypoint).map_err(|fault| fault.to_string());
        assert_eq!(got, want.map(owned).map_err(ToOwned::to_owned));
    }

    #[test]
    fn commands() {
        check(&["sh", "-c"], &["id"], &["ls"], false, Ok(&["ls"]));
        check(&["sh", "-c"], &["id"], &["ls"], true, Ok(&["sh", "-c", "ls"]));
        check(&["sh", "-c"], &["id"], &[], true, Ok(&["sh", "-c", "id"]));
        check(&["sh", "-c"], &["id"], &[], false, Ok(&["id"]));
        check(&["echo"], &[], &[], true, Ok(&["echo"]));
        check(&["echo"], &[], &[], false, Err("no command has been set"));
        check(&[], &[], &[], true, Err("no command has been set"));
    }
}
