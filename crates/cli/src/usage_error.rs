//! Errors of the command line, in the words of this program's documentation.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use rondel_fault::{Fault, nearest};

use crate::{error_report, exit_code};

/// What a word of the command line selects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Noun {
    /// A command of this program.
    Command,
    /// A function of a module.
    Function,
}

impl Noun {
    fn name(self) -> &'static str {
        match self {
            Noun::Command => "command",
            Noun::Function => "function",
        }
    }
}

/// Prints help or the version if `error` is one of them, else reports a usage error. Returns the
/// exit code. With `json`, the error is JSON.
pub(crate) fn exit(error: &clap::Error, noun: Noun, json: bool) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(exit_code::CLOSED_OUTPUT),
            _ => ExitCode::SUCCESS,
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(exit_code::USAGE);
    }
    report(&fault(error, noun), json)
}

/// Reports a usage error. Returns the exit code. With `json`, the error is JSON.
pub(crate) fn report(fault: &Fault, json: bool) -> ExitCode {
    if json {
        return error_report::report_json(fault, exit_code::USAGE);
    }
    error_report::report(fault);
    ExitCode::from(exit_code::USAGE)
}

/// A usage error as an error of this program: what is wrong, near names, and where to read on.
fn fault(error: &clap::Error, noun: Noun) -> Fault {
    let noun = noun.name();
    let all = |kind| texts(error, kind);
    let first = |kind| all(kind).into_iter().next().unwrap_or_default();
    let (arg, value) = (flag(&first(ContextKind::InvalidArg)), first(ContextKind::InvalidValue));
    let why = std::error::Error::source(error);
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => format!("unknown {noun} `{}`", first(ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument if arg.starts_with('-') => format!("unknown flag `{arg}`"),
        ErrorKind::UnknownArgument => format!("unexpected word `{arg}`"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{arg}` needs a value"),
        ErrorKind::InvalidValue => format!("`{value}` is no value of `{arg}`"),
        ErrorKind::ValueValidation => match why {
            Some(why) => format!("`{value}` is no value of `{arg}`: {why}"),
            None => format!("`{value}` is no value of `{arg}`"),
        },
        ErrorKind::NoEquals => format!("the value of `{arg}` is written behind an equals sign: `{arg}=…`"),
        ErrorKind::MissingSubcommand => format!("a {noun} is missing"),
        ErrorKind::MissingRequiredArgument => {
            let names = list(&all(ContextKind::InvalidArg), "and");
            format!("{names} {} missing", if all(ContextKind::InvalidArg).len() == 1 { "is" } else { "are" })
        }
        ErrorKind::ArgumentConflict => match flag(&first(ContextKind::PriorArg)) {
            prior if prior.is_empty() || prior == arg => format!("`{arg}` is given more than once"),
            prior => format!("`{arg}` does not go with `{prior}`"),
        },
        ErrorKind::InvalidUtf8 => "a word of the command line is not UTF-8 text".to_owned(),
        _ => error.render().to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    let mut fault = Fault::user(message);
    let near = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let mut near: Vec<String> = near.into_iter().flat_map(all).map(|name| flag(&name)).collect();
    if near.is_empty() {
        // The parser regards case.
        near.extend(nearest(&value, all(ContextKind::ValidValue).iter().map(String::as_str)).map(str::to_owned));
    }
    if !near.is_empty() {
        fault = fault.with_hint(format!("did you mean {}?", list(&near, "or")));
    }
    let (values, commands) = (all(ContextKind::ValidValue), all(ContextKind::ValidSubcommand));
    let commands: Vec<String> = commands.into_iter().filter(|name| name != "help").collect();
    if !values.is_empty() {
        fault = fault.with_hint(format!("the values are {}", list(&values, "and")));
    }
    if !commands.is_empty() {
        fault = fault.with_hint(format!("the {noun}s are {}", list(&commands, "and")));
    }
    if let Some(why) = why.and_then(|why| why.downcast_ref::<Fault>()) {
        fault = why.hints().iter().fold(fault, |fault, hint| fault.with_hint(hint.clone()));
    }
    let does = match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => format!("lists the {noun}s"),
        ErrorKind::UnknownArgument => "lists what it takes".to_owned(),
        _ => "describes it".to_owned(),
    };
    match help_command(error) {
        Some(command) => fault.with_hint(format!("`{command} --help` {does}")),
        None => fault,
    }
}

/// The texts of one kind that the parser attached to an error.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The name of a flag without its value: `--progress <HOW>` is `--progress`.
fn flag(shown: &str) -> String {
    match shown.split_once(' ') {
        Some((name, _)) if name.starts_with('-') => name.to_owned(),
        _ => shown.to_owned(),
    }
}

/// The command whose usage the parser attached to an error: the text before the first argument.
fn help_command(error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage)?.to_string();
    let usage = usage.trim_start_matches("Usage:").lines().next()?.trim();
    let end = usage.find(['[', '<']).unwrap_or(usage.len());
    let words = usage[..end].split_whitespace().take_while(|word| !word.starts_with("--"));
    let command = words.collect::<Vec<_>>().join(" ");
    (!command.is_empty()).then_some(command)
}

/// Names in backticks, the last one joined by `word`.
fn list(names: &[String], word: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {word} {last}", most.join(", ")),
    }
}
