//! How progress is shown: its flags, the environment, and what standard error is.

use std::io::IsTerminal as _;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction};
use rondel_fault::{Fault, Result};
use rondel_progress::{LogGroups, Verbosity};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// A block at the bottom of the terminal.
    Tty,
    /// One line after the other, for logs.
    Plain,
    /// One character for each step.
    Dots,
    /// The output of programs.
    Logs,
    /// Events as JSON.
    Json,
    /// No progress.
    Quiet,
}

/// How standard error shows text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorStream {
    /// Colours are used.
    pub(crate) color: bool,
    /// The terminal breaks lines anew when it becomes narrower.
    pub(crate) reflows: bool,
    /// The log of a CI service folds groups of lines.
    pub(crate) groups: LogGroups,
}

/// The flags about progress.
pub(crate) fn args() -> [Arg; 3] {
    // An empty variable is like none.
    let values = [PossibleValue::new("auto").alias("")].into_iter();
    let values = values.chain(["tty", "plain", "dots", "logs", "json", "quiet"].map(PossibleValue::new));
    [
        Arg::new("progress")
            .long("progress")
            .global(true)
            .value_name("HOW")
            .env("RONDEL_PROGRESS")
            .hide_env_values(true)
            .value_parser(PossibleValuesParser::new(values))
            .default_value("auto")
            .help("How progress is shown on standard error"),
        Arg::new("silent")
            .long("quiet")
            .short('q')
            .visible_alias("silent")
            .visible_short_alias('s')
            .global(true)
            .action(ArgAction::SetTrue)
            .help("Show no progress"),
        Arg::new("verbose")
            .long("verbose")
            .short('v')
            .global(true)
            .action(ArgAction::Count)
            .help("Show steps that were cached or short, too; -vv: also those that no user wrote"),
    ]
}

impl ProgressMode {
    /// What `--progress HOW` means. `shares_terminal` says that other programs write to the
    /// terminal of standard error.
    ///
    /// # Errors
    ///
    /// If a terminal is asked for and standard error is none.
    pub(crate) fn new(how: &str, shares_terminal: bool) -> Result<Self> {
        let is_terminal = std::io::stderr().is_terminal();
        match how {
            "plain" => Ok(ProgressMode::Plain),
            "dots" => Ok(ProgressMode::Dots),
            "logs" => Ok(ProgressMode::Logs),
            "json" => Ok(ProgressMode::Json),
            "quiet" => Ok(ProgressMode::Quiet),
            "tty" if !is_terminal => Err(Fault::user("no tty available for progress \"tty\"")),
            "tty" => Ok(ProgressMode::Tty),
            _ if is_terminal && !is_dumb() && !shares_terminal => Ok(ProgressMode::Tty),
            _ => Ok(ProgressMode::Plain),
        }
    }
}

/// How much is shown with this many `-v`.
pub(crate) fn verbosity(count: u8) -> Verbosity {
    match count {
        0 => Verbosity::Normal,
        1 => Verbosity::Verbose,
        _ => Verbosity::All,
    }
}

impl ErrorStream {
    /// The standard error of this process.
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal() && !is_dumb();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { color: uses_color(is_terminal, variable), reflows: reflows(variable), groups: groups(variable) }
    }
}

fn is_dumb() -> bool {
    std::env::var("TERM").is_ok_and(|term| term == "dumb")
}

/// Whether colours are used, by the conventions of `NO_COLOR` and `CLICOLOR`. Empty variables are
/// not set.
pub(crate) fn uses_color(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_on = |name: &str| variable(name).map(|value| value != "0");
    match (variable("NO_COLOR"), is_on("CLICOLOR_FORCE"), is_on("CLICOLOR")) {
        (Some(_), _, _) => false,
        (None, Some(true), _) => true,
        (None, _, Some(false)) => false,
        _ => is_terminal,
    }
}

/// Whether the terminal is one that is known to break lines anew when it becomes narrower. With any
/// other one, too little is erased rather than too much.
fn reflows(variable: impl Fn(&str) -> Option<String>) -> bool {
    let known = [
        "VTE_VERSION",
        "KITTY_WINDOW_ID",
        "KONSOLE_VERSION",
        "ALACRITTY_WINDOW_ID",
        "WEZTERM_PANE",
        "WT_SESSION",
        "TERM_PROGRAM",
        "TMUX",
    ];
    variable("XTERM_VERSION").is_none() && known.into_iter().any(|name| variable(name).is_some())
}

fn groups(variable: impl Fn(&str) -> Option<String>) -> LogGroups {
    let is_true = |name: &str| variable(name).is_some_and(|value| value == "true");
    match (is_true("GITHUB_ACTIONS"), is_true("GITLAB_CI")) {
        (true, _) => LogGroups::GitHub,
        (_, true) => LogGroups::GitLab,
        _ => LogGroups::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_environment<T>(set: &[(&str, &str)], look: impl Fn(&dyn Fn(&str) -> Option<String>) -> T) -> T {
        look(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn colours_follow_the_conventions() {
        for (set, on_terminal, elsewhere) in [
            (&[][..], true, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("CLICOLOR_FORCE", "1")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR", "0")], false, false),
            (&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false, false),
        ] {
            let found = [true, false].map(|terminal| in_environment(set, |variable| uses_color(terminal, variable)));
            assert_eq!(found, [on_terminal, elsewhere], "{set:?}");
        }
    }

    #[test]
    fn terminals_and_services_are_known_by_their_variables() {
        assert!(in_environment(&[("VTE_VERSION", "7000")], |variable| reflows(variable)));
        assert!(!in_environment(&[], |variable| reflows(variable)));
        assert!(!in_environment(&[("TMUX", "x"), ("XTERM_VERSION", "x")], |variable| reflows(variable)));
        assert_eq!(in_environment(&[("GITHUB_ACTIONS", "true")], |variable| groups(variable)), LogGroups::GitHub);
        assert_eq!(in_environment(&[("GITLAB_CI", "true")], |variable| groups(variable)), LogGroups::GitLab);
        assert_eq!(in_environment(&[("GITLAB_CI", "false")], |variable| groups(variable)), LogGroups::None);
    }
}
