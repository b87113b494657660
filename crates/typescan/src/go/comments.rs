//! Comments of Go: groups, their text, and the pragmas in them.

use std::collections::BTreeMap;

use rondel_version::View;
use serde_json::{Deserializer, Value as Json};

/// Since this version JSON in a pragma may span lines.
const MULTILINE_PRAGMAS: View = View::new(0, 18, 11);

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
    /// Reads the text of a comment.
    pub(crate) fn parse(text: &str, view: View) -> Self {
        let mut documentation = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').map_or((rest, ""), |(line, after)| (line, after));
            match pragma(line) {
                Some((name, None)) => {
                    documentation.pragmas.insert(name.to_owned(), Json::Null);
                    rest = after;
                }
                Some((name, Some(value))) => {
                    let reach = if view >= MULTILINE_PRAGMAS { &rest[offset(rest, value)..] } else { value };
                    let (value, used) = json_or_text(reach, value);
                    documentation.pragmas.insert(name.to_owned(), value);
                    let after = &rest[offset(rest, reach) + used..];
                    rest = after.split_once('\n').map_or("", |(_, after)| after);
                }
                None => {
                    documentation.text.push_str(line);
                    documentation.text.push('\n');
                    rest = after;
                }
            }
        }
        documentation.text = documentation.text.trim().to_owned();
        documentation
    }

    /// The documentation of something that has a comment above, and one at the end of its line. The
    /// pragmas at the end of the line win, the text above does.
    pub(crate) fn merged(above: Option<&CommentGroup>, trailing: Option<&CommentGroup>, view: View) -> Self {
        let parse = |group: Option<&CommentGroup>| group.map(|it| Self::parse(&it.text(), view)).unwrap_or_default();
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

/// The offset of `part` in `whole`, of which it is a part.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The name and the value of a pragma. A list item, such as `+ one thing`, is none.
fn pragma(line: &str) -> Option<(&str, Option<&str>)> {
    let text = line.trim().strip_prefix('+')?.trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_alphabetic()) {
        return None;
    }
    match rest.trim_start().strip_prefix('=') {
        Some(value) => Some((name, Some(value.trim_start()))),
        None if rest.trim().is_empty() => Some((name, None)),
        None => None,
    }
}

/// The value at the start of `reach` as JSON, else `line` as text. Returns the length of the text
/// that was read.
fn json_or_text(reach: &str, line: &str) -> (Json, usize) {
    let mut values = Deserializer::from_str(reach).into_iter::<Json>();
    if let Some(Ok(value)) = values.next() {
        let used = values.byte_offset();
        let rest_of_line = reach[used..].split('\n').next().unwrap_or_default();
        if rest_of_line.trim().is_empty() {
            return (value, used);
        }
    }
    (Json::String(line.trim().to_owned()), line.len())
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
        let check = |text: &str, view: View, want_text: &str, want: Json| {
            let found = Documentation::parse(text, view);
            assert_eq!(found.text, want_text, "{text}");
            assert_eq!(Json::Object(found.pragmas.into_iter().collect()), want, "{text}");
        };
        let new = View::new(0, 21, 8);
        check("Text.\n+optional\n", new, "Text.", json!({"optional": null}));
        check("+ optional = true\n", new, "", json!({"optional": true}));
        check("+default=\"x y\"\nafter\n", new, "after", json!({"default": "x y"}));
        check("+default=plain text\n", new, "", json!({"default": "plain text"}));
        check("+default=3\n+required\n", new, "", json!({"default": 3, "required": null}));
        check("+ignore=[\n  \"a\",\n  \"b\"\n]\nText\n", new, "Text", json!({"ignore": ["a", "b"]}));
        check("+ignore=[\n\"a\"]\n", View::new(0, 18, 10), "\"a\"]", json!({"ignore": "["}));
        check("+ one thing\n+ another\n", new, "+ one thing", json!({"another": null}));
        check("+10 lines\n", new, "+10 lines", json!({}));
        check("+cache=\"never\"\n", new, "", json!({"cache": "never"}));
    }

    #[test]
    fn pragmas_at_the_end_of_a_line_win() {
        let view = View::new(0, 21, 8);
        let (above, trailing) = (group(&["// Above.", "// +default=1"]), group(&["// +default=2"]));
        let found = Documentation::merged(Some(&above), Some(&trailing), view);
        assert_eq!((&*found.text, &found.pragmas["default"]), ("Above.", &json!(2)));
        assert_eq!(Documentation::merged(None, Some(&group(&["// Behind."])), view).text, "Behind.");
    }
}
