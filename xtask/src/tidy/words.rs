//! Words that mark sentences which have to be read twice.

use super::{Findings, Text, comments};

/// Put together here, so that this file does not find itself. What to write instead stands beside
/// each.
fn retired() -> [(String, &'static str); 4] {
    [
        (["who", "ever"].concat(), "name the one who does it"),
        (["no", "body"].concat(), "say what does not happen"),
        (["some", "body"].concat(), "name the one who does it"),
        (["; ", "none:"].concat(), "write \"`None` …\" and what it means"),
    ]
}

/// Adds a finding for each retired word in the source of a crate, in comments, names and texts
/// alike.
pub(super) fn check(texts: &[Text], findings: &mut Findings) {
    let retired = retired();
    for text in texts.iter().filter(|t| t.has_extension("rs") && comments::is_product(&t.path)) {
        for (at, line) in text.content.lines().enumerate() {
            let line = line.to_lowercase();
            for (word, instead) in retired.iter().filter(|(word, _)| has_word(&line, word)) {
                findings.add(&format!("{}:{}", text.path, at + 1), format!("says `{word}`; {instead}"));
            }
        }
    }
}

/// Whether the word stands alone, and not as the name of the Unix user, which is quoted or beside a
/// colon.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let is_user = |c: Option<char>| c.is_some_and(|c| "\"`:".contains(c));
        let starts_as_word = !word.starts_with(char::is_alphabetic) || !is_letter(before);
        starts_as_word && !is_letter(after) && !(is_user(before) && is_user(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_words_are_found_as_whole_words_and_the_user_is_not() {
        let [who, no, _, none] = retired().map(|(word, _)| word);
        let has = |line: &str, word: &str| has_word(&line.to_lowercase(), word);
        assert!(has(&format!("// {who} asks"), &who));
        assert!(has(&format!("// For{none} it is new"), &none));
        assert!(has(&format!("Reuse::{no} => 1"), &no));
        assert!(has(&format!("// {}!", no.to_uppercase()), &no));
        assert!(!has(&format!("let any{no} = 1"), &no));
        assert!(!has(&format!("check(\"{no}\")"), &no));
        assert!(!has(&format!("check(\"ann:{no}\")"), &no));
    }

    #[test]
    fn only_the_source_of_crates_is_looked_at() {
        let [who, ..] = retired().map(|(word, _)| word);
        let text = |path: &str| Text { path: path.to_owned(), content: format!("//! A.\n// {who}\n") };
        let mut findings = Findings::default();
        check(&[text("crates/a/src/b/x.rs"), text("crates/a/tests/x.rs"), text("fuzz/src/x.rs")], &mut findings);
        assert_eq!(findings.0.len(), 1);
        assert!(findings.0[0].starts_with("crates/a/src/b/x.rs:2: says"), "{}", findings.0[0]);
    }
}
