//! Changes of a module on this machine: its source is loaded, changed by `ModuleSource.with…`, and
//! what differs is written to the tree and listed.

use std::fs::File;
use std::path::{Path, PathBuf};

use rondel_fault::{Fault, Result};
use serde_json::{Value, json};

use crate::chain::Session;
use crate::error_report::relative;
use crate::flags::quote;
use crate::missing_dependencies::{entries, missing};
use crate::output;
use crate::path_text::normal;
use crate::settings::{Settings, workdir};
use crate::stale_files::{SUFFIX, stale};
use crate::tree_update::{CONFIGS, FileChange, Plans, TreeUpdate};

/// Files that are listed even if they did not change.
const ALWAYS_LISTED: [&str; 4] = ["dagger.json", "dagger-module.toml", ".gitignore", ".gitattributes"];
/// What is asked of a module.
const FIELDS: &str = "configExists localContextDirectoryPath sourceRootSubpath sourceSubpath moduleName \
                      moduleOriginalName engineVersion sdk{source} configClients{directory generator} dependencies{kind moduleName asString}";

/// The right to change modules. Other commands that change modules wait until it is dropped, so
/// that none of them starts from a configuration that is about to change.
pub(crate) struct ModuleEdits {
    plans: Plans,
    /// Whether a command that was interrupted was completed.
    pub(crate) has_completed: bool,
    _lock: File,
}

impl ModuleEdits {
    /// Waits for other commands, and completes one that was interrupted while it wrote the module
    /// `reference`. So the module is read as that command left it.
    ///
    /// # Errors
    /// When the state directory cannot be used, or a file cannot be replaced.
    pub(crate) async fn begin(settings: &Settings, reference: &str) -> Result<Self> {
        let plans = Plans::open(settings.state()?.path())?;
        let waiting = plans.clone();
        let lock = crate::interrupt::on_thread(move || waiting.lock()).await??;
        let folder = normal(&workdir()?.join(reference));
        let existing = folder.ancestors().find_map(|folder| folder.canonicalize().ok()).unwrap_or_default();
        let has_completed = plans.complete_interrupted(&existing)?;
        if has_completed {
            output::note("an earlier command was interrupted: its change is now complete");
        }
        Ok(Self { plans, has_completed, _lock: lock })
    }
}

/// A module on this machine.
pub(crate) struct LocalModule {
    /// The selection that gives its source.
    selection: String,
    /// Its context directory.
    pub(crate) context: PathBuf,
    /// The folder of its configuration.
    pub(crate) root: PathBuf,
    /// What the engine said about it.
    pub(crate) fields: Value,
}

impl LocalModule {
    /// Finds the module `reference`. With `new`, exactly that folder, which need not exist.
    ///
    /// # Errors
    /// When there is none, or it is not on this machine.
    pub(crate) async fn find(session: &Session, reference: &str, new: bool) -> Result<Self> {
        let missing = if new { ", disableFindUp: true, allowNotExists: true" } else { "" };
        let source = format!("moduleSource(refString: {}{missing}, requireKind: LOCAL_SOURCE)", quote(reference));
        let hint = |fault: Fault| match fault.message().contains("must be of kind") {
            // Users match on this text.
            true => fault.with_hint(format!(
                "module source came from --mod=\"{reference}\"; if you intended local, pass `--mod .`"
            )),
            false => fault,
        };
        let mut data = session.send(&json!({"query": format!("{{{source}{{{FIELDS}}}}}")})).await.map_err(hint)?;
        let fields = data["moduleSource"].take();
        let text = |key: &str| fields[key].as_str().unwrap_or_default().to_owned();
        let context = PathBuf::from(text("localContextDirectoryPath"));
        let root = normal(&context.join(text("sourceRootSubpath")));
        Ok(Self { selection: source, context, root, fields })
    }

    /// Finds the module `reference`, which has a configuration.
    ///
    /// # Errors
    /// As for [`LocalModule::find`], and when it has none.
    pub(crate) async fn configured(session: &Session, reference: &str) -> Result<Self> {
        let module = Self::find(session, reference, false).await?;
        if module.exists() {
            return Ok(module);
        }
        // Users match on this text.
        Err(Fault::user("module must be fully initialized")
            .with_hint(format!("there is no module in `{}`: make one with `rondel init`", module.root.display())))
    }

    /// Whether it has a configuration.
    pub(crate) fn exists(&self) -> bool {
        self.fields["configExists"] == true
    }

