//! From a path in one file to the file that defines the item it names.

use super::graph::Edge;
use super::modules::{Import, Tree};

/// A chain of re-exports is shorter, and one that leads back to itself ends here.
const MAX_REEXPORTS: usize = 16;

/// Where a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// An item that this module defines.
    ItemOf(usize),
}

/// Every path that leads from one file of the crate into another.
pub(super) fn imports(tree: &Tree) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (at, module) in tree.modules.iter().enumerate() {
        let imported = module.imports.iter().filter_map(|import| Some((&import.path, tree.imported(at, import)?)));
        let named = module.paths.iter().filter_map(|path| match tree.resolve(at, &path.segments, 0)? {
            Target::ItemOf(other) => Some((path, other)),
            // The name of a module alone needs nothing of it; or it is a variable of that name.
            Target::Module(_) => None,
        });
        edges.extend(imported.chain(named).filter_map(|(path, other)| {
            let to = &tree.modules[other].file;
            (*to != module.file).then(|| Edge {
                from: module.file.clone(),
                to: to.clone(),
                line: path.line,
                path: path.segments.join("::"),
            })
        }));
    }
    edges
}

impl Tree {
    /// The module that the importing one needs. `None` for other crates, for a module by its mere
    /// name, and for a re-export of what is below the importing module.
    fn imported(&self, from: usize, import: &Import) -> Option<usize> {
        let target = match (self.resolve(from, &import.path.segments, 0)?, &import.name) {
            (Target::ItemOf(module), _) | (Target::Module(module), None) => module,
            (Target::Module(_), Some(_)) => return None,
        };
        (!(import.public && self.is_below(target, from))).then_some(target)
    }

    fn is_below(&self, mut module: usize, above: usize) -> bool {
        while module != 0 && module != above {
            module = self.modules[module].parent;
        }
        module == above
    }

    fn resolve(&self, from: usize, segments: &[String], depth: usize) -> Option<Target> {
        let (first, mut rest) = segments.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent),
            name => self.look_up(from, name, depth)?,
        };
        while let (Target::Module(module), Some((name, after))) = (target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(self.modules[module].parent),
                name => self.look_up(module, name, depth).unwrap_or(Target::ItemOf(module)),
            };
            rest = after;
        }
        Some(target)
    }

    fn look_up(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let found = &self.modules[module];
        if let Some(child) = found.children.get(name) {
            return Some(Target::Module(*child));
        }
        if found.items.contains(name) {
            return Some(Target::ItemOf(module));
        }
        if depth == MAX_REEXPORTS {
            return None;
        }
        let by_name = found.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        let mut by_name = by_name.filter_map(|import| self.resolve(module, &import.path.segments, depth + 1));
        by_name.next().or_else(|| {
            let globs = found.imports.iter().filter(|import| import.name.is_none());
            let mut globs = globs.filter_map(|import| self.resolve(module, &import.path.segments, depth + 1));
            globs.find_map(|glob| match glob {
                Target::Module(other) => self.look_up(other, name, depth + 1),
                Target::ItemOf(_) => None,
            })
        })
    }
}
