//! Manifests: every crate inherits the workspace's lints, edition and licence.

use toml::Table;

use super::{Findings, Text};

pub(super) fn check(texts: &[Text], findings: &mut Findings) {
    let ours = |t: &&Text| {
        let folder = t.path.strip_suffix("/Cargo.toml").unwrap_or_default();
        matches!(folder, "xtask" | "benches" | "fuzz")
            || folder.strip_prefix("crates/").is_some_and(|f| !f.contains('/'))
    };
    for text in texts.iter().filter(ours) {
        let table: Table = match text.content.parse() {
            Ok(table) => table,
            Err(e) => {
                findings.add(&text.path, format!("is not understood: {e}"));
                continue;
            }
        };
        let inherits = |section: Option<&toml::Value>| {
            section.and_then(|s| s.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
        };
        if !inherits(table.get("lints")) {
            findings.add(&text.path, "does not inherit the lints; add `[lints]` with `workspace = true`");
        }
        for key in ["version", "edition", "license"] {
            if !inherits(table.get("package").and_then(|p| p.get(key))) {
                findings.add(&text.path, format!("does not inherit `{key}`; write `{key}.workspace = true`"));
            }
        }
    }
}
