//! What users observe, by number, compared with the black-box tests that carry those numbers in
//! their names.
//!
//! A test carries `CTR-002` as `ctr_002` in its own name or in that of one of its parameters. What
//! came of the tests is read from the reports that `scripts/test` leaves, or from those that are
//! named.

mod names;
mod report;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use names::Numbers;
use report::Outcome;
use table::Row;

/// The reports of the last run of everything.
const REPORTS: &str = "target/blackbox";
const TESTS: &str = "tests/blackbox";

/// Prints how each number stands, by family, and fails when one is missing or its test failed.
pub(crate) fn run(root: &Path, reports: &[&str]) -> Result<(), String> {
    let rows = table::rows()?;
    let numbers = Numbers::new(&rows);
    let tested = names::tested(&root.join(TESTS), &numbers)?;
    if let Some((number, test)) = tested.unknown.first() {
        return Err(format!("the test `{test}` carries `{number}`, which `xtask/data/behaviours.tsv` does not have"));
    }
    let files = match reports {
        [] => newest(&root.join(REPORTS)),
        named => named.iter().map(PathBuf::from).collect(),
    };
    let mut outcomes = BTreeMap::new();
    for file in &files {
        let text =
            std::fs::read_to_string(file).map_err(|e| format!("cannot read the report `{}`: {e}", file.display()))?;
        report::read(&text, &numbers, &mut outcomes);
    }
    let states: Vec<(&Row, State)> = rows
        .iter()
        .map(|row| (row, State::of(row, tested.numbers.contains_key(row.number), outcomes.get(row.number).copied())))
        .collect();
    print(&states, files.len());
    let broken = states.iter().filter(|(_, state)| matches!(state, State::Missing | State::Failed)).count();
    match broken {
        0 => Ok(()),
        broken => Err(format!("{broken} behaviours are missing or failed")),
    }
}

/// The reports that the last run left, none when there was no run.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "xml")).collect();
    files.sort();
    files
}

/// How one behaviour stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Passed,
    Failed,
    NotRun,
    NotDone,
    Missing,
}

impl State {
    const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::NotRun, Self::NotDone, Self::Missing];

    fn of(row: &Row, tested: bool, outcome: Option<Outcome>) -> Self {
        match (tested, outcome) {
            (true, Some(Outcome::Passed)) => Self::Passed,
            (true, Some(Outcome::Failed)) => Self::Failed,
            (true, Some(Outcome::Skipped) | None) => Self::NotRun,
            (false, _) if row.reason.is_empty() => Self::Missing,
            (false, _) => Self::NotDone,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotRun => "has a test, not run",
            Self::NotDone => "not done",
            Self::Missing => "missing",
        }
    }
}

fn print(states: &[(&Row, State)], reports: usize) {
    let mut families: Vec<&str> = Vec::new();
    for (row, _) in states {
        if !families.contains(&row.family()) {
            families.push(row.family());
        }
    }
    for family in families {
        let of_family: Vec<_> = states.iter().filter(|(row, _)| row.family() == family).collect();
        println!("{family}");
        for state in State::ALL {
            let numbers: Vec<&str> =
                of_family.iter().filter(|(_, s)| *s == state).map(|(row, _)| row.short_number()).collect();
            if !numbers.is_empty() {
                println!("  {:<20} {:>3}  {}", state.words(), numbers.len(), numbers.join(" "));
            }
        }
        for (row, _) in of_family.iter().filter(|(row, _)| !row.reason.is_empty()) {
            println!("    {} {}: {}", row.number, row.behaviour, row.reason);
        }
    }
    let counts = State::ALL.map(|state| {
        let count = states.iter().filter(|(_, s)| *s == state).count();
        format!("{count} {}", state.words())
    });
    println!("\n{} behaviours, {reports} reports: {}", states.len(), counts.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed_and_no_test_has_an_unknown_number() {
        let rows = table::rows().expect("the table is well-formed");
        let numbers = Numbers::new(&rows);
        let tested = names::tested(&crate::root().join(TESTS), &numbers).expect("the tests are there");
        assert_eq!(tested.unknown, [], "numbers that `xtask/data/behaviours.tsv` does not have");
    }

    #[test]
    fn a_failure_in_one_report_is_a_failure() {
        let rows = table::rows().expect("the table is well-formed");
        let numbers = Numbers::new(&rows);
        let mut outcomes = BTreeMap::new();
        report::read(
            r#"<testcase name="test_ctr_002_x[ctr_003_a]" time="1" /><testcase name="test_env_001"/>"#,
            &numbers,
            &mut outcomes,
        );
        report::read(
            r#"<testcase name="test_ctr_002_y"><failure message="name=&quot;ctr_004&quot;">x</failure></testcase>
               <testcase name="test_ctr_006"><skipped type="a"/></testcase><testcase name="test_env_001"></testcase>"#,
            &numbers,
            &mut outcomes,
        );
        let found: Vec<_> = outcomes.into_iter().collect();
        let wanted = [
            ("CTR-002", Outcome::Failed),
            ("CTR-003", Outcome::Passed),
            ("CTR-006", Outcome::Skipped),
            ("ENV-001", Outcome::Passed),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn names_carry_numbers() {
        let rows = table::rows().expect("the table is well-formed");
        let numbers = Numbers::new(&rows);
        let found = |name| {
            let (known, unknown) = numbers.in_name(name);
            (known, unknown)
        };
        assert_eq!(found("test_ctr_003_ctr_004_roots"), (vec!["CTR-003", "CTR-004"], vec![]));
        assert_eq!(found("test_cli_ses_001_closes"), (vec!["CLI-SES-001"], vec![]));
        assert_eq!(found("test_ctr_999"), (vec![], vec!["CTR-999".to_owned()]));
        assert_eq!(found("test_a_chain_of_5000_up_to_002"), (vec![], vec![]));
    }
}
