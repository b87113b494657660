//! Searches text in files, as ripgrep does.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};
use rondel_fault::{Fault, Result};
use rondel_model::op::{Filter, TreePath};
use rondel_model::pattern::IgnoreFile;
use rondel_model::search::{Match, Search, Submatch};
use rondel_model::{AbsPath, Snapshot};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::context::OpContext;
use crate::copy::text;
use crate::key::Key;
use crate::root::{Root, failed, inner, kind, names, open_dir, open_dir_at, stat_at};
use crate::{Ops, dedup_layers};

/// The most bytes of all matches together.
const MAX_TEXT: usize = 128 << 20;
/// The largest file for a search across lines, which needs the file in memory.
const MAX_IN_MEMORY: usize = 512 << 20;
/// The largest compiled pattern, in bytes. Patterns with large repetitions are refused because they
/// are slow.
const MAX_COMPILED: usize = 4 << 20;
/// The most memory for states of the lazy DFA, in bytes.
const MAX_AUTOMATON: usize = 64 << 20;
/// The most characters of a pattern that an error shows.
const MAX_SHOWN_PATTERN: usize = 200;
/// Larger ignore files are cut.
const MAX_RULES: u64 = 4 << 20;
/// Names of ignore files, the strongest last.
const IGNORE_FILES: [&str; 3] = [".gitignore", ".ignore", ".rgignore"];

impl Ops {
    /// Searches the directory or file at `place`. Matches are sorted by path, then by line.
    ///
    /// # Errors
    /// When the pattern is malformed, a path leads out of the directory or is missing, or a file
    /// cannot be read.
    pub async fn search(self: &Arc<Self>, cx: &OpContext, place: &TreePath, search: &Search) -> Result<Vec<Match>> {
        for path in &search.paths {
            check(path)?;
        }
        let snapshot = self.tree(cx, &place.fs).await?;
        let content = self.content(&snapshot, place, &Filter::default()).await?;
        // The name of a single file is part of its matches.
        let key = Key::Search { content, name: place.path.file_name(), search }.digest();
        if let Some(found) = self.stored::<Vec<Match>>(&key, &self.stats.files_cached, |_| Vec::new()) {
            return Ok(found);
        }
        crate::stats::count(&self.stats.files_done);
        let (path, search) = (place.path.clone(), search.clone());
        let found = self.blocking(move |ops| run(ops, &snapshot, &path, &search)).await?;
        self.store(&key, &found)?;
        Ok(found)
    }
}

/// Refuses a path whose text leads out of the directory.
fn check(path: &str) -> Result<()> {
    let mut depth = 0;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            // Clients match on this text; see behaviour DIR-026.
            return Err(Fault::user(format!("path cannot escape directory: {path}")));
        }
    }
    Ok(())
}

fn run(ops: &Ops, snapshot: &Snapshot, path: &AbsPath, search: &Search) -> Result<Vec<Match>> {
    let tree = dedup_layers::view(&*ops.ports.snapshots, snapshot)?;
    let root = Root(tree.root.as_fd());
    let mut run = SearchRun::new(search)?;
    let fail = |e| failed(e, "search", path.as_str());
    let found = root.find(inner(path), true).map_err(fail)?;
    let stat = found.stat.ok_or_else(|| fail(Errno::NOENT))?;
    if kind(&stat) != FileType::Directory {
        let holder = root.open_dir(found.path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
        let (name, shown) = (found.path.file_name().unwrap_or_default(), path.file_name().unwrap_or_default());
        run.file(holder.as_fd(), Path::new(name), PathBuf::from(shown))?;
        return Ok(run.found);
    }
    let dir = open_dir(root, path)?;
    if search.paths.is_empty() {
        run.directory(dir.as_fd(), &mut PathBuf::new())?;
    }
    for path in &search.paths {
        run.place(Root(dir.as_fd()), path)?;
    }
    Ok(run.found)
}

struct SearchRun<'a> {
    search: &'a Search,
    matcher: RegexMatcher,
    searcher: Searcher,
    globs: Option<GlobRules>,
    /// The ignore rules in force, with the directories of their files, the strongest last.
    rules: Vec<(PathBuf, IgnoreFile)>,
    found: Vec<Match>,
    size: usize,
}

/// The globs of a search as rules.
struct GlobRules {
    rules: IgnoreFile,
    /// Some glob includes, so files that no glob includes are skipped.
    picks: bool,
}

