//! Patterns that pick paths: include and exclude lists, globs, and `.gitignore` rules. Pure; paths are bytes.
//!
//! A pattern is relative to the root that it is used for; a leading slash, `.` and empty parts say nothing. `?` is one
//! character and `*` any number of them, both within one part of a path; `**` crosses parts, and `**/` may be nothing at
//! all; `[a-z]`, `[^a-z]` are classes; a backslash takes the meaning from the next character. In lists, a pattern that
//! names a directory picks everything below it, a leading `!` takes back what earlier patterns picked, and the last
//! pattern that matches decides.

mod index;

use crate::op::Filter;

use index::Index;

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
    tokens: Vec<Token>,
    form: Form,
}

/// Frequent patterns that need no search.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// One path.
    Path(Vec<u8>),
    /// One path, at any depth: `**/` and the path.
    AnyDepth(Vec<u8>),
    /// Anything else, with the literal bytes that it begins and ends with.
    General { prefix: Vec<u8>, suffix: Vec<u8> },
}

impl Form {
    fn of(tokens: &[Token]) -> Self {
        let text = |tokens: &[Token]| -> Option<Vec<u8>> {
            let chars = tokens.iter().map(|token| match token {
                Token::Char(c) => char::from_u32(*c),
                _ => None,
            });
            chars.collect::<Option<String>>().filter(|text| !text.is_empty()).map(String::into_bytes)
        };
        let form = match tokens {
            [Token::Parts, rest @ ..] => text(rest).map(Self::AnyDepth),
            all => text(all).map(Self::Path),
        };
        let char_of = |token: &Token| if let Token::Char(c) = token { char::from_u32(*c) } else { None };
        form.unwrap_or_else(|| {
            let prefix: String = tokens.iter().map_while(char_of).collect();
            let suffix: Vec<char> = tokens.iter().rev().map_while(char_of).collect();
            let suffix: String = suffix.into_iter().rev().collect();
            Self::General { prefix: prefix.into(), suffix: suffix.into() }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
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

/// How far a path came in a pattern: the positions at which the rest of it would have to match.
type Positions = Vec<bool>;

impl Glob {
    /// Reads `pattern`.
    ///
    /// # Errors
    /// When a class is not closed or a backslash stands at the end.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Self::exact(pattern.trim())
    }

    /// The same with blanks around the pattern being part of it.
    fn exact(pattern: &str) -> Result<Self, PatternError> {
        let wrong = |reason| PatternError { pattern: pattern.to_owned(), reason };
        let clean = clean(pattern);
        let mut tokens = Vec::new();
        let mut chars = clean.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '?' => tokens.push(Token::Any),
                '*' if chars.peek() == Some(&'*') => {
                    while chars.next_if_eq(&'*').is_some() {}
                    let at_start = matches!(tokens.last(), None | Some(Token::Char(SLASH) | Token::Parts));
                    let whole_part = at_start && chars.next_if_eq(&'/').is_some();
                    tokens.push(if whole_part { Token::Parts } else { Token::DoubleStar });
                }
                '*' => tokens.push(Token::Star),
                '\\' => {
                    let next = chars.next().ok_or_else(|| wrong("it ends with a backslash"))?;
                    tokens.push(Token::Char(next as u32));
                }
                '[' => tokens.push(class(&mut chars).ok_or_else(|| wrong("a class is not closed"))?),
                c => tokens.push(Token::Char(c as u32)),
            }
        }
        let form = Form::of(&tokens);
        Ok(Self { tokens, form })
    }

    /// Whether the whole `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.form {
            Form::Path(text) => path == text,
            Form::AnyDepth(text) => {
                path.strip_suffix(&text[..]).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
            }
            Form::General { prefix, suffix } => path.starts_with(prefix) && path.ends_with(suffix) && self.run(path).0,
        }
    }

    /// Whether the whole `path` matches, or a directory above it.
    pub fn covers(&self, path: &[u8]) -> bool {
        match &self.form {
            Form::Path(text) => is_at_or_below(path, text),
            Form::AnyDepth(text) => {
                let starts = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1);
                std::iter::once(0).chain(starts).any(|start| is_at_or_below(&path[start..], text))
            }
            Form::General { prefix, suffix } => {
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
        match &self.form {
            _ if dir.is_empty() => true,
            Form::Path(text) => text.len() > dir.len() && is_at_or_below(text, dir),
            Form::AnyDepth(_) => true,
            Form::General { prefix, .. } => {
                let length = prefix.len().min(dir.len());
                let meets = prefix[..length] == dir[..length] && prefix.get(length).is_none_or(|next| *next == b'/');
                meets && self.run(dir).2.contains(&true)
            }
        }
    }

    /// Whether the whole `path` matches, whether a directory above it does, and what may follow `path` and a slash.
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
                Some(Token::Star | Token::DoubleStar | Token::Parts) => at += 1,
                _ => return,
            }
        }
    }

    fn step(&self, positions: &Positions, c: u32, next: &mut Positions) {
        next.fill(false);
        for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| positions[*at]) {
            match token {
                Token::Char(want) if *want == c => self.add(next, at + 1),
                Token::Any if c != SLASH => self.add(next, at + 1),
                Token::Star if c != SLASH => self.add(next, at),
                Token::DoubleStar => self.add(next, at),
                // Within a part only the loop goes on; what follows may start after a slash.
                Token::Parts if c == SLASH => self.add(next, at),
                Token::Parts => next[at] = true,
                Token::Class { ranges, negated } if c != SLASH && in_class(ranges, c) != *negated => {
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

const SLASH: u32 = '/' as u32;

/// The characters of a path; bytes that are no UTF-8 count as characters of their own.
fn characters(path: &[u8]) -> impl Iterator<Item = u32> + '_ {
    path.utf8_chunks().flat_map(|chunk| {
        let text = chunk.valid().chars().map(|c| c as u32);
        text.chain(chunk.invalid().iter().map(|b| 0x11_0000 + u32::from(*b)))
    })
}

/// `pattern` without leading and trailing slashes, `.` and empty parts; `..` takes the part before it away.
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

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if(|c| matches!(c, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { ranges, negated }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut high = low;
        if chars.peek() == Some(&'-') {
            chars.next();
            match chars.next()? {
                ']' => {
                    ranges.extend([(low as u32, low as u32), ('-' as u32, '-' as u32)]);
                    return Some(Token::Class { ranges, negated });
                }
                '\\' => high = chars.next()?,
                c => high = c,
            }
        }
        ranges.push((low as u32, high as u32));
    }
}

/// An ordered list of patterns, the last match of which decides.
#[derive(Debug, Clone, Default)]
struct List {
    patterns: Vec<(bool, Glob)>,
    index: Option<Index>,
}

impl List {
    fn new(patterns: &[String]) -> Result<Self, PatternError> {
        let mut list = Vec::new();
        for text in patterns {
            let (picks, rest) = match text.trim().strip_prefix('!') {
                Some(rest) => (false, rest),
                None => (true, text.as_str()),
            };
            let glob = Glob::new(rest).map_err(|error| PatternError { pattern: text.clone(), ..error })?;
            // An empty pattern, or `.`, names the root and so everything.
            let glob = if glob.tokens.is_empty() && !rest.trim().is_empty() { Glob::new("**")? } else { glob };
            if !glob.tokens.is_empty() {
                list.push((picks, glob));
            }
        }
        let index = Index::of(list.iter().map(|(_, glob)| glob));
        Ok(Self { patterns: list, index })
    }

    fn picks(&self, path: &[u8]) -> bool {
        let covers = |pattern: &&(bool, Glob)| pattern.1.covers(path);
        let deciding = match &self.index {
            None => self.patterns.iter().rev().find(covers),
            Some(index) => index.candidates(path).iter().map(|at| &self.patterns[*at as usize]).find(covers),
        };
        deciding.is_some_and(|(picks, _)| *picks)
    }

    /// Whether a pattern of the given sense could match something below `dir`.
    fn reaches_below(&self, dir: &[u8], sense: bool) -> bool {
        self.patterns.iter().any(|(picks, glob)| *picks == sense && glob.descend(dir))
    }
}

/// Whether a walk goes into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// Nothing below it passes.
    Skip,
    /// Something below it may pass.
    Enter,
}

/// The include and exclude lists of a [`Filter`], ready for use. `.gitignore` files are not its business.
#[derive(Debug, Clone)]
pub struct Matcher {
    include: Option<List>,
    exclude: List,
}

impl Matcher {
    /// Reads the lists of `filter`.
    ///
    /// # Errors
    /// When a pattern is malformed.
    pub fn new(filter: &Filter) -> Result<Self, PatternError> {
        let include = if filter.include.is_empty() { None } else { Some(List::new(&filter.include)?) };
        Ok(Self { include, exclude: List::new(&filter.exclude)? })
    }

    /// Whether the file `path` passes. The same for anything else that is no directory, and for a directory on its own:
    /// one that does not pass is there only when something below it is.
    pub fn file(&self, path: &[u8]) -> bool {
        self.include.as_ref().is_none_or(|include| include.picks(path)) && !self.exclude.picks(path)
    }

    /// Whether something below the directory `dir` may pass. The root is the empty path.
    pub fn descend(&self, dir: &[u8]) -> Descend {
        let excluded = !dir.is_empty() && self.exclude.picks(dir) && !self.exclude.reaches_below(dir, false);
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| dir.is_empty() || include.picks(dir) || include.reaches_below(dir, true));
        if included && !excluded { Descend::Enter } else { Descend::Skip }
    }
}

