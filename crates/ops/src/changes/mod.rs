//! Changesets: lists and counts the differences between directories, writes them as a patch, and
//! applies them to other directories or to the host.

mod apply_diff;
pub(crate) mod apply_patch;
mod binary;
mod compare;
mod content;
mod format_patch;
mod lines;
mod merge;
mod rename;
mod write_file;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_events::Work;
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::changes::{ChangePair, ChangesOp, OnConflict, PATCH_NAME};
use rondel_model::op::{Filter, TreePath};
use rondel_model::{AbsPath, Fs, FsOp, Snapshot};
use rondel_ports::host::shown;
use rondel_ports::outcome::outcome;
use rondel_ports::snapshots::{Snapshots, Tree};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::context::OpContext;
use crate::copy::{Target, text};
use crate::key::Key;
use crate::root::{Root, failed, find_dir, open_dir};
use crate::stat::open_regular;
use crate::work_layer::change;
use crate::{Ops, dedup_layers};
use compare::{DiffEntry, DiffKind, compare};

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// The path is new.
    Added,
    /// The content of the file changed.
    Modified,
    /// The path was removed.
    Removed,
    /// The file had another path before.
    Renamed,
}

/// A path that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Relative to the directory; the path of a directory ends with a slash. Bytes that are not
    /// UTF-8 are replaced.
    pub path: String,
    /// The previous path of a renamed file.
    pub old_path: Option<String>,
    /// How it changed.
    pub kind: ChangeKind,
    /// Added lines. Zero for binary files.
    pub added_lines: usize,
    /// Removed lines. Zero for binary files.
    pub removed_lines: usize,
}

impl Ops {
    /// Lists the paths that differ, sorted, including everything in a new or removed directory.
    /// Renames are not detected and lines are not counted.
    ///
    /// # Errors
    /// When a directory cannot be evaluated or read.
    pub async fn changes(self: &Arc<Self>, cx: &OpContext, pair: &ChangePair) -> Result<Vec<Change>> {
        self.cached_changes(cx, pair, "paths", |_, _, differences| Ok(visible(differences).map(change_of).collect()))
            .await
    }

    /// Lists the paths that differ, with renames detected and lines counted.
    ///
    /// # Errors
    /// When a directory cannot be evaluated or read.
    pub async fn diff_stats(self: &Arc<Self>, cx: &OpContext, pair: &ChangePair) -> Result<Vec<Change>> {
        self.cached_changes(cx, pair, "stats", counted).await
    }

    /// Applies the changes to a directory of the host: removes removed paths, writes added and
    /// changed ones. Paths that the older directory did not have stay.
    ///
    /// # Errors
    /// When a directory cannot be evaluated, or the host does not take it.
    pub async fn export_changes(self: &Arc<Self>, cx: &OpContext, pair: &ChangePair, to: &Path) -> Result<()> {
        let base = TreePath { fs: Fs::scratch(), path: AbsPath::root() };
        let layer = Fs::new(FsOp::Changes(Box::new(ChangesOp::Apply { base, changes: pair.clone() })));
        let snapshots = [self.tree(cx, &layer).await?, self.tree(cx, &pair.before.fs).await?];
        let after = self.tree(cx, &pair.after.fs).await?;
        let span = cx.events.span(Work::Sync, format!("export changes to {}", shown(to).display()));
        let (pair, to, events) = (pair.clone(), to.to_owned(), span.emitter().clone());
        let done = self
            .blocking(move |ops| {
                let store = &*ops.ports.snapshots;
                let [layer, before] = snapshots;
                let layer = dedup_layers::view(store, &layer)?;
                let before = OpenDir::open(store, &before, &pair.before.path)?;
                let after = OpenDir::open(store, &after, &pair.after.path)?;
                let differences = compare(before.fd(), after.fd())?;
                let removed = differences.iter().rev().filter(|d| d.what == DiffKind::Removed);
                let removed: Vec<PathBuf> = removed.map(|d| d.path.clone()).collect();
                ops.ports.host.remove(&to, &removed)?;
                ops.ports.host.export(layer.root.as_fd(), &to, false, &events)
            })
            .await;
        span.end(outcome(&done));
        done
    }

