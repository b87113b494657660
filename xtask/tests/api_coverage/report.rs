//! The comparison in words: what agrees, what differs, what works.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::compare::{Outcome, Rule, compare};
use crate::ours::Ours;
use crate::table::{Kind, NEWEST, Name, Shape, Table, VERSIONS};

/// The tiers of the table, and fields that the newest version has no more.
const TIERS: [(&str, &str); 5] = [
    ("1a", "must, and seen in use"),
    ("1b", "must"),
    ("2", "should"),
    ("3", "could"),
    ("old", "gone from the newest version"),
];

/// Everything that was found out.
pub(crate) struct Report {
    /// By version.
    pub(crate) outcomes: Vec<(&'static str, Outcome)>,
    /// Tier and number of a field that does not work, by its name.
    missing: BTreeMap<&'static str, BTreeSet<Name>>,
    /// How many fields work and how many there are, by tier and version.
    counts: BTreeMap<&'static str, [(usize, usize); VERSIONS.len()]>,
}

impl Report {
    /// Compares every version.
    pub(crate) fn new(table: &Table, ours: &Ours) -> Self {
        let all: Vec<_> = VERSIONS.iter().map(|version| table.at(version)).collect();
        let mut report = Self { outcomes: Vec::new(), missing: BTreeMap::new(), counts: BTreeMap::new() };
        let tiers = table.tiers();
        for (at, version) in VERSIONS.iter().enumerate() {
            let have = ours.at(version);
            let rule = if *version == NEWEST { Rule::Exact } else { Rule::Superset };
            report.outcomes.push((version, compare(&all[at], &have, &all[at + 1..], rule)));
            report.count(at, &all[at], ours, &tiers);
        }
        report
    }

    fn count(&mut self, at: usize, shapes: &BTreeMap<Name, Shape>, ours: &Ours, tiers: &BTreeMap<Name, &'static str>) {
        let interface = |name: &Name| Name { member: String::new(), kind: Kind::Interface, ..name.clone() };
        for name in shapes.keys().filter(|name| name.kind == Kind::Field && !shapes.contains_key(&interface(name))) {
            let legacy = name.member.starts_with("load") && name.member.ends_with("FromID");
            let tier = match (tiers.get(name), legacy) {
                (Some(tier), _) => tier,
                (None, true) => continue,
                (None, false) => "old",
            };
            let works = ours.works(name, shapes);
            let (have, all) = &mut self.counts.entry(tier).or_default()[at];
            *have += usize::from(works);
            *all += 1;
            if !works {
                self.missing.entry(tier).or_default().insert(name.clone());
            }
        }
    }

    /// Whether every version agrees.
    pub(crate) fn agrees(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| outcome.differences.is_empty())
    }

    /// What differs, one line each.
    pub(crate) fn differences(&self) -> String {
        let lines = self
            .outcomes
            .iter()
            .flat_map(|(version, outcome)| outcome.differences.iter().map(move |line| format!("{version}  {line}\n")));
        lines.collect()
    }

    /// For a developer to read.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from(
            "members of the API (types, fields, arguments, defaults, marks), against what each version had\n\n",
        );
        for (version, outcome) in &self.outcomes {
            let rule = if *version == NEWEST { "exactly" } else { "at least" };
            let added = if *version == NEWEST { String::new() } else { format!(", {} added later", outcome.added) };
            let (agree, compared) = (outcome.agree, outcome.compared);
            let _ = writeln!(out, "  {version:9} {rule:8} {}{added}", share(agree, compared));
        }
        let differences = self.differences();
        match differences.is_empty() {
            true => out.push_str("\nnothing is missing, nothing differs\n"),
            false => {
                let _ = write!(out, "\nmissing or different\n\n{differences}");
            }
        }
        out.push_str("\nfields that are evaluated, by tier\n\n");
        let _ = writeln!(out, "  {:34}{}", "", VERSIONS.map(|version| format!("{version:>20}")).concat());
        let mut totals = [(0, 0); VERSIONS.len()];
        for (tier, meaning) in TIERS {
            let counts = self.counts.get(tier).copied().unwrap_or_default();
            let _ = writeln!(out, "  {:34}{}", format!("{tier:4}{meaning}"), cells(&counts));
            for (total, count) in totals.iter_mut().zip(counts) {
                *total = (total.0 + count.0, total.1 + count.1);
            }
        }
        let _ = writeln!(out, "  {:34}{}", "all", cells(&totals));
        out.push_str("\nin the schema, and not supported by this engine yet\n");
        for (tier, _) in TIERS {
            let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for name in self.missing.get(tier).into_iter().flatten() {
                types.entry(&name.within).or_default().push(&name.member);
            }
            if !types.is_empty() {
                let _ = writeln!(out, "\n  tier {tier}");
            }
            for (type_name, fields) in types {
                let _ = writeln!(out, "    {type_name}: {}", fields.join(" "));
            }
        }
        out
    }
}

fn cells(counts: &[(usize, usize)]) -> String {
    let cell = |(have, all): &(usize, usize)| match all {
        0 => format!("{:>20}", "–"),
        _ => format!("{:>20}", share(*have, *all)),
    };
    counts.iter().map(cell).collect()
}

/// Rounded down, so that only all of them are 100 %.
fn share(part: usize, all: usize) -> String {
    format!("{part} of {all}, {} %", (100 * part).checked_div(all).unwrap_or(100))
}
