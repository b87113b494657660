//! Results on standard output and in files.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;

use rondel_fault::{Attempt as _, Fault, Result};
use serde_json::Value;

/// Standard output has no reader any more. The cause of the error that ends the process.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for Closed {}

/// Writes `text` as it is.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Fault::environment("write the result").caused_by(Closed)),
        written => written.attempt(|| "write the result".into()),
    }
}

/// Whether what follows a result on standard error begins on a line of its own: a terminal gets a
/// line end behind every result, and nothing else does.
pub(crate) fn ends_lines() -> bool {
    std::io::stdout().is_terminal()
}

/// Writes a result: with a line end on a terminal, without one otherwise, so that it can be used as it is.
pub(crate) fn result(text: &str) -> Result<()> {
    let line_end = ends_lines() && !text.is_empty() && !text.ends_with('\n');
    write(text)?;
    if line_end { write("\n") } else { Ok(()) }
}

/// A scalar result as text: strings raw, lists one per line, maps their values.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| format!("{}\n", plain(item))).collect(),
        Value::Object(fields) => fields.values().map(|item| format!("{}\n", plain(item))).collect(),
        other => other.to_string(),
    }
}

/// A result as JSON: indented by four, with a line end.
pub(crate) fn json(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let done = serde::Serialize::serialize(value, &mut serializer);
    debug_assert!(done.is_ok(), "a value serializes");
    format!("{}\n", String::from_utf8_lossy(&out))
}

/// Writes a scalar result to `path`, with its parents, and says so on standard error.
pub(crate) fn save(text: &str, path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).attempt(|| format!("make the directory `{}`", parent.display()))?;
    }
    std::fs::write(path, text).attempt(|| format!("write `{}`", path.display()))?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    note(&format!("Saved output to \"{}\".", absolute.display()));
    Ok(())
}

/// Says something on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_of_results() {
        for (value, want) in [
            (json!("a\nb"), "a\nb"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(["a", 1]), "a\n1\n"),
            (json!({"x": "a", "y": 2}), "a\n2\n"),
            (json!(null), ""),
        ] {
            assert_eq!(plain(&value), want);
        }
        assert_eq!(json(&json!({"a": ["<"]})), "{\n    \"a\": [\n        \"<\"\n    ]\n}\n");
    }
}
