//! Errors of the configuration file: the line, the key, and what was meant.

use std::path::Path;

use rondel_fault::{Fault, nearest};

/// The start of the error of an unknown key, as `serde` writes it.
const UNKNOWN: &str = "unknown field `";

/// The error that `text`, the content of the configuration `path`, is not understood.
pub(crate) fn not_understood(path: &Path, text: &str, error: &toml::de::Error) -> Fault {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let place = format!("the configuration `{}`, line {line}", path.display());
    let message = error.message();
    let Some((key, expected)) = message.strip_prefix(UNKNOWN).and_then(|rest| rest.split_once('`')) else {
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        return Fault::user(match key {
            Some(key) if !key.is_empty() => format!("{place}, `{key}`: {message}"),
            _ => format!("{place}: {message}"),
        });
    };
    let fault = Fault::user(format!("{place}: unknown key `{key}`"));
    let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(key, keys.iter().copied()) {
        Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
        None => fault.with_hint(format!("the keys here are `{}`", keys.join("`, `"))),
    }
}
