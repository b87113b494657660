//! Shows a `Changeset` result and applies it to a directory.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt as _, Fault, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chain::Session;
use crate::flags::quote;
use crate::output;

/// The name of the type in the API.
pub(crate) const TYPE_NAME: &str = "Changeset";

/// How many paths the summary lists.
const MAX_LISTED_PATHS: usize = 200;

/// What to do with a changeset.
pub(crate) struct ApplyOptions {
    /// The directory to apply it to. `None` if no directory was given.
    pub(crate) to: Option<PathBuf>,
    /// Apply it to the working directory without asking.
    pub(crate) apply: bool,
    /// Print it as JSON.
    pub(crate) json: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiffStat {
    path: String,
    old_path: Option<String>,
    kind: String,
    added_lines: u64,
    removed_lines: u64,
}

/// A changeset: its ID, and the counts for each changed path.
pub(crate) struct Changeset {
    id: String,
    raw: Value,
    stats: Vec<DiffStat>,
}

impl Changeset {
    /// Fetches the changed paths of the changeset `id`.
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

    /// Shows the changes. Applies them if `options` asks for it or the user confirms it on the
    /// terminal.
    pub(crate) async fn show_or_apply(&self, session: &Session, options: &ApplyOptions) -> Result<()> {
        if self.stats.is_empty() {
            // Users match on this text; see CHG-006.
            output::note("no changes to apply");
            return if options.json { output::write("[]\n") } else { Ok(()) };
        }
        let to = match (&options.to, options.apply) {
            (Some(to), _) => to.clone(),
            (None, true) => PathBuf::from("."),
            (None, false) if options.json => return output::write(&output::json(&self.raw)),
            (None, false) if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
                output::note(&self.summary());
                match crate::interrupt::on_thread(confirmed).await?? {
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
        if options.json {
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

    /// One line for each path, and one with the totals.
    fn summary(&self) -> String {
        let mut lines: Vec<String> = self.stats.iter().take(MAX_LISTED_PATHS).map(line).collect();
        if self.stats.len() > MAX_LISTED_PATHS {
            lines.push(format!("… and {} more", self.stats.len() - MAX_LISTED_PATHS));
        }
        let sum = |count: fn(&DiffStat) -> u64| self.stats.iter().map(count).sum::<u64>();
        let files = match self.stats.iter().filter(|stat| !stat.path.ends_with('/')).count() {
            1 => "1 file".to_owned(),
            n => format!("{n} files"),
        };
        lines.push(format!("{files} changed, +{} -{} lines", sum(|s| s.added_lines), sum(|s| s.removed_lines)));
        lines.join("\n")
    }
}

fn line(stat: &DiffStat) -> String {
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
        let stats: Vec<DiffStat> = serde_json::from_value(json!([
            {"path": "a", "oldPath": null, "kind": "ADDED", "addedLines": 2, "removedLines": 0},
            {"path": "b/", "oldPath": null, "kind": "REMOVED", "addedLines": 0, "removedLines": 0},
            {"path": "d", "oldPath": "c", "kind": "RENAMED", "addedLines": 1, "removedLines": 3},
        ]))
        .unwrap_or_default();
        let changes = Changeset { id: String::new(), raw: Value::Null, stats };
        assert_eq!(changes.summary(), "A a  +2\nD b/\nR c → d  +1 -3\n2 files changed, +3 -3 lines");
    }
}
