//! The direction of dependencies, by the table in `xtask/layers.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml::Table;

use super::{Findings, Text};

pub(super) const TABLE: &str = "xtask/layers.toml";
/// The table of crates for people.
const MAP: &str = "docs/architecture.md";
const PREFIX: &str = "rondel-";

/// The table, read.
struct Layers {
    layer_of: BTreeMap<String, usize>,
    beside: BTreeSet<(String, String)>,
    unsafe_in: Vec<String>,
    adapters: Vec<String>,
    adapters_named_by: Vec<String>,
}

pub(super) fn check(root: &Path, texts: &[Text], findings: &mut Findings) -> Result<(), String> {
    let text = texts.iter().find(|t| t.path == TABLE).ok_or_else(|| format!("there is no `{TABLE}`"))?;
    let layers = Layers::read(&text.content)?;
    let dependencies = dependencies(root)?;
    for name in layers.layer_of.keys().filter(|name| !dependencies.contains_key(*name)) {
        findings.add(TABLE, format!("names the crate `{name}`, which does not exist"));
    }
    for (name, dependencies) in dependencies {
        let Some(layer) = layers.layer_of.get(&name) else {
            findings.add(&format!("crates/{name}"), format!("stands in no layer; add it to `{TABLE}`"));
            continue;
        };
        for dependency in dependencies {
            layers.check_one(&name, *layer, &dependency, findings);
        }
    }
    let map = texts.iter().find(|t| t.path == MAP).map_or("", |t| &t.content);
    layers.check_map(map, findings);
    for text in texts.iter().filter(|t| t.has_extension("rs")) {
        let owner = text.path.strip_prefix("crates/").and_then(|p| p.split('/').next()).unwrap_or("");
        if !layers.unsafe_in.iter().any(|c| c == owner) && text.content.lines().any(is_unsafe) {
            let message = format!("contains unsafe code; move it to one of: {}", layers.unsafe_in.join(", "));
            findings.add(&text.path, message);
        }
    }
    Ok(())
}

impl Layers {
    fn read(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|e| format!("`{TABLE}` is not understood: {e}"))?;
        let mut layer_of = BTreeMap::new();
        let mut beside = BTreeSet::new();
        let layers = table.get("layers").and_then(|l| l.as_array()).cloned().unwrap_or_default();
        for (number, layer) in layers.iter().enumerate() {
            for name in strings(layer.get("crates")) {
                layer_of.insert(name, number);
            }
            for (name, others) in layer.get("beside").and_then(|b| b.as_table()).into_iter().flatten() {
                beside.extend(strings(Some(others)).into_iter().map(|other| (name.clone(), other)));
            }
        }
        let list = |section: &str, key: &str| strings(table.get(section).and_then(|s| s.get(key)));
        Ok(Self {
            layer_of,
            beside,
            unsafe_in: list("unsafe", "crates"),
            adapters: list("adapters", "crates"),
            adapters_named_by: list("adapters", "named-by"),
        })
    }

    /// That each crate stands in one row of the table of crates, which begins with its layer.
    fn check_map(&self, map: &str, findings: &mut Findings) {
        let rows: Vec<(&str, &str)> = map
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `crates/").map(|(layer, _)| (layer, line)))
            .collect();
        for (name, layer) in &self.layer_of {
            let named = format!("`crates/{name}`");
            let found: Vec<&str> =
                rows.iter().filter(|(_, line)| line.contains(&named)).map(|(layer, _)| *layer).collect();
            if found != [layer.to_string()] {
                let message = format!("lists {named} under {found:?}; its layer in `{TABLE}` is {layer}");
                findings.add(MAP, message);
            }
        }
    }

    fn check_one(&self, name: &str, layer: usize, dependency: &str, findings: &mut Findings) {
        let place = format!("crates/{name}/Cargo.toml");
        let Some(other) = self.layer_of.get(dependency) else { return };
        if *other > layer {
            let message = format!("depends on `{dependency}` of a higher layer; turn it round with a trait in `ports`");
            findings.add(&place, message);
        } else if *other == layer && !self.beside.contains(&(name.to_owned(), dependency.to_owned())) {
            let message = format!(
                "depends on `{dependency}` of its own layer; pass data through a lower layer, or say so in `{TABLE}`"
            );
            findings.add(&place, message);
        }
        let is_adapter = self.adapters.iter().any(|a| a == dependency);
        if is_adapter && !self.adapters_named_by.iter().any(|n| n == name) {
            findings.add(&place, format!("names the adapter `{dependency}`; use its port in `rondel-ports`"));
        }
    }
}

/// Crates of the workspace under `crates/` with their dependencies there, without those of tests.
fn dependencies(root: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot run `cargo metadata`: {e}"))?;
    if !output.status.success() {
        return Err(format!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("`cargo metadata` printed no JSON: {e}"))?;
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let inside = package["manifest_path"].as_str().is_some_and(|p| p.contains("/crates/"));
        let Some(name) = package["name"].as_str().and_then(|n| n.strip_prefix(PREFIX)).filter(|_| inside) else {
            continue;
        };
        let all = package["dependencies"].as_array().into_iter().flatten();
        let real = all.filter(|d| d["kind"] != "dev");
        let names = real.filter_map(|d| d["name"].as_str()?.strip_prefix(PREFIX).map(str::to_owned));
        found.insert(name.to_owned(), names.collect());
    }
    Ok(found)
}

fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["{", "fn ", "impl ", "extern "].iter().any(|next| code.contains(&["unsafe", next].join(" ")))
}

fn strings(value: Option<&toml::Value>) -> Vec<String> {
    let items = value.and_then(|v| v.as_array()).into_iter().flatten();
    items.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_has_each_crate_once_with_its_layer() {
        let layers = Layers::read("[[layers]]\ncrates = [\"a\"]\n[[layers]]\ncrates = [\"b\", \"c\"]");
        let layers = layers.unwrap_or_else(|e| panic!("{e}"));
        let found = |map: &str| {
            let mut findings = Findings::default();
            layers.check_map(map, &mut findings);
            findings.0.len()
        };
        assert_eq!(found("| 0 | `crates/a` | x | y |\n| 1 | `crates/b`, `crates/c` | x | y |"), 0);
        assert_eq!(found("| 0 | `crates/a` | x | y |\n| 0 | `crates/b`, `crates/c` | x | y |"), 2);
        assert_eq!(found("| 0 | `crates/a` | x | y |\n| 1 | `crates/b` | x | y |"), 1);
    }

    #[test]
    fn directions_are_checked() {
        let layers = Layers::read(
            "[[layers]]\ncrates = [\"a\"]\n[[layers]]\ncrates = [\"b\", \"c\"]\nbeside = { c = [\"b\"] }\n\
             [adapters]\ncrates = [\"a\"]\nnamed-by = [\"b\"]",
        );
        let layers = layers.unwrap_or_else(|e| panic!("{e}"));
        let messages = |name: &str, layer, dependency: &str| {
            let mut findings = Findings::default();
            layers.check_one(name, layer, dependency, &mut findings);
            findings.0.join("\n")
        };
        assert!(messages("a", 0, "b").contains("higher layer"));
        assert!(messages("b", 1, "c").contains("own layer"));
        assert!(messages("c", 1, "a").contains("names the adapter"));
        assert_eq!(messages("c", 1, "b"), "");
        assert_eq!(messages("b", 1, "a"), "");
    }
}
