//! Paths of this repository that comments and documents name: each exists.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Findings, Text, comments};

/// A word that starts so is meant as a path of this repository.
const FOLDERS: [&str; 11] =
    [".ci/", "crates/", "docs/", "tests/", "scripts/", "xtask/", "examples/", "benches/", "fuzz/", "spec/", "cases/"];
/// These are not in the repository, whatever one machine has beside it.
const OUTSIDE: [&str; 2] = ["spec/", "cases/"];

/// Behaviours by number, first in each line.
const BEHAVIOURS: &str = "xtask/data/behaviours.tsv";

/// Adds a finding for each path that is not there or has no such section, and for each unknown
/// number of a behaviour.
pub(super) fn check(root: &Path, texts: &[Text], findings: &mut Findings) {
    let table = texts.iter().find(|t| t.path == BEHAVIOURS).map_or("", |t| &t.content);
    let known: BTreeSet<&str> = table.lines().filter_map(|line| line.split('\t').next()).collect();
    let looked_at = texts.iter().filter(|t| !t.path.starts_with("fuzz/corpus") && !t.path.starts_with("tests/modules"));
    for text in looked_at {
        let is_document = is_document(&text.path);
        let lines: Vec<(usize, &str)> = if is_document {
            text.content.lines().enumerate().map(|(at, line)| (at + 1, line)).collect()
        } else {
            comments::of(text)
        };
        for (number, line) in lines {
            for behaviour in behaviours(line).filter(|behaviour| !known.contains(behaviour)) {
                let message = format!("names the behaviour {behaviour}, which `{BEHAVIOURS}` does not have");
                findings.add(&format!("{}:{number}", text.path), message);
            }
            for named in words(line) {
                if let Some(problem) = problem(root, texts, &text.path, named, is_document) {
                    findings.add(&format!("{}:{number}", text.path), format!("names `{named}`, {problem}"));
                }
            }
        }
    }
}

fn is_document(path: &str) -> bool {
    path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/'))
}

/// What is wrong with a word as a path. `None` when it is fine or no path of ours.
fn problem(root: &Path, texts: &[Text], place: &str, named: &str, is_document: bool) -> Option<&'static str> {
    if OUTSIDE.iter().any(|folder| named.starts_with(folder)) {
        return Some("which is not in the repository; say it in plain words, or in `docs/protocol.md`");
    }
    let (path, section) = named.split_once('#').unwrap_or((named, ""));
    let path = path.split_once(':').map_or(path, |(path, _)| path).trim_end_matches('.');
    if FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        // What belongs to one crate is often named from its folder on.
        let own = place.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        let found = ["", &own].iter().any(|folder| exists(&root.join(folder), path));
        return match found {
            false => Some("which does not exist"),
            true if has_section(texts, path, section) => None,
            true => Some("which has no such section"),
        };
    }
    let is_source =
        path.ends_with(".rs") && !path.contains(['*', '{', '<']) && !is_document && !place.contains("tests/");
    let missing = is_source && !texts.iter().any(|t| t.path == path || t.path.ends_with(&format!("/{path}")));
    missing.then_some("which does not exist")
}

/// A path may hold `*`, `{a,b}`, or a part in capitals for several; then its fixed beginning has to
/// exist.
fn exists(root: &Path, path: &str) -> bool {
    let is_open =
        |part: &&str| part.contains(['*', '{', '<', '…', '$']) || part.chars().all(|c| c.is_ascii_uppercase());
    let fixed: Vec<&str> = path.trim_end_matches('/').split('/').take_while(|part| !is_open(part)).collect();
    root.join(fixed.join("/")).exists()
}

/// Whether a document has the heading. True for what is no document of ours.
fn has_section(texts: &[Text], path: &str, section: &str) -> bool {
    let Some(text) = texts.iter().find(|t| t.path == path && is_document(&t.path)) else { return true };
    let mut headings = text.content.lines().filter(|line| line.starts_with('#'));
    section.is_empty() || headings.any(|heading| slug(heading) == section)
}

