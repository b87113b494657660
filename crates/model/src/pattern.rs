//! Path patterns: globs, include and exclude lists, and `.gitignore` rules. Paths are bytes.
//!
//! A pattern is relative to the root that it is used for. A leading slash, `.` and empty parts are
//! ignored. `?` is one character and `*` any number of them, both within one part of a path; `**`
//! crosses parts, and `**/` may be nothing at all; `[a-z]`, `[^a-z]` are classes; a backslash
//! escapes the next character. In lists, a pattern that names a directory picks everything below
//! it, a leading `!` negates earlier patterns, and the last pattern that matches decides.

mod glob;
mod index;

use crate::op::Filter;

use index::PatternIndex;

pub use glob::{Glob, PatternError};

/// An ordered list of patterns, the last match of which decides.
#[derive(Debug, Clone, Default)]
struct PatternList {
    patterns: Vec<(bool, Glob)>,
    index: Option<PatternIndex>,
}

impl PatternList {
    fn new(patterns: &[String]) -> Result<Self, PatternError> {
        let mut list = Vec::new();
        for text in patterns {
            let (picks, rest) = match text.trim().strip_prefix('!') {
                Some(rest) => (false, rest),
                None => (true, text.as_str()),
            };
            let glob = Glob::new(rest).map_err(|error| PatternError { pattern: text.clone(), ..error })?;
            // An empty pattern, or `.`, names the root and so everything.
            let glob = if glob.is_empty() && !rest.trim().is_empty() { Glob::new("**")? } else { glob };
            if !glob.is_empty() {
                list.push((picks, glob));
            }
        }
        let index = PatternIndex::of(list.iter().map(|(_, glob)| glob));
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

/// The compiled include and exclude lists of a [`Filter`]. `.gitignore` files are not part of it.
#[derive(Debug, Clone)]
pub struct Matcher {
    include: Option<PatternList>,
    exclude: PatternList,
}

impl Matcher {
    /// Reads the lists of `filter`.
    ///
    /// # Errors
    /// When a pattern is malformed.
    pub fn new(filter: &Filter) -> Result<Self, PatternError> {
        let include = if filter.include.is_empty() { None } else { Some(PatternList::new(&filter.include)?) };
        Ok(Self { include, exclude: PatternList::new(&filter.exclude)? })
    }

    /// Whether the file `path` passes. The same for anything else that is no directory, and for a
    /// directory on its own: one that does not pass is there only when something below it is.
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
    rules: Vec<IgnoreRule>,
    index: Option<PatternIndex>,
}

#[derive(Debug, Clone)]
struct IgnoreRule {
    ignores: bool,
    directories_only: bool,
    glob: Glob,
}

impl IgnoreFile {
    /// Reads the lines of a `.gitignore` file. Lines that are malformed have no effect, as in git.
    pub fn parse(contents: &[u8]) -> Self {
        let text = String::from_utf8_lossy(contents);
        let rules: Vec<IgnoreRule> =
            text.trim_start_matches('\u{feff}').lines().filter_map(IgnoreRule::parse).collect();
        let index = PatternIndex::of(rules.iter().map(|rule| &rule.glob));
        Self { rules, index }
    }

    /// Whether it has no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path`, relative to the directory that holds the file, is ignored. `None` if no rule
    /// matches.
    pub fn decides(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        let speaks = |rule: &&IgnoreRule| (is_dir || !rule.directories_only) && rule.glob.matches(path);
        let rule = match &self.index {
            None => self.rules.iter().rev().find(speaks),
            Some(index) => index.candidates(path).iter().map(|at| &self.rules[*at as usize]).find(speaks),
        };
        Some(rule?.ignores)
    }
}

impl IgnoreRule {
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
            let list = PatternList::new(&list).unwrap();
            assert!(list.index.is_some());
            let slow = PatternList { index: None, ..list.clone() };
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
            PatternList::new(&(0..20_000).map(pattern).collect::<Vec<_>>()).unwrap().index.unwrap()
        };
        let check = |index: &PatternIndex, path: &str| {
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
