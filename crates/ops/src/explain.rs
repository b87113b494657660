//! Records the inputs that decided whether work ran, for `rondel cache why`. Recorded where
//! keys are made; nothing depends on it.

use std::path::Path;
use std::sync::Arc;

use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::exec::{MountSource, Stdin};
use rondel_model::explain::{Ended, Note, Parts};
use rondel_model::op::{Filter, FsOp, TreePath};
use rondel_model::{AbsPath, ExecOp, Fs, Snapshot};

use crate::Ops;
use crate::context::OpContext;
use crate::process::{known_secrets, title};
use crate::stat::EntryKind;

/// The most changed files that are listed.
const MAX_NAMED_FILES: usize = 12;

impl Ops {
    /// Records why work ran or was cached, for the session of `cx`.
    pub fn explain(&self, cx: &OpContext, kind: &str, title: impl Into<String>, ended: Ended, parts: Parts) {
        if let Some(watch) = &self.options.watch {
            let session = cx.scopes.session().to_owned();
            watch.note(Note { at: 0, session, kind: kind.to_owned(), title: title.into(), ended, parts });
        }
    }

    /// Records an import of files from a client's machine.
    pub(crate) fn explain_import(&self, cx: &OpContext, path: &Path, filter: &Filter, content: &Snapshot) {
        let mut parts = Parts::new();
        parts.add("path", path.to_string_lossy());
        for (name, patterns) in [("include", &filter.include), ("exclude", &filter.exclude)] {
            if !patterns.is_empty() {
                parts.add(name, patterns.join(" "));
            }
        }
        parts.add_tree("files", content.digest().short().to_string(), content.layers());
        self.explain(cx, "import", format!("import {}", path.display()), Ended::Ran, parts);
    }

    /// Lists files that differ between two trees, removed ones with a leading minus. Long lists are
    /// cut.
    ///
    /// # Errors
    /// When a tree is no longer in the store.
    pub async fn changed_files(
        self: &Arc<Self>,
        cx: &OpContext,
        old: &Snapshot,
        new: &Snapshot,
    ) -> Result<Vec<String>> {
        let place = |snapshot: &Snapshot| TreePath { fs: Fs::known(snapshot.clone()), path: AbsPath::root() };
        let files = async |lower: &Snapshot, upper: &Snapshot| -> Result<Vec<String>> {
            let diff = Fs::new(FsOp::Diff { lower: place(lower), upper: place(upper) });
            let entries = self.glob(cx, &TreePath { fs: diff, path: AbsPath::root() }, "**").await?;
            let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Directory);
            Ok(files.map(|entry| entry.name).collect())
        };
        let (mut named, gone) = (files(old, new).await?, files(new, old).await?);
        let gone: Vec<String> =
            gone.into_iter().filter(|name| !named.contains(name)).map(|name| format!("-{name}")).collect();
        named.extend(gone);
        if named.len() > MAX_NAMED_FILES {
            let more = named.len() - MAX_NAMED_FILES;
            named.truncate(MAX_NAMED_FILES);
            named.push(format!("and {more} more"));
        }
        Ok(named)
    }

    /// Records the inputs of a process, whose span is that of `events`. `inputs` are the snapshots
    /// of [`ExecOp::inputs`].
    pub(crate) fn explain_exec(
        &self,
        cx: &OpContext,
        events: &Emitter,
        exec: &ExecOp,
        inputs: &[Snapshot],
        ended: Ended,
    ) {
        let parts = || {
            let secrets = known_secrets(cx, exec);
            parts(cx, exec, inputs).map(|value| secrets.redact(value))
        };
        events.explain(&|| parts().listed());
        if self.options.watch.is_some() {
            self.explain(cx, "exec", title(cx, exec), ended, parts());
        }
    }
}