    /// A text of [`LocalModule::fields`], or an empty one.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.fields[key].as_str().unwrap_or_default()
    }

    /// The name of its SDK. Empty if it has none.
    pub(crate) fn sdk(&self) -> &str {
        self.fields["sdk"]["source"].as_str().unwrap_or_default()
    }

    /// Applies the selections `steps` to the source, and writes what differs with the files `more`,
    /// which are relative to the module. Generated files beside new ones that are not generated any
    /// more are removed, and with `removes` all that the source no longer has. Lists the files.
    ///
    /// # Errors
    /// When a step is not possible, or the tree cannot be written. Then the tree is as before.
    pub(crate) async fn apply(
        &self,
        session: &Session,
        edits: &ModuleEdits,
        steps: &[String],
        more: &[(&str, &str)],
        removes: bool,
    ) -> Result<()> {
        let changed: String = steps.iter().map(|step| format!("{{{step}")).collect();
        let ask = |selection: &str| {
            let closing = "}".repeat(steps.len() + 2);
            json!({"query": format!("{{{}{changed}{{{selection}{closing}", self.selection)})
        };
        let missing = missing(&self.root, &self.fields["dependencies"]);
        // What cannot be generated leaves no trace in the tree.
        let found = session.send(&ask("generatedContextChangeset{id removedPaths}")).await?;
        let mut changes = innermost(&found);
        let all = format!("generatedContextDirectory{{glob(pattern: \"**/*{SUFFIX}\")}}");
        let generated = innermost(&session.send(&ask(&all)).await?);
        let generated = generated.as_array().into_iter().flatten();
        let generated: Vec<String> = generated.filter_map(|path| path.as_str().map(str::to_owned)).collect();
        let update = TreeUpdate::begin(&edits.plans, &self.context, &self.root)?;
        let new = quote(&update.new_files().to_string_lossy());
        let load = format!("loadChangesetFromID(id:{})", quote(changes["id"].as_str().unwrap_or_default()));
        session.send(&json!({"query": format!("{{{load}{{layer{{export(path:{new})}}}}}}")})).await?;
        let below = self.root.strip_prefix(&self.context).unwrap_or(Path::new(""));
        for (path, text) in more {
            update.add(&below.join(path), text)?;
        }
        let mut removed: Vec<PathBuf> = match (removes, changes["removedPaths"].take()) {
            (true, Value::Array(paths)) => paths.iter().filter_map(|path| path.as_str().map(PathBuf::from)).collect(),
            _ => Vec::new(),
        };
        removed.extend(stale(&self.context, &update.new_files(), &generated));
        let mut listed = update.commit(removed)?;
        let code = self.context.join(self.text("sourceSubpath"));
        for path in ALWAYS_LISTED.iter().flat_map(|name| [self.root.join(name), normal(&code.join(name))]) {
            if path.is_file() && !listed.iter().any(|(known, _)| *known == path) {
                listed.push((path, FileChange::Unchanged));
            }
        }
        listed.sort();
        let here = workdir()?;
        let lines = listed.iter().map(|(path, change)| {
            format!("{:9}  {}\n", change.word(), path.strip_prefix(&here).unwrap_or(path).display())
        });
        output::write(&lines.collect::<String>())?;
        let left = entries(&self.root);
        for entry in missing.iter().filter(|entry| left.contains(entry)) {
            let (name, source) = (entry.called(), entry.source());
            output::note(&format!(
                "warning: the dependency `{name}` is not a module that can be read: `{source}`\n\
                 hint: `rondel uninstall {name}` removes it"
            ));
        }
        Ok(())
    }
}

/// The value below all selections of `data`: the first with an `id`.
fn innermost(data: &Value) -> Value {
    match data.as_object().and_then(|fields| fields.values().next()) {
        Some(inner) if data.get("id").is_none() => innermost(inner),
        _ => data.clone(),
    }
}

/// `path`, given relative to the working directory, relative to the directory `from`.
pub(crate) fn relative_to(from: &Path, path: &str) -> Result<String> {
    let path = normal(&workdir()?.join(path));
    let relative = relative(&path, from).to_string_lossy().into_owned();
    Ok(if relative.is_empty() { ".".to_owned() } else { relative })
}

/// An SDK as the module in `root` refers to it. A path that was given relative to the working
/// directory becomes one relative to the module.
pub(crate) fn sdk_reference(root: &Path, sdk: &str) -> Result<String> {
    if sdk.starts_with(['.', '/']) { relative_to(root, sdk) } else { Ok(sdk.to_owned()) }
}

/// The folder of the code of a new module in `root`: `.` if there is nothing but hidden files and
/// the configuration, else `.dagger`.
pub(crate) fn default_source(root: &Path) -> &'static str {
    let names = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let is_code = |name: &String| !name.starts_with('.') && !CONFIGS.contains(&&**name);
    if names.iter().any(|name| name == ".dagger" || is_code(name)) { ".dagger" } else { "." }
}

/// The step that sets the engine version. `skip` keeps it.
pub(crate) fn version_step(compat: &str) -> Option<String> {
    (compat != "skip").then(|| format!("withEngineVersion(version: {})", quote(compat)))
}

/// `texts` as a list in GraphQL.
pub(crate) fn list<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quote(text)).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |from: &str, path: &str, want: &str| {
            assert_eq!(relative_to(Path::new(from), path).ok().as_deref(), Some(want));
        };
        check("/a/b", "/a/b", ".");
        check("/a/b", "/a/c/d", "../c/d");
        check("/a/b", "/a/b/src/", "src");
    }
}
