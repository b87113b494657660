//! Workspaces: the files of a module as its entrypoint reads them. See docs/protocol.md#workspaces.
//!
//! *Invariants.* A workspace is content: the files of a module, laid out as in its context
//! directory, and the module's folder in them. The location of a checkout on a machine is not part
//! of it, so that results are shared between checkouts with the same files. No path leaves a
//! workspace.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Fs, Snapshot};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::inside_context;

/// The internal field that gives a workspace from its parts.
pub const FIELD: &str = "_workspace";

/// The files of a module, and the module's folder in them.
#[derive(Clone, Debug)]
pub struct Workspace {
    snapshot: Snapshot,
    base: AbsPath,
    /// The folder in which relative paths start, relative to the root. Empty for the root.
    folder: String,
}

impl Workspace {
    /// The workspace of `source`.
    pub fn of(source: &ModuleSource) -> Self {
        Self { snapshot: source.snapshot.clone(), base: source.base.clone(), folder: source.root.clone() }
    }

    /// The call that gives it.
    // IDENTITY: content alone.
    pub fn call(&self) -> Arc<Call> {
        let text = |text: &str| Literal::String(text.into());
        let layers = self.snapshot.layers().iter().map(|layer| text(&layer.to_string())).collect();
        let spec = CallSpec::new("Workspace", FIELD)
            .arg("layers", Literal::List(layers))
            .arg("base", text(self.base.as_str()))
            .arg("folder", text(&self.folder));
        Call::new(None, spec)
    }

    /// Decodes the workspace of a call of [`FIELD`].
    ///
    /// # Errors
    /// When it is another call, or damaged.
    pub fn of_call(call: &Call) -> Result<Self> {
        let damaged = |what: &str| Fault::user(format!("cannot load a workspace: its ID has no valid `{what}`"));
        let text = |name: &str| match call.arg(name) {
            Some(Literal::String(text)) => Ok(text.clone()),
            _ => Err(damaged(name)),
        };
        let layer = |item: &Literal| match item {
            Literal::String(text) => text.parse().map(rondel_model::LayerId).map_err(|_| damaged("layers")),
            _ => Err(damaged("layers")),
        };
        let Some(Literal::List(layers)) = call.arg("layers") else { return Err(damaged("layers")) };
        let layers: Vec<_> = layers.iter().map(layer).collect::<Result<_>>()?;
        let folder = inside_context("", &text("folder")?).ok_or_else(|| damaged("folder"))?;
        Ok(Self { snapshot: layers.into(), base: AbsPath::new(&text("base")?), folder })
    }

    /// The folder in which relative paths start, relative to the root. `.` for the root.
    pub fn path(&self) -> &str {
        if self.folder.is_empty() { "." } else { &self.folder }
    }

    /// `path` relative to the root. Absolute paths start at the root, others in the module's
    /// folder.
    ///
    /// # Errors
    /// When it leaves the workspace.
    pub fn resolve(&self, path: &str) -> Result<String> {
        let from = if path.starts_with('/') { "" } else { &self.folder };
        // Users match on the last words; see docs/protocol.md#workspaces.
        inside_context(from, path)
            .ok_or_else(|| Fault::user(format!("workspace path \"{path}\" resolves outside root")))
    }

    /// The place of the path `inside`, which is relative to the root.
    pub fn place(&self, inside: &str) -> TreePath {
        TreePath { fs: Fs::known(self.snapshot.clone()), path: self.base.join_inside(inside) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(folder: &str) -> Workspace {
        Workspace { snapshot: Snapshot::empty(), base: AbsPath::root(), folder: folder.into() }
    }

    #[test]
    fn paths_start_in_the_folder_or_at_the_root() {
        let check = |folder: &str, path: &str, want: Option<&str>| {
            assert_eq!(workspace(folder).resolve(path).ok().as_deref(), want, "{folder} {path}");
        };
        check("mods/a", "x", Some("mods/a/x"));
        check("mods/a", ".", Some("mods/a"));
        check("mods/a", "../b", Some("mods/b"));
        check("mods/a", "/x", Some("x"));
        check("", "..", None);
        check("mods/a", "../../../x", None);
        check("mods/a", "/../x", None);
        let refused = workspace("a").resolve("../..").map_err(|e| e.to_string());
        assert_eq!(refused, Err("workspace path \"../..\" resolves outside root".to_owned()));
        assert_eq!((workspace("").path(), workspace("a/b").path()), (".", "a/b"));
    }

    #[test]
    fn a_workspace_survives_as_a_call() {
        let call = workspace("mods/a").call();
        let key = rondel_call::SealKey::derived(&[7; 32]);
        let again = rondel_call::decode(&rondel_call::encode(&call, &key), &key).expect("decodes");
        let read = Workspace::of_call(&again).expect("reads");
        assert_eq!((read.path(), read.call().digest()), ("mods/a", call.digest()));
        assert!(Workspace::of_call(&Call::new(None, CallSpec::new("Module", "module"))).is_err());
    }
}
