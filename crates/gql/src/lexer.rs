//! Lexer: GraphQL text to tokens, one at a time, with line and column.

use std::borrow::Cow;
use std::fmt;

use crate::error::{GqlError, Limits};
use crate::operation::Location;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name.
    Name(&'a str),
    /// One of ``! $ & ( ) : = @ [ ] { | }``.
    Punctuator(char),
    /// `...`
    Spread,
    /// An integer, as written.
    Int(&'a str),
    /// A floating point number, as written.
    Float(&'a str),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Name(name) => write!(f, "Name \"{name}\""),
            Token::Punctuator(c) => write!(f, "\"{c}\""),
            Token::Spread => f.write_str("\"...\""),
            Token::Int(text) => write!(f, "Int \"{text}\""),
            Token::Float(text) => write!(f, "Float \"{text}\""),
            Token::String(text) => {
                let short: String = text.chars().take(40).collect();
                write!(f, "String {short:?}")
            }
            Token::End => f.write_str("<EOF>"),
        }
    }
}

/// Reads tokens; `token` is the current one.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
    counted_to: usize,
    tokens: usize,
    limit: usize,
    /// The current token.
    pub(crate) token: Token<'a>,
    /// Where the current token starts.
    pub(crate) place: Location,
}

impl<'a> Lexer<'a> {
    /// A lexer that stands on the first token.
    pub(crate) fn new(text: &'a str, limits: &Limits) -> Result<Self, GqlError> {
        if text.len() > limits.bytes {
            return Err(GqlError::bound("bytes", limits.bytes, None));
        }
        let mut lexer = Lexer {
            text,
            at: 0,
            line: 1,
            column: 1,
            counted_to: 0,
            tokens: 0,
            limit: limits.tokens,
            token: Token::End,
            place: Location { line: 1, column: 1 },
        };
        lexer.advance()?;
        Ok(lexer)
    }

