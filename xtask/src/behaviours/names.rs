//! Numbers of behaviours in names of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::Row;

/// The numbers and families that there are, in the form that names have.
pub(super) struct Numbers {
    /// `cli_ses_` to `CLI-SES`, longest first.
    families: Vec<(String, &'static str)>,
    numbers: BTreeSet<&'static str>,
}

impl Numbers {
    pub(super) fn new(rows: &[Row]) -> Self {
        let families: BTreeSet<&'static str> = rows.iter().map(Row::family).collect();
        let mut families: Vec<_> = families
            .into_iter()
            .map(|family| (format!("{}_", family.to_lowercase().replace('-', "_")), family))
            .collect();
        families.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { families, numbers: rows.iter().map(|row| row.number).collect() }
    }

    /// The numbers in a name, and those of a known family that the table does not have.
    pub(super) fn in_name(&self, name: &str) -> (Vec<&'static str>, Vec<String>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        let mut rest = name;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let starts = before.is_none_or(|c: char| !c.is_ascii_alphanumeric());
            let family = self.families.iter().find(|(prefix, _)| starts && rest.starts_with(prefix.as_str()));
            let digits = family.and_then(|(prefix, _)| three_digits(&rest[prefix.len()..]));
            if let (Some((prefix, family)), Some(digits)) = (family, digits) {
                let number = format!("{family}-{digits}");
                match self.numbers.get(number.as_str()) {
                    Some(number) => known.push(*number),
                    None => unknown.push(number),
                }
                rest = &rest[prefix.len() + digits.len()..];
                before = Some('0');
            } else {
                rest = &rest[first.len_utf8()..];
                before = Some(first);
            }
        }
        (known, unknown)
    }
}

/// Exactly three digits at the start.
fn three_digits(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits == 3).then(|| &text[..3])
}

/// What the tests carry.
pub(super) struct Tested {
    /// Numbers, with the names that carry them.
    pub(super) numbers: BTreeMap<&'static str, Vec<String>>,
    /// Numbers that the table does not have, with the name.
    pub(super) unknown: Vec<(String, String)>,
}

/// Reads the names of tests, and of parameters, which are strings that start with a number.
pub(super) fn tested(folder: &Path, numbers: &Numbers) -> Result<Tested, String> {
    let problem = |e: std::io::Error| format!("cannot read the tests in `{}`: {e}", folder.display());
    let mut tested = Tested { numbers: BTreeMap::new(), unknown: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.extension().is_none_or(|extension| extension != "py") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(problem)?;
        for name in text.lines().flat_map(names_in_line) {
            let (known, unknown) = numbers.in_name(name);
            for number in known {
                tested.numbers.entry(number).or_default().push(name.to_owned());
            }
            tested.unknown.extend(unknown.into_iter().map(|number| (number, name.to_owned())));
        }
    }
    Ok(tested)
}

/// The name of a test that a line defines, or the strings in it.
fn names_in_line(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    if let Some(definition) = line.strip_prefix("def test_") {
        return vec![word(definition)];
    }
    let quoted = line.match_indices(['"', '\'']).map(|(at, _)| word(&line[at + 1..]));
    quoted.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}