/// The name that a heading has in an address.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The numbers after `behaviour` or `behaviours`, such as CTR-002.
fn behaviours(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split_once("behaviour").map_or("", |(_, after)| after.strip_prefix('s').unwrap_or(after));
    let words = after.split([' ', ',', '.', ';', '`', ')']).filter(|word| !word.is_empty() && *word != "and");
    words.take_while(|word| {
        let number = word.trim_end_matches(|c: char| c.is_ascii_lowercase()).rsplit_once('-');
        number.is_some_and(|(family, number)| {
            family.chars().all(|c| c.is_ascii_uppercase() || c == '-')
                && !number.is_empty()
                && number.chars().all(|c| c.is_ascii_digit())
        })
    })
}

/// The words of a line that could be paths, without the marks around them.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "`\"'()[];|".contains(c))
        .map(|word| word.trim_end_matches(['.', ',', ':', '?', '!']))
        .filter(|word| word.contains('/') || word.contains(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings of a repository with one crate and one document, when `line` stands in the file
    /// `path`.
    fn check_line(path: &str, line: &str) -> Vec<String> {
        let text = |path: &str, content: &str| Text { path: path.to_owned(), content: content.to_owned() };
        let texts =
            [text("docs/guide.md", "# A\n\n## First: steps\n"), text(path, line), text("crates/a/src/held.rs", "")];
        let mut findings = Findings::default();
        check(&crate::root(), &texts, &mut findings);
        findings.0
    }

    #[test]
    fn dead_paths_are_found_in_comments_and_documents() {
        for dead in ["crates/no/src", "docs/no.md", "scripts/no", "xtask/src/no.rs:12", "crates/no/{a,b}.rs"] {
            let wanted = format!("crates/a/src/x.rs:1: names `{dead}`, which does not exist");
            assert_eq!(check_line("crates/a/src/x.rs", &format!("// See `{dead}`.")), [wanted]);
            assert_eq!(check_line("README.md", &format!("See {dead}, there.")).len(), 1);
        }
        assert_eq!(check_line("crates/a/src/x.rs", "// See `gone.rs`.").len(), 1);
        assert_eq!(check_line("tests/x.py", "\"\"\"By docs/no.md.\"\"\"").len(), 1);
    }

    #[test]
    fn what_exists_and_what_is_no_path_of_ours_is_fine() {
        for fine in [
            "// See `xtask/src/tidy`, docs/cli.md and scripts/test.",
            "// See `held.rs` and `xtask/src/tidy/{mod,paths}.rs`.",
            "// Written to `tests/dockerfiles/NAME/expected.txt`.",
            "// See <https://example.com/docs/no.md> and `app/tests/no`.",
            "let a = \"docs/no.md\";",
        ] {
            assert_eq!(check_line("crates/a/src/x.rs", fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn folders_beside_the_repository_are_never_named() {
        let outside = ["sp", "ec/protocol.md"].concat();
        let found = check_line("crates/a/src/x.rs", &format!("/// Clients match on it; see {outside} §1.2."));
        assert!(found[0].contains("is not in the repository"), "{found:?}");
        assert_eq!(check_line("crates/a/src/x.rs", "// git-lfs.github.com/spec/v1"), [""; 0]);
    }

    #[test]
    fn numbers_of_behaviours_are_those_of_the_table() {
        let all = |line: &'static str| behaviours(line).collect::<Vec<_>>();
        assert_eq!(all("// see behaviour GIT-017 and XS-004."), ["GIT-017", "XS-004"]);
        assert_eq!(all("// behaviours CFS-010, DIR-021, and more"), ["CFS-010", "DIR-021"]);
        assert_eq!(all("// The behaviour of a field."), [""; 0]);
        let found = check_line("crates/a/src/x.rs", "// Clients match on this text; see behaviour CTR-999.");
        assert!(found[0].contains("names the behaviour CTR-999"), "{found:?}");
    }

    #[test]
    fn sections_exist() {
        assert_eq!(check_line("crates/a/src/x.rs", "// See docs/guide.md#first-steps."), [""; 0]);
        assert_eq!(check_line("crates/a/src/x.rs", "// See docs/guide.md#second.").len(), 1);
    }
}