    /// Steps to the next token and returns the one it stood on.
    pub(crate) fn advance(&mut self) -> Result<Token<'a>, GqlError> {
        self.skip_ignored();
        self.place = self.place_of(self.at);
        self.tokens += 1;
        if self.tokens > self.limit {
            return Err(GqlError::bound("tokens", self.limit, Some(self.place)));
        }
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_ignored(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t' | b',') => self.at += 1,
                Some(b'\n' | b'\r') => self.end_line(),
                Some(b'#') => {
                    while self.peek(0).is_some_and(|b| b != b'\n' && b != b'\r') {
                        self.at += 1;
                    }
                }
                Some(0xEF) if self.text[self.at..].starts_with('\u{feff}') => self.at += 3,
                _ => return,
            }
        }
    }

    fn end_line(&mut self) {
        self.at += if self.peek(0) == Some(b'\r') && self.peek(1) == Some(b'\n') { 2 } else { 1 };
        self.line += 1;
        self.column = 1;
        self.counted_to = self.at;
    }

    fn place_of(&mut self, at: usize) -> Location {
        self.column += self.text[self.counted_to..at].chars().count() as u32;
        self.counted_to = at;
        Location { line: self.line, column: self.column }
    }

    fn read(&mut self) -> Result<Token<'a>, GqlError> {
        let start = self.at;
        let Some(first) = self.peek(0) else { return Ok(Token::End) };
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                while self.peek(0).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    self.at += 1;
                }
                Ok(Token::Name(&self.text[start..self.at]))
            }
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.at += 1;
                Ok(Token::Punctuator(char::from(first)))
            }
            b'.' if self.text[start..].starts_with("...") => {
                self.at += 3;
                Ok(Token::Spread)
            }
            b'-' | b'0'..=b'9' => self.number(),
            b'"' if self.text[start..].starts_with("\"\"\"") => self.block_string(),
            b'"' => self.string(),
            _ => {
                let c = self.text[start..].chars().next().unwrap_or(' ');
                Err(self.unexpected_character(c))
            }
        }
    }

    fn unexpected_character(&mut self, c: char) -> GqlError {
        let place = self.place_of(self.at);
        GqlError::syntax(format!("Unexpected character: {c:?}."), place)
    }

    fn digits(&mut self) -> Result<(), GqlError> {
        if !self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            return Err(self.bad_number());
        }
        while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn bad_number(&mut self) -> GqlError {
        let found = match self.text[self.at..].chars().next() {
            Some(c) => format!("{c:?}"),
            None => "<EOF>".to_owned(),
        };
        let place = self.place_of(self.at);
        GqlError::syntax(format!("Invalid number, expected digit but got: {found}."), place)
    }

    fn number(&mut self) -> Result<Token<'a>, GqlError> {
        let start = self.at;
        let mut float = false;
        if self.peek(0) == Some(b'-') {
            self.at += 1;
        }
        if self.peek(0) == Some(b'0') {
            self.at += 1;
            if self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                return Err(self.bad_number());
            }
        } else {
            self.digits()?;
        }
        if self.peek(0) == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            if matches!(self.peek(0), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.peek(0).is_some_and(|b| b == b'.' || b == b'_' || b.is_ascii_alphabetic()) {
            return Err(self.bad_number());
        }
        let text = &self.text[start..self.at];
        Ok(if float { Token::Float(text) } else { Token::Int(text) })
    }

    fn string(&mut self) -> Result<Token<'a>, GqlError> {
        self.at += 1;
        let mut copied: Option<String> = None;
        let mut piece = self.at;
        loop {
            match self.peek(0) {
                None | Some(b'\n' | b'\r') => {
                    let place = self.place_of(self.at);
                    return Err(GqlError::syntax("Unterminated string.", place));
                }
                Some(b'"') => {
                    let last = &self.text[piece..self.at];
                    self.at += 1;
                    return Ok(Token::String(match copied {
                        None => Cow::Borrowed(last),
                        Some(mut text) => {
                            text.push_str(last);
                            Cow::Owned(text)
                        }
                    }));
                }
                Some(b'\\') => {
                    let text = copied.get_or_insert_with(String::new);
                    text.push_str(&self.text[piece..self.at]);
                    let c = self.escape()?;
                    text.push(c);
                    piece = self.at;
                }
                Some(b) if b < b' ' && b != b'\t' => {
                    let place = self.place_of(self.at);
                    return Err(GqlError::syntax(format!("Invalid character within String: \"\\u{b:04x}\"."), place));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Reads one escape. A surrogate without its other half becomes U+FFFD, since no UTF-8 text can
    /// hold it.
    fn escape(&mut self) -> Result<char, GqlError> {
        let start = self.at;
        self.at += 2;
        Ok(match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') if self.peek(0) == Some(b'{') => {
                let end = self.text[self.at..].bytes().take(12).position(|b| b == b'}');
                let digits = end.map(|end| &self.text.as_bytes()[self.at + 1..self.at + end]).unwrap_or_default();
                let Some(code) = hex(digits) else { return Err(self.bad_escape(start)) };
                self.at += digits.len() + 2;
                match char::from_u32(code) {
                    Some(c) => c,
                    None if (0xD800..0xE000).contains(&code) => char::REPLACEMENT_CHARACTER,
                    None => return Err(self.bad_escape(start)),
                }
            }
            Some(b'u') => {
                let Some(first) = self.four_digits() else { return Err(self.bad_escape(start)) };
                self.at += 4;
                self.pair(first)
            }
            _ => return Err(self.bad_escape(start)),
        })
    }

    fn pair(&mut self, first: u32) -> char {
        if (0xD800..0xDC00).contains(&first) && self.peek(0) == Some(b'\\') && self.peek(1) == Some(b'u') {
            self.at += 2;
            if let Some(second) = self.four_digits().filter(|code| (0xDC00..0xE000).contains(code)) {
                self.at += 4;
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            self.at -= 2;
        }
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&self) -> Option<u32> {
        hex(self.text.as_bytes().get(self.at..self.at + 4)?)
    }

    fn bad_escape(&mut self, start: usize) -> GqlError {
        let shown: String = self.text[start..].chars().take(6).collect();
        let place = self.place_of(start);
        GqlError::syntax(format!("Invalid character escape sequence: \"{shown}\"."), place)
    }

    fn block_string(&mut self) -> Result<Token<'a>, GqlError> {
        self.at += 3;
        let mut raw = String::new();
        let mut piece = self.at;
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("\"\"\"") {
                raw.push_str(&self.text[piece..self.at]);
                self.at += 3;
                return Ok(Token::String(Cow::Owned(dedent(&raw))));
            }
            if rest.starts_with("\\\"\"\"") {
                raw.push_str(&self.text[piece..self.at]);
                raw.push_str("\"\"\"");
                self.at += 4;
                piece = self.at;
                continue;
            }
            match self.peek(0) {
                None => {
                    let place = self.place_of(self.at);
                    return Err(GqlError::syntax("Unterminated string.", place));
                }
                Some(b'\n' | b'\r') => self.end_line(),
                Some(first) => self.at += width(first),
            }
        }
    }
}

