//! `.env` files: parsing, changes and evaluation of variables. *Invariants.* Lines are kept as
//! written and evaluated on request, so that the change of one variable shows in those that refer
//! to it. The order does not matter: a variable may refer to one below it. Nothing is executed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::Chain;

/// The longest evaluated value, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// The most bytes of all evaluated values of one file.
const MAX_TOTAL: usize = 64 << 20;

/// The longest chain of references between variables.
const MAX_DEPTH: usize = 100;

/// The most lines of one value.
const MAX_LINES: usize = 10_000;

/// The most variables that are looked up outside of the file.
const MAX_OUTSIDE: usize = 1_000;

/// The lines of a file and the changes since. A chain of changes shares everything but its last
/// step.
#[derive(Debug, Clone, Default)]
pub struct Dotenv {
    read: Arc<[Line]>,
    /// Names with new values. `None` removes the variable.
    changes: Chain<(Arc<str>, Option<Arc<str>>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Variable {
        /// The text before the name: empty, or `export` with its spaces.
        before: Arc<str>,
        name: Arc<str>,
        /// The value as written.
        value: Arc<str>,
    },
    /// A comment or an empty line.
    Other(Arc<str>),
}

/// Fewer changes than this are never merged into the lines.
const MIN_CHANGES: usize = 64;

/// The lines with all changes applied.
struct Lines {
    all: Vec<Option<Line>>,
    /// The last definition of every variable.
    last: HashMap<Arc<str>, usize>,
}

impl Lines {
    fn of(file: &Dotenv) -> Self {
        let mut lines = Self { all: Vec::with_capacity(file.read.len()), last: HashMap::new() };
        file.read.iter().for_each(|line| lines.push(line.clone()));
        for (name, value) in file.changes.iter() {
            match (value, lines.last.get(name)) {
                (Some(value), Some(&at)) => {
                    if let Some(Line::Variable { value: known, .. }) = &mut lines.all[at] {
                        known.clone_from(value);
                    }
                }
                (Some(value), None) => {
                    lines.push(Line::Variable { before: "".into(), name: name.clone(), value: value.clone() });
                }
                (None, _) => lines.remove(name),
            }
        }
        lines
    }

    fn push(&mut self, line: Line) {
        if let Line::Variable { name, .. } = &line {
            self.last.insert(name.clone(), self.all.len());
        }
        self.all.push(Some(line));
    }

    fn remove(&mut self, name: &str) {
        if self.last.remove(name).is_none() {
            return;
        }
        for line in &mut self.all {
            if matches!(line, Some(Line::Variable { name: known, .. }) if **known == *name) {
                *line = None;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Line> {
        self.all.iter().flatten()
    }

    /// The value of a variable as written. The last definition counts.
    fn raw(&self, name: &str) -> Option<&Arc<str>> {
        match self.all.get(*self.last.get(name)?)?.as_ref()? {
            Line::Variable { value, .. } => Some(value),
            Line::Other(_) => None,
        }
    }

    /// Every variable once, in the order of first definitions.
    fn names(&self) -> Vec<&Arc<str>> {
        let mut seen = HashSet::new();
        let names = self.iter().filter_map(|line| match line {
            Line::Variable { name, .. } => Some(name),
            Line::Other(_) => None,
        });
        names.filter(|name| seen.insert(&***name)).collect()
    }
}

impl Dotenv {
    /// Parses the text of a file. A value with an open quote continues to the line that closes it.
    ///
    /// # Errors
    /// When a line is neither a variable, nor a comment, nor empty.
    pub fn parse(text: &str) -> Result<Self> {
        // Line ends are no part of values, so that the written file has the same values.
        let written: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
        let mut lines = Vec::new();
        let mut at = 0;
        while let Some(line) = written.get(at) {
            at += 1;
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                lines.push(Line::Other((*line).into()));
                continue;
            }
            // The line itself may hold a secret, so the error does not quote it.
            let wrong = || Fault::user(format!("line {at} of the env file is no `NAME=value`"));
            let (before, name, value) = definition(line).ok_or_else(wrong)?;
            let mut value = value.to_owned();
            let more = lines_until_closed(&value, &written[at..]);
            for line in &written[at..at + more] {
                value.push('\n');
                value.push_str(line);
            }
            at += more;
            lines.push(Line::Variable { before: before.into(), name: name.into(), value: value.into() });
        }
        Ok(Self { read: lines.into(), changes: Chain::new() })
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let line = |line: &Line| match line {
            Line::Variable { before, name, value } => format!("{before}{name}={value}\n"),
            Line::Other(text) => format!("{text}\n"),
        };
        Lines::of(self).iter().map(line).collect()
    }

    /// Sets a variable. An existing one keeps its position.
    ///
    /// # Errors
    /// When the name is invalid.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if !is_name(name) {
            return Err(Fault::user(format!("`{name}` cannot be the name of an environment variable")));
        }
        self.change(name, Some(value.into()));
        Ok(())
    }

