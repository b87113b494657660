//! Evaluates ops to trees. Results are cached in memory by recipe and in the index by content.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rondel_digest::Digest;
use rondel_events::Work;
use rondel_fault::{Fault, Result};
use rondel_model::op::{Edit, ExecOutput, Filter, FsOp, TreePath};
use rondel_model::{Fs, Snapshot};
use rondel_ports::BoxFuture;
use rondel_ports::dirs::TempDir;
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Label, Snapshots};

use crate::context::{OpContext, end_wait};
use crate::image::pull_title;
use crate::key::{self, Key};
use crate::process::title;
use crate::root::{Root, find_dir, open_dir};
use crate::stats::count;
use crate::work_layer::{NewLayer, labelled, with_hardlinks};
use crate::{Ops, copy, copy_pattern, dedup_layers, diff, edit};

impl Ops {
    /// Evaluates `fs` to a tree. Concurrent and repeated calls share one evaluation.
    ///
    /// # Errors
    /// The error of the op.
    pub async fn tree(self: &Arc<Self>, cx: &OpContext, fs: &Fs) -> Result<Snapshot> {
        if let FsOp::Known(snapshot) = fs.op() {
            // A lookup counts as a use, so the snapshot is not pruned.
            self.ports.snapshots.touch_if_present(snapshot);
            return Ok(snapshot.clone());
        }
        let digest = fs.digest();
        if let Some(snapshot) = self.trees.get(&digest) {
            if self.ports.snapshots.touch_if_present(&snapshot) {
                return Ok(snapshot);
            }
            self.trees.remove(&[digest]);
        }
        let label = || match fs.op() {
            FsOp::Exec { exec, .. } => title(cx, exec).into(),
            FsOp::Image(op) => pull_title(&op.reference).into(),
            op => op.name().into(),
        };
        let joined = |label: &str| cx.wait_for_other(work_of(fs.op()), label);
        let (ops, own, op) = (self.clone(), cx.clone(), fs.clone());
        let work = move || ops.evaluate(own, op);
        let (result, waited) = self.trees.evaluate_for(cx.scopes.session(), digest, joined, label, work).await;
        end_wait(waited, &result);
        result
    }

