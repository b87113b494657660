//! Comments of Go: groups, their text, and the pragmas in them.

use std::collections::BTreeMap;

use serde_json::{Deserializer, Value as Json};

/// Comments on adjacent lines without code between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommentGroup {
    /// The offset of the first byte.
    pub(crate) start: usize,
    /// The offset after the last byte.
    pub(crate) end: usize,
    /// The first line, from zero.
    pub(crate) first_line: usize,
    /// The last line, from zero.
    pub(crate) last_line: usize,
    /// Whether code is before it on its line.
    pub(crate) trails: bool,
    /// The comments with their markers.
    pub(crate) comments: Vec<String>,
}

impl CommentGroup {
    /// The text without markers and directives, as `go/ast` gives it.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for comment in &self.comments {
            if let Some(line) = comment.strip_prefix("//") {
                if let Some(text) = line.strip_prefix(' ') {
                    lines.push(text.trim_end().to_owned());
                } else if !is_directive(line) {
                    lines.push(line.trim_end().to_owned());
                }
                continue;
            }
            let inner = comment.strip_prefix("/*").unwrap_or(comment);
            let inner = inner.strip_suffix("*/").unwrap_or(inner);
            lines.extend(inner.split('\n').map(|line| line.trim_end().to_owned()));
        }
        let mut text = String::new();
        let mut blank = true;
        for line in lines {
            if line.is_empty() && blank {
                continue;
            }
            blank = line.is_empty();
            text.push_str(&line);
            text.push('\n');
        }
        while text.ends_with("\n\n") {
            text.pop();
        }
        text
    }
}

/// Whether a line comment is for a tool, such as `//go:embed` or `//nolint:x`.
fn is_directive(line: &str) -> bool {
    if line.starts_with("line ") || line.starts_with("extern ") || line.starts_with("export ") {
        return true;
    }
    let Some((tool, rest)) = line.split_once(':') else { return false };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !tool.is_empty() && tool.chars().all(is_word) && rest.chars().next().is_some_and(is_word)
}

/// The pragmas of a comment, and its text without them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Documentation {
    /// The text.
    pub(crate) text: String,
    /// Pragmas by name. One without a value is null.
    pub(crate) pragmas: BTreeMap<String, Json>,
}

impl Documentation {
    /// Reads the text of a comment. What is a pragma, and where it ends, is as in the original: a
    /// plus sign and a word at the end of a line, or a word, an equals sign and a value, also
    /// behind other text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut documentation = Self::default();
        let mut done = 0;
        while let Some(found) = Pragma::find(text, done) {
            let (value, end) = match found.value {
                None => (Json::Null, found.end),
                Some(at) => value(text, at),
            };
            documentation.pragmas.insert(found.name.to_owned(), value);
            documentation.text.push_str(&text[done..found.start]);
            done = end;
        }
        documentation.text.push_str(&text[done..]);
        documentation.text = documentation.text.trim().to_owned();
        documentation
    }

    /// The documentation of something that has a comment above, and one at the end of its line. The
    /// pragmas at the end of the line win, the text above does.
    pub(crate) fn merged(above: Option<&CommentGroup>, trailing: Option<&CommentGroup>) -> Self {
        let parse = |group: Option<&CommentGroup>| group.map(|it| Self::parse(&it.text())).unwrap_or_default();
        let (mut above, trailing) = (parse(above), parse(trailing));
        above.pragmas.extend(trailing.pragmas);
        if above.text.is_empty() {
            above.text = trailing.text;
        }
        above
    }

    /// Whether a pragma that is true or false is there and not `false`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.pragmas.get(name) {
            None | Some(Json::Bool(false)) => false,
            Some(Json::String(text)) => text != "false",
            Some(_) => true,
        }
    }

    /// The text of a pragma.
    pub(crate) fn string(&self, name: &str) -> Option<String> {
        match self.pragmas.get(name)? {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// The reason of `+deprecated`, which may be empty.
    pub(crate) fn deprecated(&self) -> Option<String> {
        self.pragmas.contains_key("deprecated").then(|| self.string("deprecated").unwrap_or_default())
    }
}

/// A pragma in the text of a comment. Positions are offsets.
struct Pragma<'t> {
    /// Where the blanks before the plus sign start.
    start: usize,
    name: &'t str,
    /// Where the value starts.
    value: Option<usize>,
    /// The end, of a pragma without a value.
    end: usize,
}

impl<'t> Pragma<'t> {
    /// The first pragma in `text` from `from` on.
    fn find(text: &'t str, from: usize) -> Option<Self> {
        text[from..].match_indices('+').find_map(|(at, _)| Self::at(text, from, from + at))
    }

