//! Paths inside a file tree: absolute, clean, never above the root.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An absolute path inside a tree: starts with `/`, has no `.`, `..`, empty parts or trailing
/// slash. `..` at the root stays at the root, as it does for a process whose root it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbsPath(Arc<str>);

impl AbsPath {
    /// `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// `path` taken relative to `/`.
    pub fn new(path: &str) -> Self {
        Self::root().join(path)
    }

    /// `path` taken relative to this one; an absolute `path` replaces it.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let base = if path.starts_with('/') { "" } else { &*self.0 };
        let mut parts: Vec<&str> = Vec::new();
        for part in base.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        Self(format!("/{}", parts.join("/")).into())
    }

    /// `path` inside this directory: like [`AbsPath::join`], but `..` and a leading `/` never leave
    /// it.
    #[must_use]
    pub fn join_inside(&self, path: &str) -> Self {
        let inner = AbsPath::new(path);
        self.join(inner.relative())
    }

    /// The text, with the leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without the leading slash; empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The last part. `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The directory that holds it. `None` for the root.
    pub fn parent(&self) -> Option<AbsPath> {
        let name = self.file_name()?;
        let end = self.0.len() - name.len();
        Some(AbsPath::new(&self.0[..end]))
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The rest of it below `base`, without a leading slash. `None` if it is not inside.
    pub fn strip_prefix(&self, base: &AbsPath) -> Option<&str> {
        if base.is_root() {
            return Some(self.relative());
        }
        let rest = self.0.strip_prefix(&*base.0)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_clamps() {
        let check = |base: &str, path: &str, want: &str| assert_eq!(AbsPath::new(base).join(path).as_str(), want);
        check("/", "", "/");
        check("/a", "b/./c//", "/a/b/c");
        check("/a", "/b", "/b");
        check("/a", "../../../x", "/x");
        assert_eq!(AbsPath::new("/a").join_inside("../../x").as_str(), "/a/x");
        assert_eq!(AbsPath::new("/a").join_inside("/x").as_str(), "/a/x");
    }

    #[test]
    fn parts() {
        let p = AbsPath::new("/a/b");
        assert_eq!(p.file_name(), Some("b"));
        assert_eq!(p.parent(), Some(AbsPath::new("/a")));
        assert_eq!(AbsPath::new("/a").parent(), Some(AbsPath::root()));
        assert_eq!(AbsPath::root().parent(), None);
        assert_eq!(p.strip_prefix(&AbsPath::new("/a")), Some("b"));
        assert_eq!(AbsPath::new("/ab").strip_prefix(&AbsPath::new("/a")), None);
        assert_eq!(p.strip_prefix(&AbsPath::root()), Some("a/b"));
    }
}
