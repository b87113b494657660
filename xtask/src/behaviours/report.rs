//! Reports in the form of JUnit, as pytest writes them.

use std::collections::BTreeMap;

use super::names::Numbers;

/// The result of the tests of one number, from the least to the most important for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// No report has it as run.
    Skipped,
    Passed,
    Failed,
}

/// Adds what a report says to what others said.
pub(super) fn read(text: &str, numbers: &Numbers, outcomes: &mut BTreeMap<&'static str, Outcome>) {
    for case in text.split("<testcase ").skip(1) {
        let (start, body) = case.split_once('>').unwrap_or((case, ""));
        let inside = match start.ends_with('/') {
            true => "",
            false => body.split("</testcase>").next().unwrap_or_default(),
        };
        let Some(name) = attribute(start, "name") else { continue };
        let outcome = match inside {
            inside if inside.contains("<failure") || inside.contains("<error") => Outcome::Failed,
            inside if inside.contains("<skipped") => Outcome::Skipped,
            _ => Outcome::Passed,
        };
        for number in numbers.in_name(name).0 {
            let known = outcomes.entry(number).or_insert(outcome);
            *known = outcome.max(*known);
        }
    }
}

/// The text of an attribute; a name of a test needs no unescaping, because numbers have nothing to
/// escape.
fn attribute<'a>(start: &'a str, name: &str) -> Option<&'a str> {
    let at = start.match_indices(name).find(|(at, _)| {
        let before = start[..*at].chars().next_back().is_none_or(|c| c == ' ');
        before && start[at + name.len()..].starts_with("=\"")
    })?;
    start[at.0 + name.len() + 2..].split('"').next()
}
