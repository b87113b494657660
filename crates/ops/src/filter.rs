//! Walks a directory for the files that pass a filter or match a pattern.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Fault, Result};
use rondel_model::op::Filter;
use rondel_model::pattern::{Descend, Glob, IgnoreFile, Matcher};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::root::{failed, kind, names, open_dir_at, stat_at};

/// Larger `.gitignore` files are cut.
const MAX_BYTES: u64 = 4 << 20;

/// The paths below `dir` that pass `filter`, with their parents. `None` if everything passes.
pub(crate) fn choose(dir: BorrowedFd<'_>, filter: &Filter) -> Result<Option<HashSet<PathBuf>>> {
    if filter.is_empty() {
        return Ok(None);
    }
    let matcher = Matcher::new(filter).map_err(|e| Fault::user(e.to_string()))?;
    let mut walk = FilterWalk {
        matcher,
        gitignore: filter.gitignore,
        rules: Vec::new(),
        chosen: HashSet::new(),
        at: PathBuf::new(),
    };
    walk.walk(dir).map_err(|e| failed(e, "filter", walk.at.display().to_string()))?;
    Ok(Some(walk.chosen))
}

struct FilterWalk {
    matcher: Matcher,
    gitignore: bool,
    /// The ignore rules in force, with the directories of their files, the nearest last.
    rules: Vec<(PathBuf, IgnoreFile)>,
    chosen: HashSet<PathBuf>,
    at: PathBuf,
}

impl FilterWalk {
    /// Collects the paths below that pass. Returns whether there are any.
    fn walk(&mut self, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
        let outer = self.rules.len();
        if self.gitignore
            && let Some(rules) = ignore_file(dir)?
        {
            self.rules.push((self.at.clone(), rules));
        }
        let mut any = false;
        for name in names(dir)? {
            let Some(stat) = stat_at(dir, &name)? else { continue };
            let is_dir = kind(&stat) == FileType::Directory;
            self.at.push(&name);
            if !self.ignored(is_dir) {
                let path = self.at.as_os_str().as_bytes();
                let mut passes = self.matcher.file(path);
                if is_dir && self.matcher.descend(path) == Descend::Enter {
                    passes |= self.walk(open_dir_at(dir, &name)?.as_fd())?;
                }
                if passes {
                    self.chosen.insert(self.at.clone());
                    any = true;
                }
            }
            self.at.pop();
        }
        self.rules.truncate(outer);
        Ok(any)
    }

    fn ignored(&self, is_dir: bool) -> bool {
        let decision = self.rules.iter().rev().find_map(|(holder, rules)| {
            let path = self.at.strip_prefix(holder).ok()?;
            rules.decides(path.as_os_str().as_bytes(), is_dir)
        });
        decision.unwrap_or(false)
    }
}

fn ignore_file(dir: BorrowedFd<'_>) -> Result<Option<IgnoreFile>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, ".gitignore", flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(e) => return Err(e),
    };
    if kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::from(file).take(MAX_BYTES).read_to_end(&mut text).map_err(|_| Errno::IO)?;
    let rules = IgnoreFile::parse(&text);
    Ok((!rules.is_empty()).then_some(rules))
}

/// Calls `found` for everything below `dir` that matches `glob`, sorted within each directory.
pub(crate) fn matching(
    dir: BorrowedFd<'_>,
    at: &Path,
    glob: &Glob,
    found: &mut dyn FnMut(&Path, FileType),
) -> Result<(), Errno> {
    for name in names(dir)? {
        let Some(stat) = stat_at(dir, &name)? else { continue };
        let path = at.join(&name);
        if glob.matches(path.as_os_str().as_bytes()) {
            found(&path, kind(&stat));
        }
        if kind(&stat) == FileType::Directory && glob.descend(path.as_os_str().as_bytes()) {
            matching(open_dir_at(dir, &name)?.as_fd(), &path, glob, found)?;
        }
    }
    Ok(())
}

/// Parses a pattern of a user.
pub(crate) fn glob(pattern: &str) -> Result<Glob> {
    Glob::new(pattern).map_err(|e| Fault::user(e.to_string()))
}

/// Whether one part of a path has wildcards.
pub(crate) fn has_wildcards(part: &str) -> bool {
    part.contains(['*', '?', '[', '\\'])
}
