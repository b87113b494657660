//! Splits text into instructions: directives, comments, continued lines, here-documents.

use crate::error::{Error, Source};
use crate::words;

/// The most bytes of a Dockerfile.
pub const MAX_BYTES: usize = 4 << 20;

/// One instruction as it was written, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The number of its first line, from 1.
    pub(crate) number: usize,
    /// The first word, in capital letters.
    pub(crate) keyword: String,
    /// What follows it.
    pub(crate) rest: String,
    /// Its here-documents, in order.
    pub(crate) documents: Vec<HereDocument>,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HereDocument {
    /// The word that ends it.
    pub(crate) name: String,
    /// Variables in it are expanded.
    pub(crate) expand: bool,
    /// Leading tabs do not count.
    pub(crate) chomp: bool,
    /// The text, each line with its end.
    pub(crate) text: String,
}

impl HereDocument {
    /// The text that is meant.
    pub(crate) fn content(&self) -> String {
        if !self.chomp {
            return self.text.clone();
        }
        self.text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// A Dockerfile as lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// What takes the meaning from the next character and continues a line.
    pub(crate) escape: char,
    /// The front end that was asked for.
    pub(crate) syntax: Option<String>,
    pub(crate) all: Vec<Line>,
}

/// Splits `text` into instructions.
pub(crate) fn split(source: &Source, text: &str) -> Result<Lines, Error> {
    let at = |number: usize| source.at(number, "");
    if text.len() > MAX_BYTES {
        return Err(at(1).error(format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line)).peekable();
    let mut found = Lines { escape: '\\', syntax: None, all: Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    while let Some((key, value)) = lines.peek().and_then(|(_, line)| directive(line)) {
        let Some((number, _)) = lines.next() else { break };
        if seen.contains(&key) {
            return Err(at(number).error(format!("only one `{key}` directive can be used")));
        }
        match (&*key, &*value) {
            ("escape", "\\" | "`") => found.escape = value.chars().next().unwrap_or('\\'),
            ("escape", _) => {
                return Err(at(number).error(format!("the escape character is `\\` or a backtick, not `{value}`")));
            }
            ("syntax", _) => found.syntax = Some(value),
            _ => {}
        }
        seen.push(key);
    }
    while let Some((number, first)) = lines.next() {
        let trimmed = first.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (mut whole, mut more) = continued(trimmed, found.escape);
        while more {
            let Some((_, next)) = lines.next() else { break };
            let trimmed = next.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (part, again) = continued(next, found.escape);
            whole.push_str(&part);
            more = again;
        }
        let whole = whole.trim_end();
        if whole.is_empty() {
            continue;
        }
        let (keyword, rest) = whole.split_once(|c: char| c.is_whitespace()).unwrap_or((whole, ""));
        let mut line =
            Line { number, keyword: keyword.to_ascii_uppercase(), rest: rest.trim().to_owned(), documents: Vec::new() };
        for mut document in documents_of(&line, found.escape) {
            document.text = read_document(&document, &mut lines)
                .ok_or_else(|| at(number).error(format!("the here-document `{}` has no end", document.name)))?;
            line.documents.push(document);
        }
        found.all.push(line);
    }
    Ok(found)
}

/// The name and value of a directive, when the line is one.
fn directive(line: &str) -> Option<(String, String)> {
    let rest = line.trim_start().strip_prefix('#')?;
    let (key, value) = rest.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    matches!(&*key, "syntax" | "escape" | "check").then(|| (key, value.trim().to_owned()))
}

/// The line without what continues it, and whether it is continued.
fn continued(line: &str, escape: char) -> (String, bool) {
    let end = line.trim_end_matches([' ', '\t']);
    match end.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

/// The here-documents that a line begins.
fn documents_of(line: &Line, escape: char) -> Vec<HereDocument> {
    let mut keyword = &*line.keyword;
    let inner = line.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if keyword == "ONBUILD" {
        keyword = &inner;
    }
    if !matches!(keyword, "RUN" | "COPY" | "ADD") || !line.rest.contains("<<") {
        return Vec::new();
    }
    words::shell_words(&line.rest, escape).iter().filter_map(|word| here_document(word)).collect()
}

/// The here-document that a word begins: `<<NAME`, `<<-NAME`, `<<"A NAME"`, also after the number
/// of a descriptor.
pub(crate) fn here_document(word: &str) -> Option<HereDocument> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (mut name, mut quote, mut expand) = (String::new(), None, true);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => return None,
            None if c == '"' || c == '\'' => (quote, expand) = (Some(c), false),
            Some(open) if c == open => quote = None,
            None | Some('"') if c == '\\' => {
                expand = false;
                name.extend(chars.next());
            }
            _ => name.push(c),
        }
    }
    let is_name = quote.is_none() && !name.is_empty() && !name.contains('<');
    is_name.then_some(HereDocument { name, expand, chomp, text: String::new() })
}

fn read_document<'a>(document: &HereDocument, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    let mut text = String::new();
    for (_, line) in lines {
        let compared = if document.chomp { line.trim_start_matches('\t') } else { line };
        if compared == document.name {
            return Some(text);
        }
        text.push_str(line);
        text.push('\n');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Lines, Error> {
        split(&Source::new("Dockerfile"), text)
    }

    fn check(text: &str, want: &[(usize, &str, &str)]) {
        let got = lines(text).expect("is split").all;
        let got: Vec<(usize, &str, &str)> = got.iter().map(|l| (l.number, &*l.keyword, &*l.rest)).collect();
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn lines_are_joined() {
        check("from a\n\n# c\nRUN x \\\n  y\n", &[(1, "FROM", "a"), (4, "RUN", "x   y")]);
        check("RUN a \\\n# comment\n\n  && b\nUSER c", &[(1, "RUN", "a   && b"), (5, "USER", "c")]);
        check("RUN a \\  \nb\\\\\nUSER c", &[(1, "RUN", "a b\\\\"), (3, "USER", "c")]);
        check("# escape=`\nRUN a `\n b\\", &[(2, "RUN", "a  b\\")]);
        check("\u{feff}FROM a\r\nUSER b\r\n", &[(1, "FROM", "a"), (2, "USER", "b")]);
        check("RUN a \\", &[(1, "RUN", "a")]);
        check("  \\\nRUN x", &[(1, "RUN", "x")]);
    }

    #[test]
    fn directives() {
        let found = lines("# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nFROM a").expect("is split");
        assert_eq!((found.escape, found.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
        assert_eq!(lines("# hello\n# escape=`\nFROM a").expect("is split").escape, '\\');
        assert!(lines("# escape=x\nFROM a").is_err());
        assert!(lines("# escape=`\n# escape=`\nFROM a").is_err());
    }

    #[test]
    fn documents() {
        let found = lines("RUN <<A cat <<-'B'\n# 1\nA\n\t2\n\tB\nCOPY <<\"X y\" <<Z /t/\nX\nX y\nz\nZ\nRUN a\n")
            .expect("is split");
        let texts: Vec<(&str, bool, String)> =
            found.all.iter().flat_map(|l| &l.documents).map(|d| (&*d.name, d.expand, d.content())).collect();
        assert_eq!(
            texts,
            [("A", true, "# 1\n"), ("B", false, "2\n"), ("X y", false, "X\n"), ("Z", true, "z\n")]
                .map(|(name, expand, text)| (name, expand, text.to_owned()))
        );
        assert_eq!(found.all.len(), 3);
        let error = lines("FROM a\nRUN <<EOF\nx").expect_err("has no end").to_string();
        assert_eq!(error, "`Dockerfile` line 2: the here-document `EOF` has no end");
        let names = |word: &str| here_document(word).map(|document| document.name);
        assert_eq!(names("3<<'E O F'").as_deref(), Some("E O F"));
        assert_eq!(names("<<E\\ F").as_deref(), Some("E F"));
        for no in ["<<E F", "<<'E", "<<''", "<<'a' 'b'", "<<'<'"] {
            assert_eq!(names(no), None, "{no}");
        }
        assert!(lines("RUN a <<<b && c << d").expect("is split").all[0].documents.is_empty());
    }
}