/// The rules of one `.gitignore` file.
#[derive(Debug, Clone, Default)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
    index: Option<Index>,
}

#[derive(Debug, Clone)]
struct Rule {
    ignores: bool,
    directories_only: bool,
    glob: Glob,
}

impl IgnoreFile {
    /// Reads the lines of a `.gitignore` file. Lines that are malformed have no effect, as in git.
    pub fn parse(contents: &[u8]) -> Self {
        let text = String::from_utf8_lossy(contents);
        let rules: Vec<Rule> = text.trim_start_matches('\u{feff}').lines().filter_map(Rule::parse).collect();
        let index = Index::of(rules.iter().map(|rule| &rule.glob));
        Self { rules, index }
    }

    /// Whether it has no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path`, relative to the directory that holds the file, is ignored; none when no rule speaks of it.
    pub fn decides(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        let speaks = |rule: &&Rule| (is_dir || !rule.directories_only) && rule.glob.matches(path);
        let rule = match &self.index {
            None => self.rules.iter().rev().find(speaks),
            Some(index) => index.candidates(path).iter().map(|at| &self.rules[*at as usize]).find(speaks),
        };
        Some(rule?.ignores)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let line = trim_unescaped(line);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (ignores, line) = line.strip_prefix('!').map_or((true, line), |rest| (false, rest));
        let directories_only = line.ends_with('/');
        let body = line.strip_suffix('/').unwrap_or(line);
        let anchored = body.contains('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        if body.is_empty() {
            return None;
        }
        // `**` next to other characters means `*` here, and a trailing `/**` everything inside.
        let body = body.split('/').map(|part| if part == "**" { part.into() } else { part.replace("**", "*") });
        let body: Vec<String> = body.collect();
        let pattern = if anchored { body.join("/") } else { format!("**/{}", body.join("/")) };
        Some(Self { ignores, directories_only, glob: Glob::exact(&pattern).ok()? })
    }
}

