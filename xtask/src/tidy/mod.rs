//! What the compiler does not check about this repository.
//!
//! Every finding names the file and the cure.

mod comments;
mod cycles;
mod documents;
mod layers;
mod manifests;
mod paths;
mod private;
mod sources;
mod words;
mod wrap;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is wrong, one line each.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, place: &str, what: impl AsRef<str>) {
        self.0.push(format!("{place}: {}", what.as_ref()));
    }
}

/// One text file of the repository.
struct Text {
    /// Relative to the root.
    path: String,
    content: String,
}

impl Text {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }
}

/// Runs every check.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let texts = read_all(root)?;
    let mut findings = Findings::default();
    sources::check(&texts, &mut findings);
    layers::check(root, &texts, &mut findings)?;
    manifests::check(&texts, &mut findings);
    documents::check(root, &texts, &mut findings);
    private::check(&texts, &mut findings);
    cycles::check(&texts, &mut findings)?;
    words::check(&texts, &mut findings);
    comments::check(&texts, &mut findings);
    paths::check(root, &texts, &mut findings);
    if findings.0.is_empty() {
        println!("tidy: {} files are fine", texts.len());
        return Ok(());
    }
    findings.0.sort();
    findings.0.dedup();
    Err(format!("{}\ntidy: {} findings", findings.0.join("\n"), findings.0.len()))
}

/// Prints the import cycles of one crate.
pub(crate) fn cycles(root: &Path, name: &str) -> Result<(), String> {
    cycles::print(&read_all(root)?, name)
}

/// Wraps the wide comments of the Rust files that are named or stand in the folders that are named.
pub(crate) fn wrap(root: &Path, named: &[&str]) -> Result<(), String> {
    let is_named = |path: &str| named.iter().any(|n| Path::new(path).starts_with(n.trim_end_matches('/')));
    for text in read_all(root)?.iter().filter(|t| t.has_extension("rs") && is_named(&t.path)) {
        let wrapped = wrap::wrap(&text.content);
        if wrapped != text.content {
            fs::write(root.join(&text.path), wrapped).map_err(|e| format!("cannot write `{}`: {e}", text.path))?;
            println!("wrapped comments of {}", text.path);
        }
    }
    Ok(())
}

/// Every text file that is under version control or would be.
fn read_all(root: &Path) -> Result<Vec<Text>, String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot run `git ls-files`: {e}"))?;
    if !listed.status.success() {
        return Err(format!("`git ls-files` failed: {}", String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = names.split('\0').filter(|n| !n.is_empty()).map(PathBuf::from);
    Ok(paths.filter_map(|path| read(root, &path)).collect())
}

/// A file that was removed or is no text is skipped.
fn read(root: &Path, path: &Path) -> Option<Text> {
    let full = root.join(path);
    let plain = fs::symlink_metadata(&full).ok()?.is_file();
    let content = plain.then(|| fs::read(&full).ok())??;
    Some(Text { path: path.to_str()?.to_owned(), content: String::from_utf8(content).ok()? })
}