    async fn cached_changes(
        self: &Arc<Self>,
        cx: &OpContext,
        pair: &ChangePair,
        what: &'static str,
        tell: impl FnOnce(&OpenDir, &OpenDir, &[DiffEntry]) -> Result<Vec<Change>> + Send + 'static,
    ) -> Result<Vec<Change>> {
        let (before, after) = futures_util::try_join!(self.tree(cx, &pair.before.fs), self.tree(cx, &pair.after.fs))?;
        if before == after && pair.before.path == pair.after.path {
            return Ok(Vec::new());
        }
        let inputs = self.contents(&[&before, &after], &[&pair.before, &pair.after]).await?;
        let key = Key::Changes { what, base: None, inputs: &inputs }.digest();
        if let Some(found) = self.stored::<Vec<Change>>(&key, &self.stats.files_cached, |_| Vec::new()) {
            return Ok(found);
        }
        crate::stats::count(&self.stats.files_done);
        let pair = pair.clone();
        let cached_changes = self
            .blocking(move |ops| {
                let store = &*ops.ports.snapshots;
                let before = OpenDir::open(store, &before, &pair.before.path)?;
                let after = OpenDir::open(store, &after, &pair.after.path)?;
                let differences = compare(before.fd(), after.fd())?;
                let mut changes = tell(&before, &after, &differences)?;
                changes.sort_by(|a, b| a.path.cmp(&b.path));
                Ok(changes)
            })
            .await?;
        self.store(&key, &cached_changes)?;
        Ok(cached_changes)
    }

    /// The content digests of `places` of `trees`, in their order.
    async fn contents(self: &Arc<Self>, trees: &[&Snapshot], places: &[&TreePath]) -> Result<Vec<Digest>> {
        let all = Filter::default();
        let mut contents = Vec::with_capacity(trees.len());
        for (tree, place) in trees.iter().zip(places) {
            contents.push(self.content(tree, place, &all).await?);
        }
        Ok(contents)
    }

    /// Evaluates `op`.
    pub(crate) async fn change_tree(self: &Arc<Self>, cx: &OpContext, op: &ChangesOp) -> Result<Snapshot> {
        let places = op.places();
        let trees = futures_util::future::try_join_all(places.iter().map(|place| self.tree(cx, &place.fs))).await?;
        // The result is the whole tree of the base, so its other content counts, too.
        let changed = usize::from(!matches!(op, ChangesOp::Write { .. }));
        let base = trees.first().zip(places.first()).filter(|_| changed == 1);
        let base = base.map(|(tree, place)| (tree.digest(), &place.path));
        let others: Vec<&Snapshot> = trees.iter().skip(changed).collect();
        let inputs = self.contents(&others, &places[changed..]).await?;
        let key = Key::Changes { what: name(op), base, inputs: &inputs }.digest();
        let op = op.clone();
        self.files(key, move |store| evaluate(store, &op, &trees)).await
    }
}

// IDENTITY: what an op does beside its inputs.
fn name(op: &ChangesOp) -> &'static str {
    match op {
        ChangesOp::Apply { .. } => "apply",
        ChangesOp::Write { .. } => "write",
        ChangesOp::Patch { .. } => "patch",
        ChangesOp::Merge { on_conflict, .. } => match on_conflict {
            OnConflict::FailEarly => "merge/fail-early",
            OnConflict::Fail => "merge/fail",
            OnConflict::Mark => "merge/mark",
            OnConflict::Ours => "merge/ours",
            OnConflict::Theirs => "merge/theirs",
        },
    }
}

fn evaluate(store: &dyn Snapshots, op: &ChangesOp, trees: &[Snapshot]) -> Result<Snapshot> {
    let places = op.places();
    let open = |index: usize| match (trees.get(index), places.get(index)) {
        (Some(tree), Some(place)) => OpenDir::open(store, tree, &place.path),
        _ => Err(Fault::bug("work on changes has too few inputs")),
    };
    let base = trees.first().cloned().unwrap_or_else(Snapshot::empty);
    match op {
        ChangesOp::Apply { base: place, .. } => {
            let (before, after) = (open(1)?, open(2)?);
            let differences = compare(before.fd(), after.fd())?;
            change(store, &base, |root| apply_diff::apply(&target(root, &place.path)?, after.fd(), differences.iter()))
        }
        ChangesOp::Merge { base: place, on_conflict, .. } => {
            let (a, b, c, d) = (open(1)?, open(2)?, open(3)?, open(4)?);
            let ours = merge::DiffPair { before: a.fd(), after: b.fd() };
            let theirs = merge::DiffPair { before: c.fd(), after: d.fd() };
            change(store, &base, |root| merge::merge(&target(root, &place.path)?, ours, theirs, *on_conflict))
        }
        ChangesOp::Write { .. } => {
            let (before, after) = (open(0)?, open(1)?);
            let differences = compare(before.fd(), after.fd())?;
            change(store, &Snapshot::empty(), |root| {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::openat(root.0, PATCH_NAME, flags, Mode::from_raw_mode(0o644));
                let file = file.map_err(|e| failed(e, "make", PATCH_NAME))?;
                let mut out = BufWriter::new(File::from(file));
                format_patch::write(before.fd(), after.fd(), &differences, &mut out)?;
                out.flush().attempt(|| "write a patch".into())
            })
        }
        ChangesOp::Patch { base: place, patch } => {
            let tree = trees.get(1).ok_or_else(|| Fault::bug("there is no patch"))?;
            let tree = dedup_layers::view(store, tree)?;
            let patch = open_regular(Root(tree.root.as_fd()), &patch.path)?;
            let lines = BufReader::new(File::from(patch));
            change(store, &base, |root| apply_patch::apply_to(&open_dir(root, &place.path)?, lines))
        }
    }
}

