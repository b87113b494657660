//! Filters for directories on disk: the patterns of [`rondel_model::pattern`], and the `.gitignore`
//! files in the tree and above it, up to the root of the Git repository.

use std::path::Path;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::op::Filter;
use rondel_model::pattern::{Descend, IgnoreFile, Matcher};

use crate::host_path::HostPath;

/// The `.gitignore` files that speak of one directory, nearest first.
#[derive(Debug, Clone)]
pub struct Ignores(Option<Arc<Level>>);

#[derive(Debug)]
struct Level {
    file: IgnoreFile,
    /// How many bytes of a path lead to the directory of the file, its slash included.
    prefix: usize,
    /// Nothing or the way from the directory of the file down to the walk's root, with a slash at
    /// the end.
    above: Vec<u8>,
    next: Option<Arc<Level>>,
}

impl Ignores {
    /// No file speaks.
    pub fn none() -> Self {
        Self(None)
    }

    /// The files of `root` and of the directories above it. Outside of a git repository there are
    /// none.
    pub(crate) fn above(root: &HostPath) -> Self {
        let above: Vec<HostPath> = root.ancestors().collect();
        let Some(top) = above.iter().position(|dir| dir.join(".git").exists()) else {
            return Self(None);
        };
        let start = root.display_path();
        let mut ignores = Self(None);
        for dir in above[..=top].iter().rev() {
            let Ok(contents) = dir.join(".gitignore").read_small() else { continue };
            let way = start.strip_prefix(dir.display_path()).unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
            let above = if way.is_empty() { Vec::new() } else { [way, b"/"].concat() };
            ignores.push(IgnoreFile::parse(&contents), 0, above);
        }
        ignores
    }

    /// The same with the file of the directory `dir` of the walk.
    #[must_use]
    pub fn with(&self, dir: &[u8], contents: &[u8]) -> Self {
        let mut more = self.clone();
        let prefix = if dir.is_empty() { 0 } else { dir.len() + 1 };
        more.push(IgnoreFile::parse(contents), prefix, Vec::new());
        more
    }

    /// Whether `path` of the walk is ignored.
    pub fn ignores(&self, path: &[u8], is_dir: bool) -> bool {
        let mut next = self.0.as_deref();
        while let Some(level) = next {
            let way = path.get(level.prefix..).unwrap_or_default();
            let decided = if level.above.is_empty() {
                level.file.decides(way, is_dir)
            } else {
                level.file.decides(&[&level.above, way].concat(), is_dir)
            };
            if let Some(ignored) = decided {
                return ignored;
            }
            next = level.next.as_deref();
        }
        false
    }

    fn push(&mut self, file: IgnoreFile, prefix: usize, above: Vec<u8>) {
        if !file.is_empty() {
            self.0 = Some(Arc::new(Level { file, prefix, above, next: self.0.take() }));
        }
    }
}

/// A filter ready for walking.
#[derive(Debug)]
pub struct Rules {
    matcher: Option<Matcher>,
    gitignore: bool,
}

impl Rules {
    /// Reads `filter`.
    ///
    /// # Errors
    /// When a pattern is malformed.
    pub fn new(filter: &Filter) -> Result<Self> {
        let lists = !filter.include.is_empty() || !filter.exclude.is_empty();
        let matcher = if lists { Some(Matcher::new(filter).map_err(|e| Fault::user(e.to_string()))?) } else { None };
        Ok(Self { matcher, gitignore: filter.gitignore })
    }

    /// The `.gitignore` files that count for a walk of `root`.
    pub(crate) fn ignores(&self, root: &HostPath) -> Ignores {
        if self.gitignore { Ignores::above(root) } else { Ignores::none() }
    }

    /// Whether `.gitignore` files above `root`, up to the root of its repository, ignore it or a
    /// directory that leads there.
    pub(crate) fn ignore_root(&self, root: &HostPath) -> bool {
        let inside = root.ancestors().take_while(|dir| !dir.join(".git").exists());
        self.gitignore
            && inside.into_iter().any(|dir| {
                let name = dir.display_path().file_name().map(|name| name.as_encoded_bytes().to_vec());
                name.is_some_and(|name| Ignores::above(&dir.parent()).ignores(&name, true))
            })
    }

    /// Whether `.gitignore` files of the tree count, given that of `start` they do not all lie
    /// outside of a repository.
    pub fn reads_gitignore(&self) -> bool {
        self.gitignore
    }

    /// Whether something that is no directory passes, or a directory on its own.
    pub fn passes(&self, path: &[u8], is_dir: bool, ignores: &Ignores) -> bool {
        self.matcher.as_ref().is_none_or(|matcher| matcher.file(path)) && !ignores.ignores(path, is_dir)
    }

    /// Whether anything below a directory may pass.
    pub fn descends(&self, path: &[u8], ignores: &Ignores) -> bool {
        self.matcher.as_ref().is_none_or(|matcher| matcher.descend(path) == Descend::Enter)
            && !ignores.ignores(path, true)
    }
}
