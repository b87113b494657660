//! Names of modules near a place where none was found.

use std::path::{Path, PathBuf};

use rondel_fault::{Code, Fault, nearest};

use crate::tree_update::CONFIGS;

/// How many modules a hint names.
const MAX_NAMED: usize = 5;
/// How many entries of a directory are looked at.
const MAX_ENTRIES: usize = 1000;

/// Adds a hint to `fault` if it says that there is no module at `reference`: a module beside it
/// with a similar name, else modules inside it or beside it.
pub(crate) fn add(fault: Fault, reference: &str) -> Fault {
    let path = Path::new(reference);
    let Ok(absolute) = std::path::absolute(path) else { return fault };
    let has_module = absolute.is_dir() && absolute.ancestors().any(is_module);
    if fault.code() != Code::NotFound || has_module {
        return fault;
    }
    if absolute.is_dir() {
        let inside = modules_in(&absolute);
        return named(fault, "modules inside it", &absolute, path, &inside);
    }
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return fault };
    let beside = modules_in(parent);
    let shown = path.parent().unwrap_or(Path::new(""));
    let name = name.to_string_lossy();
    match nearest(&name, beside.iter().map(String::as_str)) {
        Some(near) => fault.with_hint(format!("did you mean `{}`?", shown_path(parent, shown, near).display())),
        None => named(fault, "modules beside it", parent, shown, &beside),
    }
}

fn named(fault: Fault, what: &str, parent: &Path, shown: &Path, names: &[String]) -> Fault {
    let path = |name: &String| format!("`{}`", shown_path(parent, shown, name).display());
    let list: Vec<String> = names.iter().take(MAX_NAMED).map(path).collect();
    match list.is_empty() {
        true => fault,
        false => fault.with_hint(format!("{what}: {}", list.join(", "))),
    }
}

/// The path as the user would write it: `./name` in place of `name`, which could be a dependency.
fn shown_path(parent: &Path, shown: &Path, name: &str) -> PathBuf {
    match shown {
        empty if empty.as_os_str().is_empty() => Path::new(".").join(name),
        relative if relative.is_relative() => relative.join(name),
        _ => parent.join(name),
    }
}

fn is_module(path: &Path) -> bool {
    CONFIGS.iter().any(|config| path.join(config).is_file())
}

/// The directories in `parent` that are modules, sorted.
fn modules_in(parent: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().take(MAX_ENTRIES).flatten();
    let modules = entries.filter(|entry| is_module(&entry.path()));
    let mut names: Vec<String> = modules.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