/// Without trailing blanks, unless a backslash stands before them that none takes the meaning from.
fn trim_unescaped(line: &str) -> &str {
    let mut line = line.trim_end_matches('\r');
    while let Some(shorter) = line.strip_suffix([' ', '\t']) {
        let backslashes = shorter.len() - shorter.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            return line;
        }
        line = shorter;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let glob = Glob::new(pattern).unwrap();
            yes.iter().for_each(|path| assert!(glob.matches(path.as_bytes()), "`{pattern}` shall match `{path}`"));
            no.iter().for_each(|path| assert!(!glob.matches(path.as_bytes()), "`{pattern}` shall not match `{path}`"));
        };
        check("*.md", &["a.md", ".md"], &["a/b.md", "a.mdx", "md"]);
        check("**/*", &["a", "a/b", "a/b/c"], &[]);
        check("**/**/x", &["x", "a/x", "a/b/x"], &["ax"]);
        check("**/*.md", &["a.md", "x/a.md", "x/y/a.md"], &["a.txt", "amd"]);
        check("sub/**/*.md", &["sub/a.md", "sub/x/y/a.md"], &["a.md", "subx/a.md", "sub.md"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "ab/c"]);
        check("**", &["a", "a/b"], &[]);
        check("/a/./b/", &["a/b"], &["a", "a/b/c"]);
        check("a?c", &["abc", "aéc"], &["a/c", "ac", "abbc"]);
        check("[a-c]x[^0-9]", &["axy", "cx."], &["dxy", "ax1"]);
        check("[]]", &["]"], &["a"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("\\*", &["*"], &["a"]);
        check("a**b", &["ab", "axb", "a/b", "ax/yb"], &["b"]);
        check("*a*a*a*a*b", &["aaaab"], &[&"a".repeat(200)]);
        assert!(Glob::new("[a").is_err());
        assert_eq!(
            Glob::new("a\\").unwrap_err().to_string(),
            "the pattern `a\\` is malformed: it ends with a backslash"
        );
        assert!(Glob::new("?").unwrap().matches(b"\xff"));
    }

    const TREE: [&str; 9] = [
        ".git/config",
        ".gitignore",
        "internal/foo/asset.txt",
        "internal/foo/bar.go",
        "internal/top.go",
        "lib.go",
        "main.go",
        "readme.md",
        "vendor/x/y.go",
    ];

    fn passing(include: &[&str], exclude: &[&str]) -> Vec<&'static str> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let matcher = Matcher::new(&Filter { include: own(include), exclude: own(exclude), gitignore: false }).unwrap();
        let passes = |path: &&str| {
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            let reached = above.all(|dir| matcher.descend(dir.as_bytes()) == Descend::Enter);
            let passes = matcher.file(path.as_bytes());
            assert!(reached || !passes, "`{path}` passes and is not reached");
            passes
        };
        TREE.into_iter().filter(passes).collect()
    }

    #[test]
    fn lists() {
        let all = TREE.to_vec();
        let but = |out: &[&str]| TREE.into_iter().filter(|p| !out.iter().any(|o| p.starts_with(o))).collect::<Vec<_>>();
        assert_eq!(passing(&[], &[]), all);
        assert_eq!(passing(&[], &["**"]), [""; 0]);
        assert_eq!(passing(&[], &["**", "!**"]), all);
        assert_eq!(passing(&[], &["**", "!**", "*.git*"]), but(&[".git"]));
        assert_eq!(passing(&[], &["internal"]), but(&["internal"]));
        assert_eq!(passing(&[], &["internal/"]), but(&["internal"]));
        assert_eq!(passing(&[], &["**", "!main.go"]), ["main.go"]);
        assert_eq!(
            passing(&[], &["**/*.go", "!main.go"]),
            [".git/config", ".gitignore", "internal/foo/asset.txt", "main.go", "readme.md"]
        );
        assert_eq!(passing(&[], &["internal/foo", "!internal/foo/bar.go"]), but(&["internal/foo/asset"]));
        assert_eq!(passing(&[], &["*", "!vendor"]), ["vendor/x/y.go"]);
        assert_eq!(passing(&["internal"], &[]), ["internal/foo/asset.txt", "internal/foo/bar.go", "internal/top.go"]);
        assert_eq!(passing(&["**/*.go"], &["vendor"]), ["internal/foo/bar.go", "internal/top.go", "lib.go", "main.go"]);
        assert_eq!(passing(&["*.md", "internal/*/bar.go"], &[]), ["internal/foo/bar.go", "readme.md"]);
        assert_eq!(passing(&["."], &["*"]), [""; 0]);
        assert_eq!(passing(&["./internal/foo/**"], &["**/*.txt"]), ["internal/foo/bar.go"]);
    }

    #[test]
    fn long_lists_decide_as_their_patterns_do_one_by_one() {
        let patterns = [
            "main.go",
            "**/foo",
            "internal/*/bar.go",
            "*.md",
            "!readme.md",
            "**/*.txt",
            "a/**/z",
            "x/y",
            "**/x/y",
            "[v]endor",
            "?.git*",
            "**/as?et*",
            "lib.*",
            "!lib.go",
            "*",
            "!vendor",
            "**/top.go",
            "intern[a]l/t*",
        ];
        let paths = TREE.into_iter().chain(["a/z", "a/b/z", "vendor", "internal", "deep/x/y/f", "x/y", "foo/x", "y"]);
        let paths: Vec<&str> = paths.collect();
        for skipped in 0..patterns.len() {
            // Every pattern once without what overrules it, in lists long enough for an index.
            let filler = (0..20).map(|n| format!("none-{n}/*"));
            let list: Vec<String> = filler.chain(patterns[..=skipped].iter().map(|p| (*p).to_owned())).collect();
            let list = List::new(&list).unwrap();
            assert!(list.index.is_some());
            let slow = List { index: None, ..list.clone() };
            let rules = IgnoreFile::parse(patterns[..=skipped].join("\n").as_bytes());
            let slow_rules = IgnoreFile { index: None, ..rules.clone() };
            for path in paths.iter().map(|path| path.as_bytes()) {
                let what = (skipped, String::from_utf8_lossy(path));
                assert_eq!(list.picks(path), slow.picks(path), "{what:?}");
                assert_eq!(rules.decides(path, true), slow_rules.decides(path, true), "{what:?}");
            }
        }
    }

    #[test]
    fn few_patterns_of_a_long_list_are_tried() {
        let list = |pattern: fn(usize) -> String| {
            List::new(&(0..20_000).map(pattern).collect::<Vec<_>>()).unwrap().index.unwrap()
        };
        let check = |index: &Index, path: &str| {
            let tried = index.candidates(path.as_bytes()).len();
            assert!(tried < 200, "{tried} patterns are tried for `{path}`");
        };
        let lists: [fn(usize) -> String; 5] = [
            |n| format!("dir{n}/file"),
            |n| format!("**/name{n}"),
            |n| format!("*.ext{n}"),
            |n| format!("**/dir{n}/**/*.o"),
            |n| format!("begin{n}*"),
        ];
        for list in lists.map(list) {
            for path in ["dir77/file", "a/b/name9999", "some.ext12345", "dir1/deep/x.o", "begin4/x", "other/path"] {
                check(&list, path);
            }
        }
    }

    #[test]
    fn walks_skip_what_cannot_pass() {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let check = |include: &[&str], exclude: &[&str], dir: &str, want: Descend| {
            let filter = Filter { include: own(include), exclude: own(exclude), gitignore: false };
            assert_eq!(Matcher::new(&filter).unwrap().descend(dir.as_bytes()), want, "{include:?} {exclude:?} {dir}");
        };
        check(&[], &["node_modules"], "node_modules", Descend::Skip);
        check(&[], &["**/node_modules"], "a/b/node_modules", Descend::Skip);
        check(&[], &["node_modules"], "src", Descend::Enter);
        check(&[], &["**", "!src/main.rs"], "src", Descend::Enter);
        check(&[], &["**", "!src/main.rs"], "target", Descend::Skip);
        check(&["src/*.rs"], &[], "src", Descend::Enter);
        check(&["src/*.rs"], &[], "src/deep", Descend::Skip);
        check(&["src/*.rs"], &[], "target", Descend::Skip);
        check(&["src/*.rs"], &["**"], "", Descend::Enter);
    }

    #[test]
    fn git_rules() {
        let check = |rules: &str, path: &str, is_dir: bool, want: Option<bool>| {
            let found = IgnoreFile::parse(rules.as_bytes()).decides(path.as_bytes(), is_dir);
            assert_eq!(found, want, "`{rules}` on `{path}`");
        };
        check("*.o", "a/b.o", false, Some(true));
        check("build/", "build", true, Some(true));
        check("build/", "a/build", true, Some(true));
        check("build/", "build", false, None);
        check("/build", "build", false, Some(true));
        check("/build", "a/build", false, None);
        check("a/b", "a/b", false, Some(true));
        check("a/b", "x/a/b", false, None);
        check("*.o\n!keep.o", "keep.o", false, Some(false));
        check("# comment\n\n \nx  ", "x", false, Some(true));
        check("\\#x", "#x", false, Some(true));
        check("\\!x", "!x", false, Some(true));
        check("a/**", "a/b/c", false, Some(true));
        check("a/**", "a", true, None);
        check("**/foo", "a/foo", false, Some(true));
        check("a/**/b", "a/b", false, Some(true));
        check("foo**bar", "fooxbar", false, Some(true));
        check("x\r\n", "x", false, Some(true));
        check("end\\ ", "end ", false, Some(true));
        check("end\\ ", "end", false, None);
        check("end\\   ", "a/end ", false, Some(true));
        check("end\\\\ ", "end\\", false, Some(true));
        check(" x", " x", false, Some(true));
        check(" x", "x", false, None);
        check("/ x", " x", false, Some(true));
        check("doc/*.txt", "doc/a/b.txt", false, None);
        check("[", "[", false, None);
    }
}
