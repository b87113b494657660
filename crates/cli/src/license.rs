//! Licence files of new modules.

use std::path::Path;

use rondel_fault::{Fault, Result};

/// The file that is written.
pub(crate) const FILE: &str = "LICENSE";
/// The licence of a module whose author names none.
const DEFAULT: &str = "Apache-2.0";

/// Identifiers of SPDX with their texts.
const TEXTS: [(&str, &str); 9] = [
    ("0BSD", include_str!("../data/licenses/0BSD.txt")),
    (DEFAULT, include_str!("../../../LICENSE")),
    ("BSD-2-Clause", include_str!("../data/licenses/BSD-2-Clause.txt")),
    ("BSD-3-Clause", include_str!("../data/licenses/BSD-3-Clause.txt")),
    ("CC0-1.0", include_str!("../data/licenses/CC0-1.0.txt")),
    ("ISC", include_str!("../data/licenses/ISC.txt")),
    ("MIT", include_str!("../data/licenses/MIT.txt")),
    ("MPL-2.0", include_str!("../data/licenses/MPL-2.0.txt")),
    ("Unlicense", include_str!("../data/licenses/Unlicense.txt")),
];

/// Names of licence files, in capitals and without their ending.
const NAMES: [&str; 7] = ["COPYING", "LICENCE", "LICENSE", "MIT-LICENCE", "MIT-LICENSE", "UNLICENCE", "UNLICENSE"];
const ENDINGS: [&str; 5] = ["", ".MARKDOWN", ".MD", ".RST", ".TXT"];

/// The text of the licence file to write: `named` by the author, else the default. `None` if the
/// author wants none, or if there is a licence in `root` or above it up to `context` and the author
/// named none.
///
/// # Errors
/// When the text of the licence is not known.
pub(crate) fn text_for(named: Option<&str>, root: &Path, context: &Path) -> Result<Option<&'static str>> {
    match named {
        Some("") => Ok(None),
        None if is_licensed(root, context) => Ok(None),
        named => text(named.unwrap_or(DEFAULT)).map(Some),
    }
}

fn text(id: &str) -> Result<&'static str> {
    let found = TEXTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(id));
    found.map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = TEXTS.iter().map(|(known, _)| *known).collect();
        Fault::user(format!("the text of the licence `{id}` is not known"))
            .with_hint(format!("known: {}; `--license \"\"` writes no file", known.join(", ")))
    })
}

fn is_licensed(root: &Path, context: &Path) -> bool {
    let folders = root.ancestors().take_while(|folder| folder.starts_with(context));
    let mut names = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    names.any(|entry| {
        let name = entry.file_name().to_string_lossy().to_ascii_uppercase();
        NAMES.iter().any(|known| name.strip_prefix(known).is_some_and(|ending| ENDINGS.contains(&ending)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let nowhere = Path::new("/nonexistent");
        let found = |named| text_for(named, nowhere, nowhere).ok().flatten();
        assert!(found(None).is_some_and(|text| text.trim_start().starts_with("Apache License")));
        assert!(found(Some("mit")).is_some_and(|text| text.starts_with("MIT License")));
        assert_eq!(found(Some("")), None);
        assert!(text_for(Some("mine"), nowhere, nowhere).is_err());
    }
}
