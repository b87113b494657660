//! A result that is a set of changes: shown, and applied to files when that is wanted.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt as _, Fault, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chain::Session;
use crate::flags::quote;
use crate::output;

/// The name of the type.
pub(crate) const TYPE: &str = "Changeset";

/// How many paths are shown.
const MAX_SHOWN: usize = 200;

/// What is done with changes.
pub(crate) struct Wish {
    /// Apply them here.
    pub(crate) to: Option<PathBuf>,
    /// Apply them to the working directory without asking.
    pub(crate) apply: bool,
    /// Print them as JSON.
    pub(crate) json: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stat {
    path: String,
    old_path: Option<String>,
    kind: String,
    added_lines: u64,
    removed_lines: u64,
}

/// Changes, by the ID of the set, and what they change.
pub(crate) struct Changes {
    id: String,
    raw: Value,
    stats: Vec<Stat>,
}

impl Changes {
    /// Asks what the set of changes `id` changes.
    pub(crate) async fn of(session: &Session, id: &Value) -> Result<Self> {
        let id = id.as_str().unwrap_or_default().to_owned();
        let load = format!("loadChangesetFromID(id:{})", quote(&id));
        let fields = "diffStats{path oldPath kind addedLines removedLines}";
        let mut data = session.send(&json!({"query": format!("{{{load}{{{fields}}}}}")})).await?;
        let raw = data["loadChangesetFromID"]["diffStats"].take();
        let stats = serde_json::from_value(raw.clone())
            .map_err(|e| Fault::environment("the engine's answer about changes is not understood").caused_by(e))?;
        Ok(Self { id, raw, stats })
    }

    /// Shows the changes, and applies them when `wish` says so or who sits at the terminal agrees.
    pub(crate) async fn settle(&self, session: &Session, wish: &Wish) -> Result<()> {
        if self.stats.is_empty() {
            // Users match on this text; see CHG-006.
            output::note("no changes to apply");
            return if wish.json { output::write("[]\n") } else { Ok(()) };
        }
        let to = match (&wish.to, wish.apply) {
            (Some(to), _) => to.clone(),
            (None, true) => PathBuf::from("."),
            (None, false) if wish.json => return output::write(&output::json(&self.raw)),
            (None, false) if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
                output::note(&self.summary());
                match confirmed()? {
                    true => PathBuf::from("."),
                    false => return Ok(()),
                }
            }
            (None, false) => {
                output::write(&format!("{}\n", self.summary()))?;
                output::note("the changes were not applied; `-y` applies them here, `-o PATH` elsewhere");
                return Ok(());
            }
        };
        if wish.json {
            output::write(&output::json(&self.raw))?;
        } else {
            output::note(&self.summary());
        }
        let applied = self.apply(session, &to).await?;
        output::note(&format!("Applied to \"{applied}\"."));
        Ok(())
    }

    async fn apply(&self, session: &Session, to: &Path) -> Result<String> {
        let (id, to) = (quote(&self.id), quote(&to.to_string_lossy()));
        let query = format!("{{loadChangesetFromID(id:{id}){{export(path:{to})}}}}");
        let data = session.send(&json!({ "query": query })).await?;
        Ok(data["loadChangesetFromID"]["export"].as_str().unwrap_or_default().to_owned())
    }

    /// A line per path, and one for the whole.
    fn summary(&self) -> String {
        let mut lines: Vec<String> = self.stats.iter().take(MAX_SHOWN).map(line).collect();
        if self.stats.len() > MAX_SHOWN {
            lines.push(format!("… and {} more", self.stats.len() - MAX_SHOWN));
        }
        let sum = |count: fn(&Stat) -> u64| self.stats.iter().map(count).sum::<u64>();
        let files = match self.stats.iter().filter(|stat| !stat.path.ends_with('/')).count() {
            1 => "1 file".to_owned(),
            n => format!("{n} files"),
        };
        lines.push(format!("{files} changed, +{} -{} lines", sum(|s| s.added_lines), sum(|s| s.removed_lines)));
        lines.join("\n")
    }
}

fn line(stat: &Stat) -> String {
    let letter = match &*stat.kind {
        "ADDED" => 'A',
        "REMOVED" => 'D',
        "RENAMED" => 'R',
        _ => 'M',
    };
    let old = stat.old_path.as_deref().map_or(String::new(), |old| format!("{old} → "));
    let counts = match (stat.added_lines, stat.removed_lines) {
        (0, 0) => String::new(),
        (added, 0) => format!("  +{added}"),
        (0, removed) => format!("  -{removed}"),
        (added, removed) => format!("  +{added} -{removed}"),
    };
    format!("{letter} {old}{}{counts}", stat.path)
}

fn confirmed() -> Result<bool> {
    let mut err = std::io::stderr().lock();
    write!(err, "Apply these changes to the working directory? [y/N] ")
        .and_then(|()| err.flush())
        .attempt(|| "ask whether to apply".into())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).attempt(|| "read the answer".into())?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_summary() {
        let stats: Vec<Stat> = serde_json::from_value(json!([
            {"path": "a", "oldPath": null, "kind": "ADDED", "addedLines": 2, "removedLines": 0},
            {"path": "b/", "oldPath": null, "kind": "REMOVED", "addedLines": 0, "removedLines": 0},
            {"path": "d", "oldPath": "c", "kind": "RENAMED", "addedLines": 1, "removedLines": 3},
        ]))
        .unwrap_or_default();
        let changes = Changes { id: String::new(), raw: Value::Null, stats };
        assert_eq!(changes.summary(), "A a  +2\nD b/\nR c → d  +1 -3\n2 files changed, +3 -3 lines");
    }
}