/// The inputs of a process by name: those of its key.
fn parts(cx: &OpContext, exec: &ExecOp, inputs: &[Snapshot]) -> Parts {
    let mut parts = Parts::new();
    let mut inputs = inputs.iter();
    if let Some(root) = inputs.next() {
        parts.add_tree("rootfs", tree(cx, &exec.rootfs, root), root.layers());
    }
    parts.add("args", exec.args.join(" "));
    for (name, value) in &exec.env {
        parts.add_variable(name, value);
    }
    if !exec.volatile_env.is_empty() {
        let names: Vec<&str> = exec.volatile_env.iter().map(|(name, _)| &**name).collect();
        parts.add("volatile variables", names.join(" "));
    }
    for (name, secret) in &exec.secret_env {
        parts.add(format!("secret variable {name}"), format!("handle {}", secret.key.short()));
    }
    parts.add("workdir", exec.workdir.as_str());
    parts.add("user", if exec.user.is_empty() { "root" } else { &exec.user });
    parts.add("platform", exec.platform.to_string());
    match &exec.stdin {
        Stdin::Empty => {}
        Stdin::Text(text) => parts.add("stdin", rondel_digest::of("stdin/v1", &**text).short().to_string()),
        Stdin::File(path) => parts.add("stdin", path.as_str()),
    }
    for (name, path) in [("redirectStdout", &exec.redirect_stdout), ("redirectStderr", &exec.redirect_stderr)] {
        if let Some(path) = path {
            parts.add(name, path.as_str());
        }
    }
    if let Some(scope) = &exec.scope {
        parts.add("API view", scope.view.to_string());
        if let Some(module) = &scope.module {
            parts.add("module", module.short().to_string());
        }
    }
    for (name, set) in [("insecureRootCapabilities", exec.insecure), ("noInit", exec.no_init)] {
        if set {
            parts.add(name, "true");
        }
    }
    for bound in &exec.services {
        parts.add(format!("service {}", bound.alias), bound.service.digest().short());
    }
    if let Some(salt) = &exec.salt {
        parts.add("session or nonce", salt.as_str());
    }
    for mount in &exec.mounts {
        let target = &mount.target;
        match &mount.source {
            MountSource::Directory { fs, .. } | MountSource::File { fs, .. } | MountSource::Bind { fs, .. } => {
                if let Some(content) = inputs.next() {
                    parts.add_tree(format!("mount {target}"), tree(cx, fs, content), content.layers());
                }
            }
            MountSource::Cache { volume, sharing, source, owner, read_only } => {
                let mut what = format!("{}, {sharing:?}", volume.replace('\u{1f}', "/"));
                if let Some(owner) = owner {
                    what += &format!(", owner {}", owner.0);
                }
                if *read_only {
                    what += ", read-only";
                }
                if let Some((place, content)) = source.as_ref().zip(source.as_ref().and_then(|_| inputs.next())) {
                    what += &format!(", made of {} {}", tree(cx, &place.fs, content), place.path);
                }
                parts.add(format!("cache volume {target}"), what);
            }
            MountSource::Secret { secret, .. } => {
                parts.add(format!("secret {target}"), format!("handle {}", secret.key.short()));
            }
            _ => parts.add(format!("mount {target}"), "nothing that counts"),
        }
    }
    parts
}

/// Describes a tree: its origin and its short digest.
fn tree(cx: &OpContext, fs: &Fs, content: &Snapshot) -> String {
    let what = content.digest();
    let what = what.short();
    match fs.op() {
        FsOp::Known(snapshot) if snapshot.layers().is_empty() => "empty".to_owned(),
        FsOp::Known(_) => format!("files {what}"),
        FsOp::Image(image) => format!("image {} {what}", image.reference),
        FsOp::Exec { exec, .. } => format!("after `{}` {what}", title(cx, exec)),
        FsOp::Select(place) | FsOp::Isolate(place) => format!("`{}` of a tree, {what}", place.path),
        _ => format!("tree {what}"),
    }
}