    /// Removes every definition of a variable.
    pub fn remove(&mut self, name: &str) {
        self.change(name, None);
    }

    fn change(&mut self, name: &str, value: Option<Arc<str>>) {
        self.changes.push((name.into(), value));
        let count = self.changes.len();
        if count >= MIN_CHANGES && count.is_power_of_two() {
            let names: HashSet<&str> = self.changes.newest_first().map(|(name, _)| &**name).collect();
            if names.len() <= count / 2 {
                let lines = Lines::of(self);
                *self = Self { read: lines.all.into_iter().flatten().collect(), changes: Chain::new() };
            }
        }
    }

    /// The value of a variable as written. The last definition counts.
    pub fn raw(&self, name: &str) -> Option<String> {
        Lines::of(self).raw(name).map(ToString::to_string)
    }

    /// Every variable once, in the order of first definitions, with the last value as written.
    pub fn all_raw(&self) -> Vec<(String, String)> {
        let lines = Lines::of(self);
        let raw = |name: &str| lines.raw(name).map(ToString::to_string).unwrap_or_default();
        lines.names().into_iter().map(|name| (name.to_string(), raw(name))).collect()
    }

    /// The evaluated value of a variable, or `None` if the file does not have it. `outside` holds
    /// variables from outside of the file.
    ///
    /// # Errors
    /// When it refers to an unknown variable or to itself, or has invalid syntax.
    pub fn get(&self, name: &str, outside: &BTreeMap<String, String>) -> Result<Option<String>> {
        let lines = Lines::of(self);
        if lines.raw(name).is_none() {
            return Ok(None);
        }
        let value = Evaluation::new(&lines, outside).variable(name)?;
        Ok(Some(value.to_string()))
    }

    /// Every variable with its evaluated value.
    ///
    /// # Errors
    /// As for [`Dotenv::get`].
    pub fn all(&self, outside: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
        let lines = Lines::of(self);
        let mut evaluation = Evaluation::new(&lines, outside);
        let value = |name: &Arc<str>| Ok((name.to_string(), evaluation.variable(name)?.to_string()));
        lines.names().into_iter().map(value).collect()
    }

    /// The variables whose names begin with `prefix` and an underscore, without both. The prefix
    /// ignores case, dashes and underscores. Values are evaluated, because they may refer to
    /// variables that are left out.
    ///
    /// # Errors
    /// As for [`Dotenv::get`].
    pub fn namespace(&self, prefix: &str, outside: &BTreeMap<String, String>) -> Result<Self> {
        let lines = Lines::of(self);
        let mut evaluation = Evaluation::new(&lines, outside);
        let mut found = Self::default();
        for name in lines.names() {
            if let Some(rest) = without_prefix(name, prefix) {
                found.set(rest, &quoted(&evaluation.variable(name)?))?;
            }
        }
        Ok(found)
    }

