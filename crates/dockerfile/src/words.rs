//! Words of instructions: splitting, quotes, and the expansion of variables.
//!
//! `$name`, `${name}`, and with a modifier `${name:-word}`, `:+`, `:?` (without the colon an empty
//! value counts as set), `${name#pattern}`, `##`, `%`, `%%`, `${name/pattern/word}`, `//`. Nothing
//! is expanded in single quotes. A name without a value is nothing.

use std::iter::Peekable;
use std::str::Chars;

/// How deep modifiers may be inside one another.
const MAX_DEPTH: usize = 32;
/// How much variables may add to one text, in bytes: as much as the kernel takes for one argument
/// of a process. Without a limit, variables made of each other ten times over fill any memory
/// within ten lines.
const MAX_ADDED: usize = 128 << 10;
/// How much work a pattern may be: the length of the value, squared, times that of the pattern.
const MAX_WORK: usize = 1 << 28;

/// The words of `text` as a shell splits them, with their quotes and escapes.
pub(crate) fn shell_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Expands text with what `lookup` knows, and removes quotes.
pub(crate) struct Expander<'a> {
    /// What takes the meaning from the next character.
    pub(crate) escape: char,
    /// The value of a variable.
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    /// `text` with its variables expanded and its quotes and escapes removed.
    pub(crate) fn word(&self, text: &str) -> Result<String, String> {
        self.run(&mut text.chars().peekable(), None, Quotes::Removed, 0)
    }

    /// `text` of a here-document: quotes stay.
    pub(crate) fn document(&self, text: &str) -> Result<String, String> {
        self.run(&mut text.chars().peekable(), None, Quotes::Kept, 0)
    }

    /// Up to `end`, which is consumed.
    fn run(
        &self,
        chars: &mut Peekable<Chars<'_>>,
        end: Option<&[char]>,
        quotes: Quotes,
        depth: usize,
    ) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} modifiers are inside one another"));
        }
        let mut out = Text::default();
        while let Some(&c) = chars.peek() {
            if end.is_some_and(|end| end.contains(&c)) {
                return Ok(out.text);
            }
            chars.next();
            match c {
                '\'' if quotes == Quotes::Removed => loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => out.text.push(c),
                        None => return Err("a single quote is not closed".into()),
                    }
                },
                '"' if quotes == Quotes::Removed => self.double_quoted(chars, &mut out, depth)?,
                '$' => out.add(&self.variable(chars, depth)?)?,
                c if c == self.escape && quotes == Quotes::Removed => out.text.extend(chars.next()),
                c if c == self.escape => match chars.peek() {
                    Some('$') => out.text.extend(chars.next()),
                    Some(&next) if next == self.escape => out.text.extend(chars.next()),
                    _ => out.text.push(c),
                },
                c => out.text.push(c),
            }
        }
        match end {
            Some(_) => Err("`${` is not closed".into()),
            None => Ok(out.text),
        }
    }

    fn double_quoted(&self, chars: &mut Peekable<Chars<'_>>, out: &mut Text, depth: usize) -> Result<(), String> {
        loop {
            match chars.next() {
                Some('"') => return Ok(()),
                Some('$') => out.add(&self.variable(chars, depth)?)?,
                Some(c) if c == self.escape => match chars.peek() {
                    Some(&next) if next == '"' || next == '$' || next == self.escape => out.text.extend(chars.next()),
                    _ => out.text.push(c),
                },
                Some(c) => out.text.push(c),
                None => return Err("a double quote is not closed".into()),
            }
        }
    }

    /// What follows a `$`.
    fn variable(&self, chars: &mut Peekable<Chars<'_>>, depth: usize) -> Result<String, String> {
        match chars.peek() {
            Some('{') => {
                chars.next();
                self.braced(chars, depth)
            }
            Some(c) if is_start(*c) => {
                let name = name(chars);
                Ok((self.lookup)(&name).unwrap_or_default())
            }
            _ => Ok("$".into()),
        }
    }

    fn braced(&self, chars: &mut Peekable<Chars<'_>>, depth: usize) -> Result<String, String> {
        let name = name(chars);
        if name.is_empty() {
            return Err("a name is missing in `${`".into());
        }
        let value = (self.lookup)(&name);
        let modifier = chars.next().ok_or("`${` is not closed")?;
        let close: &[char] = &['}'];
        let word = |chars: &mut Peekable<Chars<'_>>, end| self.run(chars, Some(end), Quotes::Removed, depth + 1);
        match modifier {
            '}' => Ok(value.unwrap_or_default()),
            ':' | '-' | '+' | '?' => {
                let (kind, empty_counts) = match modifier {
                    ':' => (chars.next().ok_or("`${` is not closed")?, false),
                    kind => (kind, true),
                };
                let word = word(chars, close)?;
                chars.next();
                let set = value.filter(|value| empty_counts || !value.is_empty());
                match kind {
                    '-' => Ok(set.unwrap_or(word)),
                    '+' => Ok(set.map_or_else(String::new, |_| word)),
                    '?' if word.is_empty() => set.ok_or_else(|| format!("`{name}` is not set")),
                    '?' => set.ok_or_else(|| format!("`{name}`: {word}")),
                    other => Err(format!("`{other}` is no modifier of variables")),
                }
            }
            '#' | '%' => {
                let longest = chars.next_if_eq(&modifier).is_some();
                let pattern = Pattern::new(&self.raw(chars, close)?);
                chars.next();
                let value = value.unwrap_or_default();
                pattern.check_work(&name, &value)?;
                Ok(if modifier == '#' {
                    pattern.without_start(&value, longest)
                } else {
                    pattern.without_end(&value, longest)
                })
            }
            '/' => {
                let all = chars.next_if_eq(&'/').is_some();
                let pattern = Pattern::new(&self.raw(chars, &['/', '}'])?);
                let replacement = match chars.next() {
                    Some('/') => {
                        let word = word(chars, close)?;
                        chars.next();
                        word
                    }
                    _ => String::new(),
                };
                let value = value.unwrap_or_default();
                pattern.check_work(&name, &value)?;
                pattern.replaced(&value, &replacement, all)
            }
            other => Err(format!("`{other}` is no modifier of variables")),
        }
    }

    /// Up to `end`, variables expanded, escapes kept for the pattern.
    fn raw(&self, chars: &mut Peekable<Chars<'_>>, end: &[char]) -> Result<String, String> {
        let mut out = Text::default();
        while let Some(&c) = chars.peek() {
            if end.contains(&c) {
                return Ok(out.text);
            }
            chars.next();
            match c {
                '$' => out.add(&self.variable(chars, MAX_DEPTH)?)?,
                c if c == self.escape => {
                    out.text.push('\\');
                    out.text.extend(chars.next());
                }
                c => out.text.push(c),
            }
        }
        Err("`${` is not closed".into())
    }
}

