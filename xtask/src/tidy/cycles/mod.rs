//! Import cycles between the files of a crate.
//!
//! A file that names an item of another file depends on it, however the path is written: imported,
//! inline, in a macro call, or through a re-export. Declaring a module and re-exporting what is
//! below it is no dependency. Code that only tests have is left out.
//!
//! Recursive data may stay in one cycle where `[cycles]` of `xtask/layers.toml` lists its files.

mod graph;
mod modules;
mod resolve;

use std::collections::BTreeMap;

use toml::Table;

use super::layers::TABLE;
use super::{Findings, Text};
use graph::Cycle;

/// Only these crates have data that is recursive by its nature.
const MAY_HAVE_CYCLES: [&str; 3] = ["gql", "model", "query"];

/// Adds one finding for each group of files that import one another, and one for each allowance
/// without such a group.
pub(super) fn check(texts: &[Text], findings: &mut Findings) -> Result<(), String> {
    let table = texts.iter().find(|t| t.path == TABLE).ok_or_else(|| format!("there is no `{TABLE}`"))?;
    let mut allowed = allowed(&table.content, findings)?;
    for name in crates(texts) {
        let groups = allowed.remove(name).unwrap_or_default();
        let cycles = of_crate(texts, name)?;
        for cycle in cycles.iter().filter(|cycle| !groups.contains(&cycle.files)) {
            findings.add(&format!("crates/{name}"), cycle.to_string());
        }
        for group in groups.iter().filter(|group| cycles.iter().all(|cycle| cycle.files != **group)) {
            let message = format!("allows a cycle of `{name}` that is not there: {}; remove it", group.join(", "));
            findings.add(TABLE, message);
        }
    }
    for name in allowed.keys() {
        findings.add(TABLE, format!("allows cycles in `{name}`, which does not exist"));
    }
    Ok(())
}

/// Prints the cycles of one crate, allowed or not, and fails when there are any.
pub(super) fn print(texts: &[Text], name: &str) -> Result<(), String> {
    if !crates(texts).contains(&name) {
        return Err(format!("there is no crate `{name}` in `crates/`"));
    }
    let cycles = of_crate(texts, name)?;
    for cycle in &cycles {
        println!("{cycle}\n");
    }
    match cycles.len() {
        0 => {
            println!("no import cycle in `{name}`");
            Ok(())
        }
        count => Err(format!("{count} import cycles in `{name}`")),
    }
}

fn of_crate(texts: &[Text], name: &str) -> Result<Vec<Cycle>, String> {
    let folder = format!("crates/{name}/src/");
    let files: BTreeMap<&str, &str> =
        texts.iter().filter_map(|t| Some((t.path.strip_prefix(&folder)?, t.content.as_str()))).collect();
    let mut imports = Vec::new();
    for root in files.keys().filter(|path| is_root(path)) {
        let tree = modules::read(&files, root).map_err(|e| format!("crates/{name}/src/{e}"))?;
        imports.extend(resolve::imports(&tree));
    }
    Ok(graph::cycles(imports))
}

fn is_root(path: &str) -> bool {
    path == "lib.rs" || path == "main.rs" || (path.starts_with("bin/") && path.ends_with(".rs"))
}