/// Opens the directory at `path` as the target of a copy.
fn target<'a>(root: Root<'a>, path: &AbsPath) -> Result<Target<'a>> {
    let (dir, path) = find_dir(root, path)?;
    Ok(Target::new(root, path, dir))
}

/// A directory of an opened tree, which keeps the tree's mount alive.
struct OpenDir {
    dir: OwnedFd,
    /// Keeps the mount.
    _tree: Tree,
}

impl OpenDir {
    fn open(store: &dyn Snapshots, snapshot: &Snapshot, path: &AbsPath) -> Result<Self> {
        let tree = dedup_layers::view(store, snapshot)?;
        let dir = open_dir(Root(tree.root.as_fd()), path)?;
        Ok(Self { dir, _tree: tree })
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The differences that are listed as changes.
fn visible(differences: &[DiffEntry]) -> impl Iterator<Item = &DiffEntry> {
    differences.iter().filter(|d| d.what != DiffKind::Mode)
}

fn change_of(difference: &DiffEntry) -> Change {
    let slash = if difference.dir { "/" } else { "" };
    let kind = match difference.what {
        DiffKind::Added => ChangeKind::Added,
        DiffKind::Removed => ChangeKind::Removed,
        DiffKind::Modified | DiffKind::Mode => ChangeKind::Modified,
    };
    let path = format!("{}{slash}", text(&difference.path));
    Change { path, old_path: None, kind, added_lines: 0, removed_lines: 0 }
}

fn counted(before: &OpenDir, after: &OpenDir, differences: &[DiffEntry]) -> Result<Vec<Change>> {
    let renamed = rename::find(before.fd(), after.fd(), differences)?;
    let mut changes = Vec::new();
    for (index, difference) in differences.iter().enumerate().filter(|(_, d)| d.what != DiffKind::Mode) {
        if renamed.iter().any(|(old, _)| *old == index) {
            continue;
        }
        let mut change = change_of(difference);
        let mut was = &difference.path;
        if let Some((old, _)) = renamed.iter().find(|(_, new)| *new == index) {
            was = &differences[*old].path;
            change.kind = ChangeKind::Renamed;
            change.old_path = Some(text(was));
        }
        if !difference.dir {
            let old = if change.kind == ChangeKind::Added { None } else { Some((before, was)) };
            let new = if change.kind == ChangeKind::Removed { None } else { Some((after, &difference.path)) };
            (change.added_lines, change.removed_lines) = counts(old, new)?;
        }
        changes.push(change);
    }
    Ok(changes)
}

fn counts(old: Option<(&OpenDir, &PathBuf)>, new: Option<(&OpenDir, &PathBuf)>) -> Result<(usize, usize)> {
    let read = |side: Option<(&OpenDir, &PathBuf)>| match side {
        None => Ok(None),
        Some((dir, path)) => match content::regular(dir.fd(), path)? {
            Some((size, _)) if size > content::MAX_TEXT as u64 => Ok(Some(content::Content::Special)),
            _ => content::read(dir.fd(), path),
        },
    };
    let (old, new) = (read(old)?, read(new)?);
    if ![&old, &new].into_iter().flatten().all(content::Content::is_text) {
        return Ok((0, 0));
    }
    let bytes = |side: &Option<content::Content>| side.as_ref().map_or(Vec::new(), |content| content.bytes().to_vec());
    Ok(lines::counts(&bytes(&old), &bytes(&new)))
}