    /// The pragma whose plus sign is at `plus`.
    fn at(text: &'t str, from: usize, plus: usize) -> Option<Self> {
        let name = plus + 1 + blanks(&text[plus + 1..]);
        let word = &text[name..];
        let word = &word[..word.find(|c: char| c.is_ascii_whitespace()).unwrap_or(word.len())];
        // A name has a character at least, which may be an equals sign.
        let first = word.chars().next()?.len_utf8();
        let start = from + text[from..plus].trim_end_matches(BLANKS).len();
        if let Some(equals) = word[first..].find('=') {
            let end = name + first + equals;
            let value = end + 1 + blanks(&text[end + 1..]);
            return Some(Self { start, name: &text[name..end], value: Some(value), end: value });
        }
        let end = name + word.len();
        let rest = &text[end..];
        let line_end = ["\r\n", "\n"].iter().find(|it| rest.starts_with(**it)).map(|it| it.len());
        let line_end = line_end.or_else(|| rest.is_empty().then_some(0))?;
        Some(Self { start, name: word, value: None, end: end + line_end })
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The length of the blanks at the start of `text`.
fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(BLANKS).len()
}

/// The value at `at`, and the end of the line in which it ends. JSON may span lines, and what is
/// behind it on its last line is dropped. Anything else is the text of the line.
fn value(text: &str, at: usize) -> (Json, usize) {
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |length| from + length + 1);
    if let Some((value, length)) = json_prefix(&text[at..]) {
        return (value, line_end(at + length));
    }
    let end = line_end(at);
    match text[at..end].trim_end_matches(['\r', '\n']) {
        "" => (Json::Null, end),
        line => (Json::String(line.to_owned()), end),
    }
}

/// The JSON value at the start of `text`, and its length. As in Go, a number or a literal ends
/// where it cannot go on.
fn json_prefix(text: &str) -> Option<(Json, usize)> {
    let blank = text.len() - text.trim_start().len();
    let start = &text[blank..];
    if let Some(literal) = ["true", "false", "null"].iter().find(|it| start.starts_with(**it)) {
        return Some((serde_json::from_str(literal).ok()?, blank + literal.len()));
    }
    if start.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        let longest = start.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(start.len());
        return (1..=longest)
            .rev()
            .find_map(|length| Some((serde_json::from_str(&start[..length]).ok()?, blank + length)));
    }
    let mut values = Deserializer::from_str(start).into_iter::<Json>();
    let value = values.next()?.ok()?;
    Some((value, blank + values.byte_offset()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(comments: &[&str]) -> CommentGroup {
        CommentGroup { comments: comments.iter().map(|it| (*it).to_owned()).collect(), ..CommentGroup::default() }
    }

    #[test]
    fn text_of_comments() {
        let check = |comments: &[&str], want: &str| assert_eq!(group(comments).text(), want);
        check(&["// One.", "//", "//", "// Two."], "One.\n\nTwo.\n");
        check(&["//go:embed x", "// Text: here", "//nolint:all"], "Text: here\n");
        check(&["//+optional"], "+optional\n");
        check(&["/* a\n   b */"], " a\n   b\n");
        check(&["//", "// x", "//"], "x\n");
    }

    #[test]
    fn pragmas_are_read_and_removed() {
        let check = |text: &str, want_text: &str, want: Json| {
            let found = Documentation::parse(text);
            assert_eq!(found.text, want_text, "{text}");
            assert_eq!(Json::Object(found.pragmas.into_iter().collect()), want, "{text}");
        };
        check("Text.\n+optional\n", "Text.", json!({"optional": null}));
        check("+ optional=true\n", "", json!({"optional": true}));
        check("+ optional = true\n", "+ optional = true", json!({}));
        check("+default=\"x y\"\nafter\n", "after", json!({"default": "x y"}));
        check("+default=\"x\" not this\nafter\n", "after", json!({"default": "x"}));
        check("+default=plain text\n", "", json!({"default": "plain text"}));
        check("+default=\nafter\n", "after", json!({"default": null}));
        check("+default=3\n+required\n", "", json!({"default": 3, "required": null}));
        check("+default=1.25.3\n", "", json!({"default": 1.25}));
        check("+ignore=[\n  \"a\",\n  \"b +c\"\n]\nText\n", "Text", json!({"ignore": ["a", "b +c"]}));
        check("+ignore=[\n\"a\"\n", "\"a\"", json!({"ignore": "["}));
        check("+ one thing\n+ another\n", "+ one thing", json!({"another": null}));
        check("say +1\nmore\n", "saymore", json!({"1": null}));
        check("In C++\n", "In C", json!({"+": null}));
        check("a+b=c d\n", "a", json!({"b": "c d"}));
        check("+cache=\"never\"\n", "", json!({"cache": "never"}));
        check("+größe=ä\n", "", json!({"größe": "ä"}));
        check("+", "+", json!({}));
    }

    #[test]
    fn pragmas_at_the_end_of_a_line_win() {
        let (above, trailing) = (group(&["// Above.", "// +default=1"]), group(&["// +default=2"]));
        let found = Documentation::merged(Some(&above), Some(&trailing));
        assert_eq!((&*found.text, &found.pragmas["default"]), ("Above.", &json!(2)));
        assert_eq!(Documentation::merged(None, Some(&group(&["// Behind."]))).text, "Behind.");
    }
}