fn crates(texts: &[Text]) -> Vec<&str> {
    let mut names: Vec<&str> =
        texts.iter().filter_map(|t| t.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")).collect();
    names.sort_unstable();
    names
}

/// The groups of files that may import one another, by crate; each group in order.
fn allowed(text: &str, findings: &mut Findings) -> Result<BTreeMap<String, Vec<Vec<String>>>, String> {
    let table: Table = text.parse().map_err(|e| format!("`{TABLE}` is not understood: {e}"))?;
    let mut found = BTreeMap::new();
    for (name, groups) in table.get("cycles").and_then(|c| c.as_table()).into_iter().flatten() {
        if !MAY_HAVE_CYCLES.contains(&name.as_str()) {
            findings.add(TABLE, format!("allows cycles in `{name}`; only {} may have any", MAY_HAVE_CYCLES.join(", ")));
        }
        let groups = groups.as_array().into_iter().flatten().map(|group| {
            let files = group.as_array().into_iter().flatten();
            let mut files: Vec<String> = files.filter_map(|f| f.as_str().map(str::to_owned)).collect();
            files.sort();
            files
        });
        found.insert(name.clone(), groups.collect());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, content: &str) -> Text {
        Text { path: path.to_owned(), content: content.to_owned() }
    }

    /// The findings of a crate `model` with these files and this table.
    fn check_crate(table: &str, files: &[(&str, &str)]) -> String {
        let mut texts = vec![text(TABLE, table), text("crates/model/Cargo.toml", "")];
        texts.extend(files.iter().map(|(path, content)| text(&format!("crates/model/src/{path}"), content)));
        let mut findings = Findings::default();
        check(&texts, &mut findings).expect("the planted files parse");
        findings.0.join("\n")
    }

    const TWO: [(&str, &str); 3] = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        ("a.rs", "use crate::b::B;\npub struct A(Vec<B>);"),
        ("b.rs", "pub struct B(\n    Vec<crate::A>);"),
    ];

    #[test]
    fn a_cycle_through_a_re_export_is_found_with_its_lines() {
        let found = check_crate("", &TWO);
        assert_eq!(
            found,
            "crates/model: 2 files import one another: a.rs, b.rs; move what both need below them\n    \
             a.rs:1 names `crate::b::B` of b.rs\n    b.rs:2 names `crate::A` of a.rs"
        );
    }

    #[test]
    fn an_allowance_holds_for_its_files_alone_and_only_while_it_is_needed() {
        assert_eq!(check_crate("[cycles]\nmodel = [[\"b.rs\", \"a.rs\"]]", &TWO), "");
        let found = check_crate("[cycles]\nmodel = [[\"b.rs\", \"c.rs\"]]", &TWO);
        assert!(found.contains("2 files import one another") && found.contains("is not there: b.rs, c.rs"), "{found}");
        let found = check_crate("[cycles]\nmodel = [[\"a.rs\", \"b.rs\"]]", &[("lib.rs", "")]);
        assert!(found.contains("is not there"), "{found}");
    }

    #[test]
    fn other_crates_are_not_allowed_any() {
        let found = check_crate("[cycles]\nstore = [[\"a.rs\", \"b.rs\"]]", &[("lib.rs", "")]);
        assert!(found.contains("only gql, model, query may have any"), "{found}");
    }

    #[test]
    fn declaring_and_re_exporting_is_no_dependency() {
        let files = [
            ("lib.rs", "pub mod a;\npub use a::{A, inner::C};"),
            ("a/mod.rs", "pub mod inner;\npub use self::inner::C;\npub struct A;"),
            ("a/inner.rs", "use super::A;\npub struct C(A);"),
        ];
        assert_eq!(check_crate("", &files), "");
    }

    #[test]
    fn a_parent_that_uses_its_child_is_in_a_cycle_with_it() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod inner;\npub struct A;\nfn f() { inner::g() }"),
            ("a/inner.rs", "pub fn g() -> super::A { super::A }"),
        ];
        let found = check_crate("", &files);
        assert!(found.contains("2 files import one another: a/inner.rs, a/mod.rs"), "{found}");
        assert!(found.contains("a/mod.rs:3 names `inner::g` of a/inner.rs"), "{found}");
    }

    #[test]
    fn macro_calls_and_nested_groups_are_read_and_tests_are_not() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::{b::{self, X}, c};\npub fn f(x: X) { b::g(); c::h() }"),
            ("b.rs", "pub struct X;\npub fn g() { println!(\"{}\", crate::c::h()) }"),
            ("c.rs", "pub fn h() {}\n#[cfg(test)]\nmod tests { use crate::a; fn t() { a::f() } }"),
        ];
        assert_eq!(check_crate("", &files), "");
        let mut files = files;
        files[3].1 = "pub fn h() { assert!(super::a::f(1)) }";
        let found = check_crate("", &files);
        assert!(found.contains("3 files import one another"), "{found}");
        assert!(found.contains("c.rs:1 names `super::a::f` of a.rs"), "{found}");
        assert!(found.contains("a.rs:2 names `c::h` of c.rs"), "{found}");
    }
}