    /// Boxed, because it calls [`Ops::tree`] recursively.
    fn evaluate(self: Arc<Self>, cx: OpContext, fs: Fs) -> BoxFuture<'static, Result<Snapshot>> {
        Box::pin(async move {
            let _in_use = self.mark_in_use();
            match fs.op() {
                FsOp::Known(snapshot) => Ok(snapshot.clone()),
                FsOp::Image(op) => self.image(&cx, op).await,
                FsOp::Import(op) => self.import(&cx, op).await,
                FsOp::Exec { exec, output } => {
                    let result = self.exec(&cx, exec).await?;
                    match output {
                        ExecOutput::Rootfs => Ok(result.rootfs.clone()),
                        ExecOutput::Mount(target) => result.mounts.get(target).cloned().ok_or_else(|| {
                            Fault::bug(format!("nothing that outlives the process is mounted at `{target}`"))
                        }),
                    }
                }
                FsOp::Copy(op) => {
                    let (base, source) = self.both(&cx, &op.base, &op.source.fs).await?;
                    let content = self.content(&source, &op.source, &op.filter).await?;
                    let (key, op) = (key::copy(op, &base, content), op.clone());
                    self.files(key, move |store| {
                        let tree = dedup_layers::view(store, &source)?;
                        let label = label("Container.withDirectory", format!("copy to {}", op.target));
                        let layer = NewLayer { base: &base, label, times: true };
                        with_hardlinks(store, &layer, &source, |root, link_source| {
                            copy::apply(&op, Root(tree.root.as_fd()), root, link_source)
                        })
                    })
                    .await
                }
                FsOp::CopyPattern(op) => {
                    let (base, source) = self.both(&cx, &op.base, &op.source.fs).await?;
                    self.copy_pattern(op, base, source).await
                }
                FsOp::Edit { base, edit } => {
                    let (base, edit) = (self.tree(&cx, base).await?, edit.clone());
                    let key = Key::Edit { base: base.digest(), edit: &edit }.digest();
                    let label = label(edit_call(&edit), describe_edit(&edit));
                    self.files(key, move |store| labelled(store, &base, label, |root| edit::apply(&edit, root))).await
                }
                FsOp::Diff { lower, upper } => self.difference(&cx, lower, upper).await,
                FsOp::Git(tree) => self.git_tree(&cx, tree).await,
                FsOp::Select(place) => self.picked(&cx, place, &Filter::default()).await,
                FsOp::Isolate(place) => {
                    let source = self.tree(&cx, &place.fs).await?;
                    let content = self.content(&source, place, &Filter::default()).await?;
                    let key = Key::Isolate { content }.digest();
                    let place = place.clone();
                    self.files(key, move |store| copy_pattern::isolate(store, &source, &place)).await
                }
                FsOp::Filter { source, filter } => self.picked(&cx, source, filter).await,
                FsOp::Changes(op) => self.change_tree(&cx, op).await,
            }
        })
    }

    /// Makes a tree of everything that passes `filter` below the directory at `place`.
    async fn picked(self: &Arc<Self>, cx: &OpContext, place: &TreePath, filter: &Filter) -> Result<Snapshot> {
        let source = self.tree(cx, &place.fs).await?;
        if place.path.is_root() && filter.is_empty() {
            return Ok(source);
        }
        let key = Key::Pick { content: self.content(&source, place, filter).await? }.digest();
        let (place, filter) = (place.clone(), filter.clone());
        self.files(key, move |store| pick(store, &source, &place, &filter)).await
    }

    async fn difference(self: &Arc<Self>, cx: &OpContext, lower: &TreePath, upper: &TreePath) -> Result<Snapshot> {
        let (below, above) = self.both(cx, &lower.fs, &upper.fs).await?;
        let all = Filter::default();
        let contents = futures_util::try_join!(self.content(&below, lower, &all), self.content(&above, upper, &all))?;
        let key = Key::Diff { lower: contents.0, upper: contents.1 }.digest();
        let (lower, upper) = (lower.path.clone(), upper.path.clone());
        self.files(key, move |store| {
            let (below, tree) = (dedup_layers::view(store, &below)?, dedup_layers::view(store, &above)?);
            let lower = open_dir(Root(below.root.as_fd()), &lower)?;
            let (upper, path) = find_dir(Root(tree.root.as_fd()), &upper)?;
            let label = label("Directory.diff", "what differs between two directories");
            let layer = NewLayer { base: &Snapshot::empty(), label, times: true };
            with_hardlinks(store, &layer, &above, |root, link_source| {
                let origin = link_source.map(|link_source| (link_source, &*path));
                diff::apply(lower.as_fd(), upper.as_fd(), root.0, origin)
            })
        })
        .await
    }

    async fn both(self: &Arc<Self>, cx: &OpContext, a: &Fs, b: &Fs) -> Result<(Snapshot, Snapshot)> {
        futures_util::try_join!(self.tree(cx, a), self.tree(cx, b))
    }

    /// The stored result of `key`. Without one, runs `work` and stores its result.
    pub(crate) async fn files(
        self: &Arc<Self>,
        key: Digest,
        work: impl FnOnce(&dyn Snapshots) -> Result<Snapshot> + Send + 'static,
    ) -> Result<Snapshot> {
        if let Some(snapshot) = self.stored::<Snapshot>(&key, &self.stats.files_cached, |s| vec![s]) {
            return Ok(snapshot);
        }
        count(&self.stats.files_done);
        let snapshot = self.blocking(move |ops| work(&*ops.ports.snapshots)).await?;
        self.store(&key, &snapshot)?;
        Ok(snapshot)
    }

    /// The stored result of `key` if all snapshots it refers to are in the store.
    pub(crate) fn stored<T: serde::de::DeserializeOwned>(
        &self,
        key: &Digest,
        counter: &AtomicU64,
        refers: impl FnOnce(&T) -> Vec<&Snapshot>,
    ) -> Option<T> {
        let bytes = self.ports.index.get(Table::Ops, key)?;
        let value: T = serde_json::from_slice(&bytes).ok()?;
        if !refers(&value).into_iter().all(|snapshot| self.ports.snapshots.touch_if_present(snapshot)) {
            return None;
        }
        count(counter);
        Some(value)
    }

    pub(crate) fn store<T: serde::Serialize>(&self, key: &Digest, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|e| Fault::bug("cannot write a result as JSON").caused_by(e))?;
        self.ports.index.put(Table::Ops, key, &bytes, None)
    }

    /// A temporary directory of the store.
    pub(crate) async fn temp_dir(self: &Arc<Self>) -> Result<TempDir> {
        self.blocking(|ops| ops.ports.temp_dirs.temp_dir()).await
    }

    /// Runs `work` on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Ops>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let ops = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&ops)).await;
        done.unwrap_or_else(|e| Err(Fault::bug(format!("work on files panicked: {e}"))))
    }
}

fn work_of(op: &FsOp) -> Work {
    match op {
        FsOp::Exec { .. } => Work::Exec,
        FsOp::Image(_) | FsOp::Git(_) => Work::Pull,
        _ => Work::Files,
    }
}

fn pick(store: &dyn Snapshots, source: &Snapshot, place: &TreePath, filter: &Filter) -> Result<Snapshot> {
    let tree = dedup_layers::view(store, source)?;
    let (from, path) = find_dir(Root(tree.root.as_fd()), &place.path)?;
    let label = label("Directory.filter", format!("files below {}", place.path));
    let layer = NewLayer { base: &Snapshot::empty(), label, times: place.fs.sets_times() };
    with_hardlinks(store, &layer, source, |root, link_source| {
        copy::as_root(from.as_fd(), filter, root.0, link_source.map(|link_source| (link_source, &*path)))
    })
}

fn label(call: &str, text: impl Into<String>) -> Label {
    Label::new("regular", call, text)
}

fn edit_call(edit: &Edit) -> &'static str {
    match edit {
        Edit::WriteFile { .. } => "Directory.withNewFile",
        Edit::MakeDir { .. } => "Directory.withNewDirectory",
        Edit::Symlink { .. } => "Directory.withSymlink",
        Edit::Timestamps { .. } => "Directory.withTimestamps",
        Edit::Chown { .. } => "Directory.chown",
        _ => "",
    }
}

fn describe_edit(edit: &Edit) -> String {
    match edit {
        Edit::WriteFile { path, .. } => format!("write {path}"),
        Edit::MakeDir { path, .. } => format!("make the directory {path}"),
        Edit::Symlink { path, .. } => format!("link {path}"),
        Edit::Remove { paths, .. } => format!("remove {}", paths.join(" ")),
        Edit::Timestamps { path, .. } => format!("set the times of {path}"),
        Edit::Chown { path, .. } => format!("set the owner of {path}"),
    }
}
