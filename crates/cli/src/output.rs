//! Writes results to standard output and to files.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;

use rondel_fault::{Attempt as _, Fault, Result};
use serde_json::Value;

/// The cause of an error: standard output has no reader.
#[derive(Debug)]
pub(crate) struct StdoutClosed;

impl std::fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for StdoutClosed {}

/// Writes `text` to standard output, unchanged.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            Err(Fault::environment("write the result").caused_by(StdoutClosed))
        }
        written => written.attempt(|| "write the result".into()),
    }
}

/// Returns whether every result is followed by a line end. Only a terminal gets one, so that text
/// on standard error starts on a line of its own.
pub(crate) fn ends_lines() -> bool {
    std::io::stdout().is_terminal()
}

/// The columns of the terminal of standard output. `None` if it goes elsewhere.
pub(crate) fn columns() -> Option<usize> {
    let out = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| out.is_terminal() && size.ws_col > 0);
    size.map(|size| usize::from(size.ws_col))
}

/// Writes a result. A terminal gets a line end after it; anything else gets the exact text.
pub(crate) fn result(text: &str) -> Result<()> {
    let line_end = ends_lines() && !text.is_empty() && !text.ends_with('\n');
    write(text)?;
    if line_end { write("\n") } else { Ok(()) }
}

/// Formats a scalar result as text: strings raw, lists one item per line, maps one value per line.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| format!("{}\n", plain(item))).collect(),
        Value::Object(fields) => fields.values().map(|item| format!("{}\n", plain(item))).collect(),
        other => other.to_string(),
    }
}

/// Formats a result as JSON, indented by four, with a line end.
pub(crate) fn json(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let done = serde::Serialize::serialize(value, &mut serializer);
    debug_assert!(done.is_ok(), "a value serializes");
    format!("{}\n", String::from_utf8_lossy(&out))
}

/// Writes a scalar result to `path`, creates its parent directories, and notes the path on standard
/// error.
pub(crate) fn save(text: &str, path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).attempt(|| format!("make the directory `{}`", parent.display()))?;
    }
    std::fs::write(path, text).attempt(|| format!("write `{}`", path.display()))?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    note(&format!("Saved output to \"{}\".", absolute.display()));
    Ok(())
}

/// Prints a line to standard error.
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
