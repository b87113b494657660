//! Comments: how wide they are, and where they begin.

use super::{Findings, Text};

pub(super) const MAX_COLUMNS: usize = 100;

/// Adds a finding for each line with a comment that is too wide.
pub(super) fn check(texts: &[Text], findings: &mut Findings) {
    for text in texts.iter().filter(|t| t.has_extension("rs") && has_prose_rules(&t.path)) {
        for (at, line) in text.content.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS && in_rust(line).is_some() {
                let message = format!(
                    "has a comment of {columns} columns, more than {MAX_COLUMNS}; `cargo xtask tidy wrap FILE` wraps it"
                );
                findings.add(&format!("{}:{}", text.path, at + 1), message);
            }
        }
    }
}

fn has_prose_rules(path: &str) -> bool {
    is_product(path) || path.starts_with("xtask/") || path.starts_with("benches/")
}

/// Source of a crate, its tests beside the code included.
pub(super) fn is_product(path: &str) -> bool {
    path.strip_prefix("crates/").and_then(|p| p.split_once('/')).is_some_and(|(_, rest)| rest.starts_with("src/"))
}

/// The comments of a file with their line numbers, from 1. Empty for languages without comments
/// that we write.
pub(super) fn of(text: &Text) -> Vec<(usize, &str)> {
    let lines = text.content.lines().enumerate();
    if text.has_extension("rs") {
        return lines.filter_map(|(at, line)| Some((at + 1, in_rust(line)?))).collect();
    }
    let is_script = text.path.starts_with("scripts/") || text.has_extension("toml");
    if !is_script && !text.has_extension("py") {
        return Vec::new();
    }
    let mut in_docstring = false;
    let mut found = Vec::new();
    for (at, line) in lines {
        let quotes = line.matches("\"\"\"").count();
        let docstring = in_docstring || line.trim_start().starts_with("\"\"\"");
        in_docstring = docstring && (in_docstring != (quotes % 2 == 1));
        let comment = if docstring { Some(line) } else { after_hash(line) };
        found.extend(comment.map(|comment| (at + 1, comment)));
    }
    found
}

/// The part of a line of Rust from `//` on, where that is not in a string or an address.
pub(super) fn in_rust(line: &str) -> Option<&str> {
    let starts = line.match_indices("//").map(|(at, _)| at);
    let mut starts = starts.filter(|at| {
        let before = &line[..*at];
        before.trim().is_empty() || (before.ends_with(' ') && before.matches('"').count().is_multiple_of(2))
    });
    Some(&line[starts.next()?..])
}

fn after_hash(line: &str) -> Option<&str> {
    let starts = line.match_indices('#').map(|(at, _)| at);
    let mut starts = starts.filter(|at| {
        let before = &line[..*at];
        before.trim().is_empty() || (before.ends_with("  ") && before.matches('"').count().is_multiple_of(2))
    });
    Some(&line[starts.next()?..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, line: &str) -> usize {
        let mut findings = Findings::default();
        check(&[Text { path: path.to_owned(), content: line.to_owned() }], &mut findings);
        findings.0.len()
    }

    #[test]
    fn wide_comments_are_found_and_wide_code_is_not() {
        let wide = "ä".repeat(95);
        assert_eq!(check_line("crates/a/src/x.rs", &format!("    // {wide}")), 1);
        assert_eq!(check_line("crates/a/src/x.rs", &format!("let a = 1; // {wide}")), 1);
        assert_eq!(check_line("xtask/src/x.rs", &format!("/// {wide} a")), 1);
        assert_eq!(check_line("crates/a/src/x.rs", &format!("/// {wide} ")), 0);
        assert_eq!(check_line("crates/a/src/x.rs", &format!("let a = \"https://{wide}\";")), 0);
        assert_eq!(check_line("crates/a/src/x.rs", &format!("let a = \"a // {wide}\";")), 0);
        assert_eq!(check_line("fuzz/src/x.rs", &format!("    // {wide}")), 0);
    }

    #[test]
    fn comments_of_python_are_those_after_a_hash_and_docstrings() {
        let content = "\"\"\"One.\n\nTwo.\"\"\"\na = \"# no\"\n# three\nb = 1  # four\n".to_owned();
        let text = Text { path: "tests/x.py".into(), content };
        let found: Vec<_> = of(&text).into_iter().map(|(at, comment)| format!("{at} {comment}")).collect();
        assert_eq!(found, ["1 \"\"\"One.", "2 ", "3 Two.\"\"\"", "5 # three", "6 # four"]);
    }
}
