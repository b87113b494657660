//! The literals of Python: strings with their prefixes and escapes, and numbers.

/// What a string literal is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// Text.
    Text(String),
    /// Bytes, text with expressions in it, or an escape that is not understood.
    Other,
}

/// The value of the string literal `source`, with its prefix and quotes.
pub(super) fn string(source: &str) -> Literal {
    let quote = source.find(['"', '\'']).unwrap_or(source.len());
    let (prefix, quoted) = source.split_at(quote);
    let prefix = prefix.to_ascii_lowercase();
    if prefix.contains(['b', 'f', 't']) {
        return Literal::Other;
    }
    let width = if quoted.starts_with("\"\"\"") || quoted.starts_with("'''") { 3 } else { 1 };
    let Some(inner) = quoted.get(width..quoted.len().saturating_sub(width)) else { return Literal::Other };
    let inner = inner.replace("\r\n", "\n").replace('\r', "\n");
    if prefix.contains('r') {
        return Literal::Text(inner);
    }
    unescape(&inner).map_or(Literal::Other, Literal::Text)
}

/// `None` for `\N{…}`, surrogates and malformed escapes.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let simple = match chars.next()? {
            '\n' => continue,
            c @ ('\\' | '\'' | '"') => c,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => hex(&mut chars, 2)?,
            'u' => hex(&mut chars, 4)?,
            'U' => hex(&mut chars, 8)?,
            'N' => return None,
            first @ '0'..='7' => {
                let mut value = first.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    chars.next();
                }
                char::from_u32(value)?
            }
            other => {
                out.push('\\');
                other
            }
        };
        out.push(simple);
    }
    Some(out)
}

fn hex(chars: &mut impl Iterator<Item = char>, digits: usize) -> Option<char> {
    let mut value = 0_u32;
    for _ in 0..digits {
        value = value.checked_mul(16)?.checked_add(chars.next()?.to_digit(16)?)?;
    }
    char::from_u32(value)
}

/// The digits in base ten of the integer literal `source`. `None` if it is beyond 64 bits, or
/// complex.
pub(super) fn integer(source: &str) -> Option<String> {
    let digits = source.replace('_', "").to_ascii_lowercase();
    let parsed = match digits.get(..2) {
        Some("0x") => u64::from_str_radix(&digits[2..], 16),
        Some("0o") => u64::from_str_radix(&digits[2..], 8),
        Some("0b") => u64::from_str_radix(&digits[2..], 2),
        _ => digits.parse(),
    };
    parsed.ok().filter(|value| i64::try_from(*value).is_ok()).map(|value| value.to_string())
}

/// The value of the float literal `source`.
pub(super) fn float(source: &str) -> Option<f64> {
    source.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite())
}

/// A docstring without its indentation, by the rules of Python's `inspect.cleandoc`. `None` if it
/// has white space whose handling differs between the versions of Python.
pub(super) fn clean_docstring(text: &str) -> Option<String> {
    if text.contains(|c: char| c.is_whitespace() && !matches!(c, ' ' | '\n' | '\t')) {
        let unusual =
            |line: &str| line.starts_with(|c: char| c.is_whitespace()) || line.contains(['\x0b', '\x0c', '\r']);
        if text.lines().any(|line| unusual(line.trim_start_matches([' ', '\t']))) {
            return None;
        }
    }
    let expanded = expand_tabs(text);
    let mut lines: Vec<&str> = expanded.split('\n').collect();
    let indent = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let margin = lines.iter().skip(1).filter(|line| !line.trim_start_matches(' ').is_empty()).map(indent).min();
    if let Some(first) = lines.first_mut() {
        *first = first.trim_start_matches(' ');
    }
    for line in lines.iter_mut().skip(1) {
        *line = line.get(margin.unwrap_or_default()..).unwrap_or_default();
    }
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    Some(lines[start..].join("\n"))
}

/// Python's `str.expandtabs`.
fn expand_tabs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let width = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' => {
                out.push(c);
                column = 0;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        let check = |source: &str, want: Option<&str>| {
            let want = want.map_or(Literal::Other, |text| Literal::Text(text.into()));
            assert_eq!(string(source), want, "{source}");
        };
        check("'a'", Some("a"));
        check("\"\"\"a\"b\"\"\"", Some("a\"b"));
        check(r"'a\n\x41\u00e9\U0001F600\101\d\''", Some("a\nAé😀A\\d'"));
        check(r"R'\n'", Some("\\n"));
        check("'a\\\nb'", Some("ab"));
        check("b'a'", None);
        check("f'a'", None);
        check(r"'\N{DASH}'", None);
        check(r"'\ud800'", None);
    }

    #[test]
    fn numbers() {
        let check = |source: &str, want: Option<&str>| assert_eq!(integer(source).as_deref(), want, "{source}");
        check("1_000", Some("1000"));
        check("0xff", Some("255"));
        check("0o17", Some("15"));
        check("0b11", Some("3"));
        check("99999999999999999999", None);
        check("1j", None);
        assert_eq!((float("1e3"), float("1_0.5"), float("1e999")), (Some(1000.0), Some(10.5), None));
    }

    #[test]
    fn docstrings() {
        let check = |text: &str, want: Option<&str>| assert_eq!(clean_docstring(text).as_deref(), want, "{text:?}");
        check("One.", Some("One."));
        check("  One.\n\n    Two.\n      Three.\n    ", Some("One.\n\nTwo.\n  Three."));
        check("\n    One.\n\n\n", Some("One."));
        check("One.\n\tTwo.", Some("One.\nTwo."));
        check("One. \n  ", Some("One. \n  "));
        check("", Some(""));
        check("One.\n \u{a0}Two.", None);
    }
}