    /// The names that values refer to and the file does not define, or that refer to themselves.
    pub fn refers_to(&self) -> Vec<String> {
        let lines = Lines::of(self);
        let mut found = BTreeSet::new();
        for line in lines.iter() {
            let Line::Variable { name, value, .. } = line else { continue };
            for (at, _) in value.match_indices('$') {
                let rest = &value[at + 1..];
                let rest = rest.strip_prefix('{').unwrap_or(rest);
                let other = &rest[..name_length(rest)];
                if !other.is_empty() && (*other == **name || lines.raw(other).is_none()) {
                    found.insert(other.to_owned());
                }
            }
        }
        found.into_iter().take(MAX_OUTSIDE).collect()
    }
}

/// Splits a line that defines a variable into the text before the name, the name and the value.
fn definition(line: &str) -> Option<(&str, &str, &str)> {
    let (before, value) = line.split_once('=')?;
    let name = before.trim_start();
    let name = match name.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => name,
    };
    is_name(name).then(|| (&before[..before.len() - name.len()], name, value))
}

/// The number of lines `below` that belong to a value that begins with `first`: up to the line that
/// closes its last quote. Zero if no line does.
fn lines_until_closed(first: &str, below: &[&str]) -> usize {
    let mut state = Quoting::default();
    state.read(first);
    if state.open.is_none() {
        return 0;
    }
    for (at, line) in below.iter().take(MAX_LINES).enumerate() {
        state.read("\n");
        state.read(line);
        if state.open.is_none() {
            return at + 1;
        }
    }
    0
}

/// The open quote while a value is read.
#[derive(Default)]
struct Quoting {
    open: Option<char>,
    escaped: bool,
    /// Whether the last character outside of quotes was white space.
    apart: bool,
    comment: bool,
}

impl Quoting {
    fn read(&mut self, text: &str) {
        for c in text.chars() {
            let escaped = std::mem::take(&mut self.escaped);
            match (self.open, c) {
                _ if escaped || self.comment => {}
                (None, '#') if self.apart => self.comment = true,
                (None | Some('"'), '\\') => self.escaped = true,
                (None, '"' | '\'') => self.open = Some(c),
                (Some(open), c) if c == open => self.open = None,
                _ => {}
            }
            self.apart = self.open.is_none() && c.is_whitespace();
        }
    }
}

/// Whether `name` is valid before `=`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || "='\"$\\`#".contains(c))
}

/// The length of the name of a variable at the start of `text`.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => {
            bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
        }
        _ => 0,
    }
}

/// `name` without `prefix` and the underscore after it, or `None` if it has another prefix.
fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let letters = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let wanted = letters(prefix);
    name.match_indices('_')
        .find(|(at, _)| letters(&name[..*at]) == wanted && !name[at + 1..].starts_with('_'))
        .map(|(at, _)| &name[at + 1..])
        .filter(|rest| !rest.is_empty())
}

/// Whether a value has quotes, escapes or references.
fn has_features(value: &str) -> bool {
    let reference = |(at, _): (usize, &str)| {
        let next = value[at + 1..].bytes().next();
        next.is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'{' | b'('))
    };
    value.contains(['`', '"', '\'', '\\']) || value.match_indices('$').any(reference)
}

/// A value that evaluates to `text`.
fn quoted(text: &str) -> String {
    if has_features(text) { format!("'{}'", text.replace('\'', r"'\''")) } else { text.to_owned() }
}

/// One evaluation: every variable is evaluated once.
struct Evaluation<'a> {
    file: &'a Lines,
    outside: &'a BTreeMap<String, String>,
    done: HashMap<String, Arc<str>>,
    /// The bytes of `done`.
    total: usize,
    /// The variables under evaluation. Each one is referred to by the one before.
    going: Vec<String>,
    /// The nesting depth of references within one value.
    depth: usize,
}

impl<'a> Evaluation<'a> {
    fn new(file: &'a Lines, outside: &'a BTreeMap<String, String>) -> Self {
        Self { file, outside, done: HashMap::new(), total: 0, going: Vec::new(), depth: 0 }
    }

