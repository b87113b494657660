//! One pattern for whole paths.

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` is malformed: {reason}")]
pub struct PatternError {
    /// As it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// One pattern for whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pub(super) tokens: Vec<GlobToken>,
    pub(super) kind: GlobKind,
}

/// The kind of a pattern. Frequent kinds need no search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GlobKind {
    /// One path.
    Path(Vec<u8>),
    /// One path, at any depth: `**/` and the path.
    AnyDepth(Vec<u8>),
    /// Anything else, with the literal bytes that it begins and ends with.
    General { prefix: Vec<u8>, suffix: Vec<u8> },
}

impl GlobKind {
    fn of(tokens: &[GlobToken]) -> Self {
        let text = |tokens: &[GlobToken]| -> Option<Vec<u8>> {
            let chars = tokens.iter().map(|token| match token {
                GlobToken::Char(c) => char::from_u32(*c),
                _ => None,
            });
            chars.collect::<Option<String>>().filter(|text| !text.is_empty()).map(String::into_bytes)
        };
        let form = match tokens {
            [GlobToken::Parts, rest @ ..] => text(rest).map(Self::AnyDepth),
            all => text(all).map(Self::Path),
        };
        let char_of = |token: &GlobToken| if let GlobToken::Char(c) = token { char::from_u32(*c) } else { None };
        form.unwrap_or_else(|| {
            let prefix: String = tokens.iter().map_while(char_of).collect();
            let suffix: Vec<char> = tokens.iter().rev().map_while(char_of).collect();
            let suffix: String = suffix.into_iter().rev().collect();
            Self::General { prefix: prefix.into(), suffix: suffix.into() }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GlobToken {
    Char(u32),
    Any,
    /// Any number of characters within one part.
    Star,
    /// Any number of characters.
    DoubleStar,
    /// Any number of whole parts, each with its slash.
    Parts,
    Class {
        ranges: Vec<(u32, u32)>,
        negated: bool,
    },
}

/// The positions of a pattern at which the rest of a path would have to match.
type Positions = Vec<bool>;

impl Glob {
    /// Parses `pattern`.
    ///
    /// # Errors
    /// When a class is not closed or a backslash stands at the end.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Self::exact(pattern.trim())
    }

    /// Parses `pattern` with surrounding blanks as part of it.
    pub(super) fn exact(pattern: &str) -> Result<Self, PatternError> {
        let wrong = |reason| PatternError { pattern: pattern.to_owned(), reason };
        let clean = clean(pattern);
        let mut tokens = Vec::new();
        let mut chars = clean.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '?' => tokens.push(GlobToken::Any),
                '*' if chars.peek() == Some(&'*') => {
                    while chars.next_if_eq(&'*').is_some() {}
                    let at_start = matches!(tokens.last(), None | Some(GlobToken::Char(SLASH) | GlobToken::Parts));
                    let whole_part = at_start && chars.next_if_eq(&'/').is_some();
                    tokens.push(if whole_part { GlobToken::Parts } else { GlobToken::DoubleStar });
                }
                '*' => tokens.push(GlobToken::Star),
                '\\' => {
                    let next = chars.next().ok_or_else(|| wrong("it ends with a backslash"))?;
                    tokens.push(GlobToken::Char(next as u32));
                }
                '[' => tokens.push(class(&mut chars).ok_or_else(|| wrong("a class is not closed"))?),
                c => tokens.push(GlobToken::Char(c as u32)),
            }
        }
        let kind = GlobKind::of(&tokens);
        Ok(Self { tokens, kind })
    }

    /// Whether the pattern has no characters.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether the whole `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.kind {
            GlobKind::Path(text) => path == text,
            GlobKind::AnyDepth(text) => {
                path.strip_suffix(&text[..]).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
            }
            GlobKind::General { prefix, suffix } => {
                path.starts_with(prefix) && path.ends_with(suffix) && self.run(path).0
            }
        }
    }

    /// Whether the whole `path` matches, or a directory above it.
    pub fn covers(&self, path: &[u8]) -> bool {
        match &self.kind {
            GlobKind::Path(text) => is_at_or_below(path, text),
            GlobKind::AnyDepth(text) => {
                let starts = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1);
                std::iter::once(0).chain(starts).any(|start| is_at_or_below(&path[start..], text))
            }
            GlobKind::General { prefix, suffix } => {
                let mut ends =
                    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
                if !path.starts_with(prefix) || !ends.any(|end| path[..end].ends_with(suffix)) {
                    return false;
                }
                let (whole, above, _) = self.run(path);
                whole || above
            }
        }
    }

    /// Whether something below the directory `dir` could match. The root is the empty path.
    pub fn descend(&self, dir: &[u8]) -> bool {
        match &self.kind {
            _ if dir.is_empty() => true,
            GlobKind::Path(text) => text.len() > dir.len() && is_at_or_below(text, dir),
            GlobKind::AnyDepth(_) => true,
            GlobKind::General { prefix, .. } => {
                let length = prefix.len().min(dir.len());
                let meets = prefix[..length] == dir[..length] && prefix.get(length).is_none_or(|next| *next == b'/');
                meets && self.run(dir).2.contains(&true)
            }
        }
    }

    /// Whether the whole `path` matches, whether a directory above it does, and what may follow
    /// `path` and a slash.
    fn run(&self, path: &[u8]) -> (bool, bool, Positions) {
        let mut now = self.start();
        let mut next = vec![false; now.len()];
        let mut above = false;
        for c in characters(path) {
            above |= c == SLASH && self.accepts(&now);
            self.step(&now, c, &mut next);
            std::mem::swap(&mut now, &mut next);
            if !now.contains(&true) {
                return (false, above, now);
            }
        }
        let whole = self.accepts(&now);
        self.step(&now, SLASH, &mut next);
        (whole, above, next)
    }

    fn accepts(&self, positions: &Positions) -> bool {
        positions[self.tokens.len()]
    }

    fn start(&self) -> Positions {
        let mut positions = vec![false; self.tokens.len() + 1];
        self.add(&mut positions, 0);
        positions
    }

    /// Adds a position, and those that are reached without a character.
    fn add(&self, positions: &mut Positions, at: usize) {
        let mut at = at;
        while !positions[at] {
            positions[at] = true;
            match self.tokens.get(at) {
                Some(GlobToken::Star | GlobToken::DoubleStar | GlobToken::Parts) => at += 1,
                _ => return,
            }
        }
    }

    fn step(&self, positions: &Positions, c: u32, next: &mut Positions) {
        next.fill(false);
        for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| positions[*at]) {
            match token {
                GlobToken::Char(want) if *want == c => self.add(next, at + 1),
                GlobToken::Any if c != SLASH => self.add(next, at + 1),
                GlobToken::Star if c != SLASH => self.add(next, at),
                GlobToken::DoubleStar => self.add(next, at),
                // Within a part only the loop goes on; what follows may start after a slash.
                GlobToken::Parts if c == SLASH => self.add(next, at),
                GlobToken::Parts => next[at] = true,
                GlobToken::Class { ranges, negated } if c != SLASH && in_class(ranges, c) != *negated => {
                    self.add(next, at + 1);
                }
                _ => {}
            }
        }
    }
}

fn is_at_or_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn in_class(ranges: &[(u32, u32)], c: u32) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
}

pub(super) const SLASH: u32 = '/' as u32;

/// The characters of a path; bytes that are no UTF-8 count as characters of their own.
fn characters(path: &[u8]) -> impl Iterator<Item = u32> + '_ {
    path.utf8_chunks().flat_map(|chunk| {
        let text = chunk.valid().chars().map(|c| c as u32);
        text.chain(chunk.invalid().iter().map(|b| 0x11_0000 + u32::from(*b)))
    })
}

/// `pattern` without leading and trailing slashes, `.` and empty parts; `..` takes the part before
/// it away.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<GlobToken> {
    let negated = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(GlobToken::Class { ranges, negated }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut high = low;
        if chars.peek() == Some(&'-') {
            chars.next();
            match chars.next()? {
                ']' => {
                    ranges.extend([(low as u32, low as u32), ('-' as u32, '-' as u32)]);
                    return Some(GlobToken::Class { ranges, negated });
                }
                '\\' => high = chars.next()?,
                c => high = c,
            }
        }
        ranges.push((low as u32, high as u32));
    }
}