impl<'a> SearchRun<'a> {
    fn new(search: &'a Search) -> Result<Self> {
        let mut builder = RegexMatcherBuilder::new();
        builder.multi_line(true).case_insensitive(search.insensitive).fixed_strings(search.literal);
        match search.multiline {
            true => builder.dot_matches_new_line(search.dotall),
            false => builder.line_terminator(Some(b'\n')),
        };
        builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_AUTOMATON);
        let matcher = builder.build(&search.pattern).map_err(|e| {
            let shown: String = search.pattern.chars().take(MAX_SHOWN_PATTERN).collect();
            let more = if shown.len() < search.pattern.len() { "…" } else { "" };
            Fault::user(format!("cannot search for `{shown}{more}`: {e}"))
        })?;
        let mut searcher = SearcherBuilder::new();
        searcher.line_number(true).multi_line(search.multiline).binary_detection(BinaryDetection::quit(0));
        searcher.heap_limit(Some(MAX_IN_MEMORY));
        let globs = (!search.globs.is_empty()).then(|| GlobRules {
            rules: IgnoreFile::parse(search.globs.join("\n").as_bytes()),
            picks: search.globs.iter().any(|glob| !glob.starts_with('!')),
        });
        let searcher = searcher.build();
        Ok(Self { search, matcher, searcher, globs, rules: Vec::new(), found: Vec::new(), size: 0 })
    }

    fn is_full(&self) -> bool {
        self.search.limit.is_some_and(|limit| self.found.len() >= limit)
    }

    /// Searches a path that the user named. Symlinks are followed inside the directory.
    fn place(&mut self, dir: Root<'_>, path: &str) -> Result<()> {
        let fail = |e| failed(e, "search", path);
        let relative: PathBuf = Path::new(path).components().filter(|c| *c != std::path::Component::RootDir).collect();
        let found = dir.find(&relative, true).map_err(fail)?;
        let stat = found.stat.ok_or_else(|| fail(Errno::NOENT))?;
        if kind(&stat) == FileType::Directory {
            let below = dir.open_dir(&found.path).map_err(fail)?;
            return self.directory(below.as_fd(), &mut found.path.clone());
        }
        let holder = dir.open_dir(found.path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
        let name = found.path.file_name().map(OsString::from).unwrap_or_default();
        self.file(holder.as_fd(), Path::new(&name), found.path)
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, at: &mut PathBuf) -> Result<()> {
        let fail = |e, at: &Path| failed(e, "search", at);
        let outer = self.rules.len();
        if self.search.skip_ignored {
            for name in IGNORE_FILES {
                let rules = rules(dir, name).map_err(|e| fail(e, at))?;
                self.rules.extend(rules.map(|rules| (at.clone(), rules)));
            }
        }
        for name in names(dir).map_err(|e| fail(e, at))? {
            if self.is_full() {
                break;
            }
            let Some(stat) = stat_at(dir, &name).map_err(|e| fail(e, at))? else { continue };
            let is_dir = kind(&stat) == FileType::Directory;
            at.push(&name);
            if self.wanted(at, name.as_bytes(), is_dir) {
                match kind(&stat) {
                    FileType::Directory => {
                        let below = open_dir_at(dir, &name).map_err(|e| fail(e, at))?;
                        self.directory(below.as_fd(), at)?;
                    }
                    FileType::RegularFile => self.file(dir, Path::new(&name), at.clone())?,
                    _ => {}
                }
            }
            at.pop();
        }
        self.rules.truncate(outer);
        Ok(())
    }

    fn wanted(&self, path: &Path, name: &[u8], is_dir: bool) -> bool {
        if let Some(globs) = &self.globs {
            // Globs win over ignore files and hidden names.
            match globs.rules.decides(path.as_os_str().as_bytes(), is_dir) {
                Some(picked) => return picked,
                None if globs.picks && !is_dir => return false,
                None => {}
            }
        }
        if self.search.skip_hidden && name.starts_with(b".") {
            return false;
        }
        let decision =
            self.rules.iter().rev().find_map(|(holder, rules)| {
                rules.decides(path.strip_prefix(holder).ok()?.as_os_str().as_bytes(), is_dir)
            });
        !decision.unwrap_or(false)
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &Path, path: PathBuf) -> Result<()> {
        if self.is_full() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| failed(e, "search", &path))?;
        let limit = self.search.limit.map(|limit| limit - self.found.len());
        let mut sink = MatchSink {
            matcher: &self.matcher,
            path: text(&path),
            files_only: self.search.files_only,
            limit,
            found: Vec::new(),
            size: self.size,
            binary: false,
        };
        self.searcher
            .search_file(&self.matcher, &File::from(file), &mut sink)
            .map_err(|e| Fault::user(format!("cannot search `{}`: {e}", path.display())))?;
        if !sink.binary {
            self.size = sink.size;
            self.found.append(&mut sink.found);
        }
        Ok(())
    }
}

fn rules(dir: BorrowedFd<'_>, name: &str) -> Result<Option<IgnoreFile>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(e) => return Err(e),
    };
    if kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::from(file).take(MAX_RULES).read_to_end(&mut text).map_err(|_| Errno::IO)?;
    let rules = IgnoreFile::parse(&text);
    Ok((!rules.is_empty()).then_some(rules))
}

/// Collects the matches of one file.
struct MatchSink<'a> {
    matcher: &'a RegexMatcher,
    path: String,
    files_only: bool,
    limit: Option<usize>,
    found: Vec<Match>,
    size: usize,
    binary: bool,
}

impl Sink for MatchSink<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        if self.files_only {
            let path = self.path.clone();
            self.found.push(Match { path, line: 0, offset: 0, lines: String::new(), submatches: Vec::new() });
            return Ok(false);
        }
        let bytes = found.bytes();
        let mut submatches = Vec::new();
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let visited = self.matcher.find_iter(bytes, |hit| {
            submatches.push(Submatch { text: lossy(&bytes[hit]), start: hit.start() as u64, end: hit.end() as u64 });
            true
        });
        visited.map_err(std::io::Error::other)?;
        self.size += bytes.len() + 64 * submatches.len() + self.path.len();
        if self.size > MAX_TEXT {
            return Err(std::io::Error::other("too much matches; set `limit`, or a narrower pattern"));
        }
        self.found.push(Match {
            path: self.path.clone(),
            line: found.line_number().unwrap_or(0),
            offset: found.absolute_byte_offset(),
            lines: lossy(bytes),
            submatches,
        });
        Ok(self.limit.is_none_or(|limit| self.found.len() < limit))
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, Self::Error> {
        self.binary = true;
        Ok(false)
    }

    fn finish(&mut self, _: &Searcher, end: &SinkFinish) -> Result<(), Self::Error> {
        self.binary |= end.binary_byte_offset().is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["a", "/a", "a/../b", "./a/b/../..", ""] {
            assert!(check(path).is_ok(), "{path}");
        }
        for path in ["..", "/..", "a/../..", "../a", "a/../../b"] {
            let error = check(path).expect_err(path);
            assert_eq!(error.to_string(), format!("path cannot escape directory: {path}"));
        }
    }
}
