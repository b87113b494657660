//! Rust files: they say what they are, and they stay short.

use super::{Findings, Text};

const LONGEST_FILE: usize = 1000;
const LONGEST_FUNCTION: usize = 120;
/// A table or a golden opts out of the lengths with such a line, which gives the reason.
const TABLE: &str = "// tidy: table";

pub(super) fn check(texts: &[Text], findings: &mut Findings) {
    for text in texts.iter().filter(|t| t.has_extension("rs")) {
        let lines: Vec<&str> = text.content.lines().collect();
        if !lines.first().is_some_and(|l| l.starts_with("//!")) {
            findings.add(&text.path, "does not open with `//!`; say in one sentence what the file is");
        }
        if lines.iter().any(|l| l.starts_with(TABLE)) {
            continue;
        }
        if lines.len() > LONGEST_FILE {
            let message = format!("has {} lines, more than {LONGEST_FILE}; split it by idea", lines.len());
            findings.add(&text.path, message);
        }
        for (name, length) in functions(&lines).into_iter().filter(|(_, length)| *length > LONGEST_FUNCTION) {
            let message =
                format!("`{name}` has {length} lines, more than {LONGEST_FUNCTION}; split it into named steps");
            findings.add(&text.path, message);
        }
    }
}

/// Names and lengths of functions, as rustfmt lays them out: a body ends with a brace under the
/// start of the line.
fn functions<'l>(lines: &[&'l str]) -> Vec<(&'l str, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", &line[..indent]);
        let end = lines[at..].iter().position(|l| l.trim_end() == closing || ends_there(l, indent));
        found.push((name, end.map_or(1, |end| end + 1)));
    }
    found
}

/// A declaration without a body, or a body on the same line.
fn ends_there(line: &str, indent: usize) -> bool {
    let own = line.len() - line.trim_start().len() == indent;
    own && (line.ends_with(';') || (function_name(line).is_some() && line.ends_with('}')))
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    loop {
        let (word, rest) = words.split_once(' ')?;
        match word {
            "fn" => return rest.split(['(', '<']).next(),
            "const" | "async" | "unsafe" | "extern" | "\"C\"" => words = rest,
            _ if word.starts_with("pub") => words = rest,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let text = "impl A {\n    fn one() {}\n    pub(crate) async fn two<T>(\n        a: T,\n    ) -> u8 {\n        1\n    }\n}\n\
                    trait B {\n    fn three(&self);\n    fn four() {\n    }\n}";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(functions(&lines), [("one", 1), ("two", 5), ("three", 1), ("four", 2)]);
    }
}
