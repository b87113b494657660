//! The files of a module, by the rules of Python's import.

use std::collections::{HashMap, HashSet};

use crate::source::SourceFile;

/// The folders in which imports look for code, best first.
const ROOTS: [&str; 2] = ["src/", ""];

/// A module that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The file. `None` for a package without `__init__.py`.
    pub(super) file: Option<&'a SourceFile>,
    pub(super) is_package: bool,
}

/// The files of a module by their paths.
pub(super) struct SourceTree<'a> {
    files: HashMap<&'a str, &'a SourceFile>,
    folders: HashSet<&'a str>,
}

impl<'a> SourceTree<'a> {
    pub(super) fn new(files: &'a [SourceFile]) -> Self {
        let mut folders = HashSet::new();
        for file in files {
            let mut path = file.path.as_str();
            while let Some((folder, _)) = path.rsplit_once('/') {
                folders.insert(folder);
                path = folder;
            }
        }
        Self { files: files.iter().map(|file| (file.path.as_str(), file)).collect(), folders }
    }

    /// The module with the dotted name `name`.
    pub(super) fn find(&self, name: &str) -> Option<Found<'a>> {
        let path = name.replace('.', "/");
        let regular = ROOTS.iter().find_map(|root| {
            let package = self.files.get(format!("{root}{path}/__init__.py").as_str());
            let file = package.or_else(|| self.files.get(format!("{root}{path}.py").as_str()))?;
            Some(Found { file: Some(file), is_package: package.is_some() })
        });
        let has_folder = || ROOTS.iter().any(|root| self.folders.contains(format!("{root}{path}").as_str()));
        regular.or_else(|| has_folder().then_some(Found { file: None, is_package: true }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_imports_look() {
        let file = |path: &str| SourceFile { path: path.into(), text: String::new() };
        let files = ["src/a/__init__.py", "src/a/b.py", "a.py", "c.py", "d/e/f.py"].map(file);
        let tree = SourceTree::new(&files);
        let check = |name: &str, want: Option<(Option<&str>, bool)>| {
            let found = tree.find(name).map(|found| (found.file.map(|file| file.path.as_str()), found.is_package));
            assert_eq!(found, want, "{name}");
        };
        check("a", Some((Some("src/a/__init__.py"), true)));
        check("a.b", Some((Some("src/a/b.py"), false)));
        check("c", Some((Some("c.py"), false)));
        check("d.e", Some((None, true)));
        check("d.e.f", Some((Some("d/e/f.py"), false)));
        check("src.a.b", Some((Some("src/a/b.py"), false)));
        check("x", None);
    }
}