    fn variable(&mut self, name: &str) -> Result<Arc<str>> {
        if let Some(done) = self.done.get(name) {
            return Ok(done.clone());
        }
        let raw = self.file.raw(name).cloned().unwrap_or_default();
        if !has_features(&raw) {
            return Ok(raw);
        }
        if self.going.len() >= MAX_DEPTH {
            return Err(Fault::user(format!("more than {MAX_DEPTH} variables refer to one another, down to `{name}`")));
        }
        self.going.push(name.to_owned());
        let value = Words { text: &raw, at: 0 }.evaluate(self);
        self.going.pop();
        let value = value.map_err(|fault| fault.context(format!("cannot evaluate the variable `{name}`")))?;
        self.total += value.len();
        if self.total > MAX_TOTAL {
            return Err(Fault::user(format!("the values of the env file are longer than {MAX_TOTAL} bytes together")));
        }
        let value: Arc<str> = value.into();
        self.done.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    /// The value of a reference to `name`.
    fn reference(&mut self, name: &str) -> Result<Option<Arc<str>>> {
        let own = self.going.last().is_some_and(|going| going == name);
        if own || self.file.raw(name).is_none() {
            return Ok(self.outside.get(name).map(|value| value.as_str().into()));
        }
        if self.going.iter().any(|going| going == name) {
            let circle = self.going.join("` -> `");
            return Err(Fault::user(format!("circular dependency detected: `{circle}` -> `{name}`")));
        }
        self.variable(name).map(Some)
    }
}

/// A reader of the text of a value.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    fn evaluate(&mut self, evaluation: &mut Evaluation<'_>) -> Result<String> {
        let mut out = String::new();
        let mut space = false;
        while let Some(c) = self.next() {
            if c.is_whitespace() {
                space = true;
                continue;
            }
            if c == '#' && (space || self.at == 1) {
                break;
            }
            if std::mem::take(&mut space) && !out.is_empty() {
                out.push(' ');
            }
            match c {
                '\'' => out.push_str(self.until_quote()?),
                '"' => self.double_quoted(evaluation, &mut out)?,
                '\\' => out.extend(self.next()),
                _ => self.plain(c, evaluation, &mut out)?,
            }
            if out.len() > MAX_VALUE {
                return Err(Fault::user(format!("the value is longer than {MAX_VALUE} bytes")));
            }
        }
        Ok(out)
    }

    fn next(&mut self) -> Option<char> {
        let next = self.text[self.at..].chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn until_quote(&mut self) -> Result<&str> {
        let rest = &self.text[self.at..];
        let end = rest.find('\'').ok_or_else(|| Fault::user("a single quote is not closed"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn double_quoted(&mut self, evaluation: &mut Evaluation<'_>, out: &mut String) -> Result<()> {
        loop {
            match self.next() {
                None => return Err(Fault::user("a double quote is not closed")),
                Some('"') => return Ok(()),
                Some('\\') => match self.next() {
                    Some(c @ ('"' | '\\' | '$' | '`')) => out.push(c),
                    Some(c) => out.extend(['\\', c]),
                    None => out.push('\\'),
                },
                Some(c) => self.plain(c, evaluation, out)?,
            }
        }
    }

    /// A character that no quote or escape makes special.
    fn plain(&mut self, c: char, evaluation: &mut Evaluation<'_>, out: &mut String) -> Result<()> {
        let rest = &self.text[self.at..];
        if c == '`' || (c == '$' && rest.starts_with('(')) {
            return Err(Fault::user("commands in values are not executed").with_hint("use single quotes"));
        }
        if c != '$' {
            out.push(c);
            return Ok(());
        }
        if let Some(braced) = rest.strip_prefix('{') {
            let end = closing(braced).ok_or_else(|| Fault::user("`${` is not closed"))?;
            self.at += end + 2;
            out.push_str(&parameter(&braced[..end], evaluation)?);
            return Ok(());
        }
        match name_length(rest) {
            0 => out.push('$'),
            length => {
                self.at += length;
                let name = &rest[..length];
                out.push_str(&evaluation.reference(name)?.ok_or_else(|| unbound(name))?);
            }
        }
        Ok(())
    }
}

/// The position of the brace that closes the one before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The content of `${…}`: a name, and the default if it is unset, or if it is unset or empty (with
/// a colon).
fn parameter(text: &str, evaluation: &mut Evaluation<'_>) -> Result<String> {
    let (name, rest) = text.split_at(name_length(text));
    if name.is_empty() {
        return Err(Fault::user(format!("`${{{text}}}` names no variable")));
    }
    let (empty_counts, operator) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let found = evaluation.reference(name)?.filter(|value| !(empty_counts && value.is_empty()));
    let mut other = |word: &str| {
        if evaluation.depth >= MAX_DEPTH {
            return Err(Fault::user(format!("more than {MAX_DEPTH} references lie in one another")));
        }
        evaluation.depth += 1;
        let value = Words { text: word, at: 0 }.evaluate(evaluation);
        evaluation.depth -= 1;
        value
    };
    match (operator.chars().next(), found) {
        (None, found) if !empty_counts => found.map(|found| found.to_string()).ok_or_else(|| unbound(name)),
        (Some('-'), None) | (Some('+'), Some(_)) => other(&operator[1..]),
        (Some('-' | '?'), Some(found)) => Ok(found.to_string()),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(Fault::user(format!("{name}: {}", other(&operator[1..])?))),
        _ => Err(Fault::user(format!("`${{{text}}}` is no reference that env files have"))),
    }
}

fn unbound(name: &str) -> Fault {
    // Clients match on the last words.
    Fault::user(format!("{name}: unbound variable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside() -> BTreeMap<String, String> {
        BTreeMap::from([("HOME".into(), "/home/me".into()), ("PATH".into(), "/bin".into())])
    }

    fn check(text: &str, name: &str, want: Result<&str, &str>) {
        let file = Dotenv::parse(text).expect("is read");
        let got = file.get(name, &outside()).map(Option::unwrap_or_default).map_err(|fault| fault.full_message());
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn values_are_evaluated() {
        check("A=bar", "A", Ok("bar"));
        check("A=", "A", Ok(""));
        check("A=a   b  c", "A", Ok("a   b  c"));
        check("A=!@#$%^&*()", "A", Ok("!@#$%^&*()"));
        check("A=\"a b c\"", "A", Ok("a b c"));
        check("A=a\\ b\\ c", "A", Ok("a b c"));
        check("A='$HOME'", "A", Ok("$HOME"));
        check("A=hello, nice '$B'", "A", Ok("hello, nice $B"));
        check("A=\"say \\\"x\\\" and 'y'\"", "A", Ok("say \"x\" and 'y'"));
        check("export   A=\"b c\" # comment", "A", Ok("b c"));
        check("A=[\"ga\", 42]", "A", Ok("[ga, 42]"));
        check("A='it'\\''s'", "A", Ok("it's"));
    }

    #[test]
    fn quoted_values_go_over_lines() {
        let text = "A='1\n# 2\n\n3' # c\nB=\"x\\\"\n$C\"\nexport C=c # it's\nD=d\n";
        check(text, "A", Ok("1\n# 2\n\n3"));
        check(text, "B", Ok("x\"\nc"));
        check(text, "D", Ok("d"));
        assert_eq!(Dotenv::parse(text).expect("is read").text(), text);
        // What nothing closes is a value of one line.
        check("A=it's\nB=2", "B", Ok("2"));
        check("A=it's\nB=2", "A", Err("not closed"));
        let error = Dotenv::parse("A='1\n2'\nnonsense").expect_err("is refused").to_string();
        assert_eq!(error, "line 3 of the env file is no `NAME=value`");
    }

    #[test]
    fn references_are_followed() {
        check("A=$B-x\nB=${C}y\nC=c", "A", Ok("cy-x"));
        check("A=${B:-default}", "A", Ok("default"));
        check("A=${B-}${HOME:+set}", "A", Ok("set"));
        check("B=\nA=${B:-${HOME}/x}", "A", Ok("/home/me/x"));
        check("PATH=/mine:$PATH", "PATH", Ok("/mine:/bin"));
        check("A=1\nB=$A\nA=2", "B", Ok("2"));
        check("A=$MISSING", "A", Err("MISSING: unbound variable"));
        check("A=$B\nB=$C\nC=$A", "A", Err("circular dependency"));
        check("A=x\nA=$A-y", "A", Err("A: unbound variable"));
        check("A=$(echo x)", "A", Err("not executed"));
        check("A=\"x", "A", Err("not closed"));
        check("A=${B:?needed}", "A", Err("B: needed"));
    }

    #[test]
    fn growth_is_bounded() {
        let mut text = "V0=xxxxxxxxxxxxxxxx\n".to_owned();
        for n in 1..40 {
            text.push_str(&format!("V{n}=$V{}$V{}\n", n - 1, n - 1));
        }
        check(&text, "V39", Err("longer than"));
        let long: String = (0..5_000).map(|n| format!("V{n}=$V{}\n", n + 1)).collect();
        check(&long, "V0", Err("refer to one another"));
        let growing: String = (1..50_000).map(|n| format!("V{n}=${{V{}:-}}x\n", n - 1)).collect();
        let file = Dotenv::parse(&growing).expect("is read");
        let error = file.all(&BTreeMap::new()).expect_err("is refused").full_message();
        assert!(error.contains("bytes together"), "{error}");
        let nested = format!("A={}x{}", "${B:-".repeat(50_000), "}".repeat(50_000));
        check(&nested, "A", Err("lie in one another"));
    }

    #[test]
    fn a_file_of_references_is_read_through_a_few_times() {
        let text: String = (1..50_000).map(|n| format!("V{n}=$V{}\n", n - 1)).collect();
        let file = Dotenv::parse(&format!("V0=x\n{text}")).expect("is read");
        let all = file.all(&BTreeMap::new()).expect("is evaluated");
        assert_eq!((all.len(), &*all[49_999].1), (50_000, "x"));
        assert_eq!((file.all_raw().len(), file.refers_to()), (50_000, Vec::new()));
    }

    #[test]
    fn a_chain_of_changes_shares_its_steps() {
        let mut file = Dotenv::parse("A=1").expect("is read");
        let mut steps = Vec::new();
        for n in 0..5_000 {
            file.set(&format!("V{n}"), "x").expect("is set");
            steps.push(file.clone());
        }
        assert!(steps.iter().all(|step| Arc::ptr_eq(&step.read, &file.read)));
        assert_eq!((steps[1].all_raw().len(), file.all_raw().len()), (3, 5_001));
        for n in 0..20_000 {
            file.set("A", &n.to_string()).expect("is set");
        }
        assert!(file.changes.len() < 10_000, "{}", file.changes.len());
        assert_eq!(file.raw("A").as_deref(), Some("19999"));
    }

    #[test]
    fn files_are_written_as_they_were_read() {
        let text = "# comment\nexport A=\"x y\"\n\nB=$A\n";
        let mut file = Dotenv::parse(text).expect("is read");
        assert_eq!(file.text(), text);
        file.set("B", "2").expect("is set");
        file.set("C", "3").expect("is set");
        file.remove("A");
        assert_eq!(file.text(), "# comment\n\nB=2\nC=3\n");
        assert!(file.set("a=b", "").is_err());
        let error = Dotenv::parse("A=1\nnonsense").expect_err("is refused").to_string();
        assert_eq!(error, "line 2 of the env file is no `NAME=value`");
    }

    #[test]
    fn ends_of_lines_are_no_values() {
        let file = Dotenv::parse("A=x\r\r\nB=\r\r\r\nC=\"y\r\r\nz\"\n").expect("is read");
        assert_eq!(Dotenv::parse(&file.text()).expect("is read").all_raw(), file.all_raw());
        assert_eq!(file.raw("A"), Some("x".to_owned()));
    }

    #[test]
    fn prefixes_are_loose() {
        let check = |name: &str, prefix: &str, want: Option<&str>| assert_eq!(without_prefix(name, prefix), want);
        check("animal_name", "animal", Some("name"));
        check("ANIMAL_name", "animal_", Some("name"));
        check("my_app_token", "my_app", Some("token"));
        check("myApp_name", "my-app", Some("name"));
        check("MY_aPp_URL", "my-app", Some("URL"));
        check("my_app_token", "my_app_", Some("token"));
        check("foo", "animal", None);
        check("animals_name", "animal", None);
        check("animal_", "animal", None);
        let file = Dotenv::parse("A_x='$B'\nA_y=$HOME\nother=$MISSING").expect("is read");
        let part = file.namespace("a", &outside()).expect("is evaluated");
        assert_eq!(
            part.all(&BTreeMap::new()).expect("is evaluated"),
            [("x".to_owned(), "$B".to_owned()), ("y".to_owned(), "/home/me".to_owned()),]
        );
    }
}
