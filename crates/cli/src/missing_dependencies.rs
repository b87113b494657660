//! Dependencies in a `dagger.json` that the engine did not find, or could not read.

use std::path::Path;

use serde_json::Value;

use crate::path_text::normal;

/// An entry for a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DependencyEntry {
    /// The name that the module gives it. Empty if it goes by its own.
    name: String,
    /// Its path or git reference.
    source: String,
}

impl DependencyEntry {
    /// The name, or the path or reference of an entry without a name.
    pub(crate) fn called(&self) -> &str {
        if self.name.is_empty() { &self.source } else { &self.name }
    }

    /// The path or reference.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is among the dependencies `found`, which the API lists for the module in `root`.
    fn is_among(&self, found: &Value, root: &Path) -> bool {
        let path = normal(&root.join(&self.source));
        let address = |text: &str| text.rsplit_once('@').map_or(text, |(address, _)| address).to_owned();
        found.as_array().into_iter().flatten().any(|dependency| {
            let text = |key: &str| dependency[key].as_str().unwrap_or_default();
            match self.name.as_str() {
                "" => Path::new(text("asString")) == path || address(text("asString")) == address(&self.source),
                name => text("moduleName") == name,
            }
        })
    }
}

/// The entries of the `dagger.json` in `root`. Empty if it cannot be read, or has another format.
pub(crate) fn entries(root: &Path) -> Vec<DependencyEntry> {
    let text = std::fs::read_to_string(root.join("dagger.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let entry = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        match entry {
            Value::String(source) => DependencyEntry { name: String::new(), source: source.clone() },
            _ => DependencyEntry { name: text("name"), source: text("source") },
        }
    };
    config["dependencies"].as_array().into_iter().flatten().map(entry).collect()
}

/// The entries of the `dagger.json` in `root` that are not among the dependencies `found`, each
/// with `moduleName` and `asString`.
pub(crate) fn missing(root: &Path, found: &Value) -> Vec<DependencyEntry> {
    entries(root).into_iter().filter(|entry| !entry.is_among(found, root)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_found_by_name_or_place() {
        let found = json!([
            {"moduleName": "a", "asString": "/r/lib/a"},
            {"moduleName": "g", "asString": "github.com/x/y/g@v1"},
        ]);
        let check = |name: &str, source: &str, want: bool| {
            let entry = DependencyEntry { name: name.into(), source: source.into() };
            assert_eq!(entry.is_among(&found, Path::new("/r/app")), want, "{name} {source}");
        };
        check("a", "../moved/a", true);
        check("b", "../lib/a", false);
        check("", "../lib/a", true);
        check("", "../lib/b", false);
        check("", "github.com/x/y/g", true);
        check("", "github.com/x/y/h@v1", false);
    }
}
