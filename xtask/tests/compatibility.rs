//! The table of types in `docs/compatibility.md` says what the engine really evaluates, and that of
//! behaviours what is not done.
//!
//! `UPDATE_GOLDENS=1 cargo test -p xtask --test compatibility` rewrites it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rondel_api::Surface;
use rondel_modules::Modules;

const PAGE: &str = "docs/compatibility.md";
const API: &str = include_str!("../data/api.tsv");
const VIEWS: [&str; 4] = ["v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"];
const BEHAVIOURS: &str = include_str!("../data/behaviours.tsv");

#[test]
fn the_generated_tables_are_current() {
    let page = root().join(PAGE);
    let mut text = std::fs::read_to_string(&page).expect("the page is there");
    let there = text.clone();
    for (name, table) in [("types", table()), ("behaviours", not_done())] {
        let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->"));
        let (before, rest) = text.split_once(&begin).expect("the page has the begin mark");
        let (_, after) = rest.split_once(&end).expect("the page has the end mark");
        text = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&page, text).expect("the page can be written");
    } else {
        assert!(
            there == text,
            "`{PAGE}` is out of date; run: UPDATE_GOLDENS=1 cargo test -p xtask --test compatibility"
        );
    }
}

/// Behaviours with a reason why they are not done.
fn not_done() -> String {
    let mut out = String::from("| behaviour | | why not |\n|---|---|---|\n");
    for line in BEHAVIOURS.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        if let [number, behaviour, reason] = cells.as_slice()
            && !reason.is_empty()
        {
            let _ = writeln!(out, "| {number} | {behaviour} | {reason} |");
        }
    }
    out
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Interfaces, whose fields are evaluated by the types behind them, and types that nothing gives
/// yet and that have nothing but an ID.
const NOTHING_OF_THEIR_OWN: [&str; 7] =
    ["ClientFilesyncMirror", "Exportable", "HTTPState", "Node", "RemoteGitMirror", "Socket", "Syncer"];

/// What has a handler.
fn evaluated() -> BTreeSet<String> {
    let mut surface = Surface::new();
    rondel_api::register_core(&mut surface);
    rondel_modules::register_modules(&mut surface, &Modules::new());
    surface.names().collect()
}

/// Fields of objects by the versions that had them, without those that load an ID, which every type
/// has.
fn fields() -> BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>> {
    let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in API.lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.split('\t');
        let (versions, kind) = (cells.next().unwrap_or_default(), cells.next());
        let (type_name, field) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let loads = field.starts_with("load") && field.ends_with("FromID");
        if kind == Some("field") && !loads && !NOTHING_OF_THEIR_OWN.contains(&type_name) {
            fields.entry((type_name, field)).or_default().extend(versions.split(' '));
        }
    }
    fields
}

fn table() -> String {
    let evaluated = evaluated();
    let works = |type_name: &str, field: &str| field == "id" || evaluated.contains(&format!("{type_name}.{field}"));
    let mut counts: BTreeMap<&str, [(usize, usize); VIEWS.len()]> = BTreeMap::new();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((type_name, field), versions) in fields() {
        let works = works(type_name, field);
        let counts = counts.entry(type_name).or_default();
        for (at, _) in VIEWS.iter().enumerate().filter(|(_, view)| versions.contains(*view)) {
            counts[at].0 += usize::from(works);
            counts[at].1 += 1;
        }
        if !works {
            missing.entry(type_name).or_default().push(field);
        }
    }
    let mut out = format!("| type | {} | not yet |\n|---|{}---|\n", VIEWS.join(" | "), "---|".repeat(VIEWS.len()));
    for (type_name, counts) in &counts {
        let cells: Vec<String> = counts.iter().map(|(have, all)| cell(*have, *all)).collect();
        let nothing = counts.iter().all(|(have, all)| *have <= usize::from(*all > 0));
        let missing = match missing.get(type_name) {
            Some(_) if nothing => "the whole type".to_owned(),
            Some(fields) => fields.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(" "),
            None => String::new(),
        };
        let _ = writeln!(out, "| {type_name} | {} | {missing} |", cells.join(" | "));
    }
    out
}

fn cell(have: usize, all: usize) -> String {
    match all {
        0 => "–".into(),
        _ if have == all => format!("all {all}"),
        _ => format!("{have} of {all}"),
    }
}
