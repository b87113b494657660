//! Imports files of the host as snapshots, and exports files of trees to the host.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rondel_events::{Emitter, Work};
use rondel_fault::Result;
use rondel_model::Snapshot;
use rondel_model::op::{Filter, TreePath};
use rondel_ports::host::shown;
use rondel_ports::outcome::in_span;

use crate::Ops;
use crate::context::OpContext;
use crate::root::open_dir;
use crate::stat::open_regular;

impl Ops {
    /// Exports the directory at `place` to the host. Merges into an existing directory, or with
    /// `wipe` replaces it.
    ///
    /// # Errors
    /// When it is no directory, or the host cannot write it.
    pub async fn export_dir(self: &Arc<Self>, cx: &OpContext, place: &TreePath, to: &Path, wipe: bool) -> Result<()> {
        let (host, to) = (self.ports.host.clone(), to.to_owned());
        let title = format!("export {}", shown(&to).display());
        synced(cx, title, |events| {
            self.look(cx, place, move |root, path| host.export(open_dir(root, path)?.as_fd(), &to, wipe, &events))
        })
        .await
    }

    /// Exports the file at `place` to the host.
    ///
    /// # Errors
    /// When it is no file, or the host cannot write it.
    pub async fn export_file(self: &Arc<Self>, cx: &OpContext, place: &TreePath, to: &Path) -> Result<()> {
        let (host, to) = (self.ports.host.clone(), to.to_owned());
        let title = format!("export {}", shown(&to).display());
        synced(cx, title, |events| {
            self.look(cx, place, move |root, path| host.export_file(open_regular(root, path)?.as_fd(), &to, &events))
        })
        .await
    }

    /// Imports the directory `path` of the host, filtered.
    ///
    /// # Errors
    /// When it is missing, no directory, or cannot be read.
    pub async fn import_dir(self: &Arc<Self>, cx: &OpContext, path: &Path, filter: &Filter) -> Result<Snapshot> {
        let title = format!("sync {}", shown(path).display());
        let (from, which) = (path.to_owned(), filter.clone());
        let import = |events: Emitter| self.blocking(move |ops| ops.ports.host.import(&from, &which, &events));
        let imported = synced(cx, title, import).await?;
        self.explain_import(cx, &shown(path), filter, &imported);
        Ok(imported)
    }

    /// Imports one file of the host. It is at the root of the snapshot under its own name.
    ///
    /// # Errors
    /// When it is missing or no regular file.
    pub async fn import_file(self: &Arc<Self>, cx: &OpContext, path: &Path) -> Result<Snapshot> {
        let title = format!("sync {}", shown(path).display());
        let from = path.to_owned();
        let import = |events: Emitter| self.blocking(move |ops| ops.ports.host.import_file(&from, &events));
        let imported = synced(cx, title, import).await?;
        self.explain_import(cx, &shown(path), &Filter::default(), &imported);
        Ok(imported)
    }
}

/// Runs `work` in a span of its own.
async fn synced<T, F: Future<Output = Result<T>>>(
    cx: &OpContext,
    title: String,
    work: impl FnOnce(Emitter) -> F,
) -> Result<T> {
    let span = cx.events.span(Work::Sync, title);
    let work = work(span.emitter().clone());
    in_span(span, work).await
}