/// The text that was expanded so far.
#[derive(Default)]
struct Text {
    text: String,
    /// How much of it variables gave.
    added: usize,
}

impl Text {
    /// Adds the value of a variable.
    fn add(&mut self, value: &str) -> Result<(), String> {
        self.added += value.len();
        if self.added > MAX_ADDED {
            return Err(format!("variables expand to more than {MAX_ADDED} bytes"));
        }
        self.text.push_str(value);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Removed,
    Kept,
}

fn is_start(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn name(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| is_start(*c)) {
        name.push(c);
    }
    name
}

/// A pattern of a modifier: `*`, `?`, and escapes.
struct Pattern(Vec<Token>);

enum Token {
    Char(char),
    One,
    Many,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                c => Token::Char(c),
            });
        }
        Self(tokens)
    }

    /// Refuses what would take too long.
    fn check_work(&self, name: &str, value: &str) -> Result<(), String> {
        let work = value.len().saturating_mul(value.len()).saturating_mul(self.0.len());
        match work > MAX_WORK {
            true => Err(format!("the value of `{name}` is too long for a pattern: {} bytes", value.len())),
            false => Ok(()),
        }
    }

    /// Calls `found` with the length of each start of `text` that matches, the shortest first,
    /// until it says that it is enough.
    fn starts(&self, text: &[char], mut found: impl FnMut(usize) -> bool) {
        let reach = |positions: &mut Vec<bool>, mut at: usize| {
            positions[at] = true;
            while let Some(Token::Many) = self.0.get(at) {
                at += 1;
                positions[at] = true;
            }
        };
        let mut now = vec![false; self.0.len() + 1];
        reach(&mut now, 0);
        for (length, c) in text.iter().enumerate() {
            if now[self.0.len()] && found(length) {
                return;
            }
            let mut next = vec![false; self.0.len() + 1];
            for (at, token) in self.0.iter().enumerate().filter(|(at, _)| now[*at]) {
                match token {
                    Token::Char(want) if want == c => reach(&mut next, at + 1),
                    Token::One => reach(&mut next, at + 1),
                    Token::Many => reach(&mut next, at),
                    Token::Char(_) => {}
                }
            }
            if !next.contains(&true) {
                return;
            }
            now = next;
        }
        if now[self.0.len()] {
            found(text.len());
        }
    }

    /// The length of the shortest or the longest start of `text` that matches.
    fn start(&self, text: &[char], longest: bool) -> Option<usize> {
        let mut end = None;
        self.starts(text, |length| {
            end = Some(length);
            !longest
        });
        end
    }

    /// Whether the whole of `text` matches.
    fn matches(&self, text: &[char]) -> bool {
        self.start(text, true) == Some(text.len())
    }

    fn without_start(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        chars[self.start(&chars, longest).unwrap_or(0)..].iter().collect()
    }

    fn without_end(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut starts = 0..=chars.len();
        let fits = |start: &usize| self.matches(&chars[*start..]);
        let start = if longest { starts.find(fits) } else { starts.rev().find(fits) };
        chars[..start.unwrap_or(chars.len())].iter().collect()
    }

    /// Each match is the longest one from where it starts.
    fn replaced(&self, value: &str, replacement: &str, all: bool) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = Text::default();
        let mut at = 0;
        let mut done = false;
        while at < chars.len() {
            let length = if all || !done { self.start(&chars[at..], true).filter(|length| *length > 0) } else { None };
            match length {
                Some(length) => {
                    out.add(replacement)?;
                    (at, done) = (at + length, true);
                }
                None => {
                    out.text.push(chars[at]);
                    at += 1;
                }
            }
        }
        Ok(out.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "A" => Some("foo".to_owned()),
            "PATH" => Some("/usr/local/bin".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Expander { escape: '\\', lookup: &lookup }.word(text)
    }

    #[test]
    fn words_are_expanded() {
        let check = |text: &str, want: &str| assert_eq!(expand(text), Ok(want.to_owned()), "{text}");
        check("a$A/${A}x", "afoo/foox");
        check("'$A' \"$A\" \\$A \"\\$A\"", "$A foo $A $A");
        check("$A_B.$", ".$");
        check("${U:-d}${EMPTY:-d}${EMPTY-d}${A:-d}", "ddfoo");
        check("${U:+d}${EMPTY:+d}${EMPTY+d}${A:+d}", "dd");
        check("${U:-${A:-x}}-${U:-$A}", "foo-foo");
        check("${PATH#*/}", "usr/local/bin");
        check("${PATH##*/}", "bin");
        check("${PATH%/*}", "/usr/local");
        check("${PATH%%/*}", "");
        check("${PATH/\\//-}", "-usr/local/bin");
        check("${PATH//\\//-}", "-usr-local-bin");
        check("${A/o}", "fo");
        check("${A//o/0}", "f00");
        check("${A/f?/x}", "xo");
        check("\"a b\"'c'", "a bc");
        check("\"a\\b\"", "a\\b");
        check("C:\\\\x", "C:\\x");
        check("${U:-\"a b\"}", "a b");
        check("ünï${A}", "ünïfoo");
    }

    #[test]
    fn mistakes() {
        let check = |text: &str, want: &str| {
            let error = expand(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        };
        check("${A", "not closed");
        check("${A:-x", "not closed");
        check("${A:!x}", "no modifier");
        check("${}", "name is missing");
        check("'a", "single quote");
        check("\"a", "double quote");
        check("${U:?is needed}", "`U`: is needed");
        check(&"${U:-".repeat(100), "inside one another");
    }

    #[test]
    fn variables_made_of_each_other_are_bounded() {
        let mut value = "x".repeat(10);
        let mut failure = None;
        for _ in 0..10 {
            let lookup = |_: &str| Some(value.clone());
            match (Expander { escape: '\\', lookup: &lookup }).word(&"$A".repeat(10)) {
                Ok(more) => value = more,
                Err(message) => failure = Some(message),
            }
        }
        assert!(value.len() <= MAX_ADDED && failure.expect("is refused").contains("expand to more than"));
        let lookup = |name: &str| Some(if name == "A" { "a".repeat(2_000) } else { "b".repeat(100_000) });
        let expand = |text: &str| Expander { escape: '\\', lookup: &lookup }.word(text);
        for (text, want) in [("${A//a/$B}", "expand to more"), ("\"$B$B\"", "expand to more"), ("${B%*x}", "too long")]
        {
            assert!(expand(text).expect_err(text).contains(want), "{text}");
        }
        assert_eq!(expand("${A//a/xy}").expect("is small").len(), 4_000);
    }

    #[test]
    fn words_are_split() {
        let check = |text: &str, want: &[&str]| assert_eq!(shell_words(text, '\\'), want, "{text}");
        check(" a=1  b=\"x y\" c='\"' ", &["a=1", "b=\"x y\"", "c='\"'"]);
        check("a\\ b c", &["a\\ b", "c"]);
        check("", &[]);
    }
}
