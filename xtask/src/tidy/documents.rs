//! Documents: every link leads somewhere, and every test that they name exists.

use std::path::Path;

use super::{Findings, Text};

pub(super) fn check(root: &Path, texts: &[Text], findings: &mut Findings) {
    let ours = |t: &&Text| t.has_extension("md") && (t.path.starts_with("docs/") || !t.path.contains('/'));
    for text in texts.iter().filter(ours) {
        let folder = Path::new(&text.path).parent().unwrap_or(Path::new(""));
        for named in in_backticks(&text.content).filter(|named| named.contains('/')) {
            if let Some((file, test)) = named.split_once("::")
                && !has_test(texts, file, test)
            {
                findings.add(&text.path, format!("names the test `{named}`, which does not exist"));
            }
        }
        for link in links(&text.content).filter(|l| !l.contains("://") && !l.starts_with('#')) {
            let target = link.split('#').next().unwrap_or(link);
            if !root.join(folder).join(target).exists() {
                findings.add(&text.path, format!("links to `{link}`, which does not exist"));
            }
        }
    }
}

/// Whether the file has a function of that name, in Rust or Python.
fn has_test(texts: &[Text], file: &str, test: &str) -> bool {
    let content = texts.iter().find(|text| text.path == file).map_or("", |text| &text.content);
    ["fn", "def"].iter().any(|keyword| content.contains(&format!("{keyword} {test}(")))
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_whole_name() {
        let content = "fn one() {}\ndef test_two(engine):\n".to_owned();
        let texts = [Text { path: "tests/x.py".into(), content }];
        assert!(has_test(&texts, "tests/x.py", "one") && has_test(&texts, "tests/x.py", "test_two"));
        assert!(!has_test(&texts, "tests/x.py", "test_tw") && !has_test(&texts, "tests/y.py", "one"));
    }

    #[test]
    fn paths_and_links_are_found() {
        let text = "See `crates/a/src` and `x`, [here](docs/guide.md#top).";
        assert_eq!(in_backticks(text).collect::<Vec<_>>(), ["crates/a/src", "x"]);
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/guide.md#top"]);
    }
}