/// The length of the UTF-8 sequence that starts with `first`.
fn width(first: u8) -> usize {
    match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The value of a block string: GraphQL specification, `BlockStringValue`.
pub(crate) fn dedent(raw: &str) -> String {
    let unix = raw.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = unix.split('\n').collect();
    let blank = |line: &str| line.bytes().all(|b| b == b' ' || b == b'\t');
    let indent = lines
        .iter()
        .skip(1)
        .filter(|line| !blank(line))
        .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
        .min()
        .unwrap_or(0);
    let stripped: Vec<&str> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| if i == 0 { line } else { line.get(indent..).unwrap_or("") })
        .collect();
    let first = stripped.iter().position(|line| !blank(line)).unwrap_or(stripped.len());
    let last = stripped.iter().rposition(|line| !blank(line)).map_or(first, |at| at + 1);
    stripped[first..last].join("\n")
}

/// Steps that every parser over tokens takes.
impl<'a> Lexer<'a> {
    /// Whether the current token is the punctuator `c`.
    pub(crate) fn at_punctuator(&self, c: char) -> bool {
        self.token == Token::Punctuator(c)
    }

    /// Whether the current token is the name `word`.
    pub(crate) fn at_word(&self, word: &str) -> bool {
        self.token == Token::Name(word)
    }

    /// Steps over the punctuator `c` if it is the current token.
    pub(crate) fn eat(&mut self, c: char) -> Result<bool, GqlError> {
        let found = self.at_punctuator(c);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Steps over the name `word` if it is the current token.
    pub(crate) fn eat_word(&mut self, word: &str) -> Result<bool, GqlError> {
        let found = self.at_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Steps over the punctuator `c`, which must be the current token.
    pub(crate) fn expect(&mut self, c: char) -> Result<(), GqlError> {
        if self.eat(c)? {
            return Ok(());
        }
        Err(GqlError::syntax(format!("Expected \"{c}\", found {}.", self.token), self.place))
    }

    /// Steps over the name `word`, which must be the current token.
    pub(crate) fn expect_word(&mut self, word: &str) -> Result<(), GqlError> {
        if self.eat_word(word)? {
            return Ok(());
        }
        Err(GqlError::syntax(format!("Expected \"{word}\", found {}.", self.token), self.place))
    }

    /// Steps over a name, which must be the current token.
    pub(crate) fn name(&mut self) -> Result<&'a str, GqlError> {
        match self.token {
            Token::Name(name) => {
                self.advance()?;
                Ok(name)
            }
            _ => Err(GqlError::syntax(format!("Expected Name, found {}.", self.token), self.place)),
        }
    }

    /// The current token does not belong here.
    pub(crate) fn unexpected(&self) -> GqlError {
        GqlError::syntax(format!("Unexpected {}.", self.token), self.place)
    }
}
