//! What garbage collection must keep: what work in progress uses, the trees that values refer to,
//! and the layers that entries of the index refer to.

use std::any::Any;
use std::collections::HashSet;

use rondel_digest::Digest;
use rondel_model::op::FsOp;
use rondel_model::service::ServiceKind;
use rondel_model::{
    Changeset, Container, Directory, File, Fs, GitRef, GitRepository, LayerId, Service, Snapshot, Value,
};
use rondel_ports::index::Table;
use serde::Deserialize;

use crate::{ExecResult, Ops};

impl Ops {
    /// Marks everything used from now on as in use, until the guard is dropped. `None` without a
    /// tracker.
    pub(crate) fn mark_in_use(&self) -> Option<Box<dyn Any + Send + Sync>> {
        self.options.watch.as_ref().map(|watch| watch.begin())
    }

    /// Marks the result of `fs` as used, if it is cached in memory.
    pub fn touch(&self, fs: &Fs) {
        let snapshots = &self.ports.snapshots;
        match fs.op() {
            FsOp::Known(snapshot) => _ = snapshots.touch_if_present(snapshot),
            FsOp::Exec { exec, .. } => {
                if let Some(result) = self.execs.get(&exec.digest()) {
                    snapshots.touch_if_present(&result.rootfs);
                    result.mounts.values().for_each(|snapshot| _ = snapshots.touch_if_present(snapshot));
                }
            }
            _ => {
                if let Some(snapshot) = self.trees.get(&fs.digest()) {
                    snapshots.touch_if_present(&snapshot);
                }
            }
        }
    }

    /// Returns whether `predicate` holds for every tree reachable from `value`. Trees that passed
    /// are added to `seen` and not visited again.
    pub fn all_inputs(value: &Value, seen: &mut HashSet<Digest>, predicate: &dyn Fn(&Fs) -> bool) -> bool {
        let (mut trees, mut looked) = (Vec::new(), Vec::new());
        trees_of(value, &mut trees);
        while let Some(fs) = trees.pop() {
            if !seen.insert(fs.digest()) {
                continue;
            }
            looked.push(fs.digest());
            if !predicate(&fs) {
                looked.iter().for_each(|digest| _ = seen.remove(digest));
                return false;
            }
            trees.extend(fs.op().inputs().into_iter().cloned());
        }
        true
    }
}

/// Adds the trees that a value needs to be used further.
fn trees_of(value: &Value, into: &mut Vec<Fs>) {
    if let Some(container) = value.get::<Container>() {
        into.push(container.rootfs.clone());
        into.extend(container.mounts.iter().filter_map(|mount| mount.source.fs()).cloned());
        into.extend(container.last_exec.iter().flat_map(|exec| exec.inputs()).cloned());
        container.services.values().for_each(|binding| trees_of_service(&binding.service, into));
    } else if let Some(Directory { place, .. }) = value.get() {
        into.push(place.fs.clone());
    } else if let Some(File { place, .. }) = value.get() {
        into.push(place.fs.clone());
    } else if let Some(Changeset { before, after }) = value.get() {
        into.extend([before.place.fs.clone(), after.place.fs.clone()]);
    } else if let Some(service) = value.get() {
        trees_of_service(service, into);
    } else if let Some(GitRepository { source, .. }) = value.get() {
        into.extend(source.fs().cloned());
    } else if let Some(GitRef { repository, .. }) = value.get() {
        into.extend(repository.source.fs().cloned());
    } else if let Value::List(items) = value {
        items.iter().for_each(|item| trees_of(item, into));
    }
}

/// Adds the trees of a service and of the services that it needs.
fn trees_of_service(service: &Service, into: &mut Vec<Fs>) {
    let mut seen = HashSet::new();
    let mut pending = vec![service];
    while let Some(service) = pending.pop() {
        if !seen.insert(service.digest()) {
            continue;
        }
        match service.kind() {
            ServiceKind::Container(container) => {
                into.extend(container.exec.inputs().into_iter().cloned());
                pending.extend(container.exec.services.iter().map(|binding| &binding.service));
            }
            ServiceKind::Tunnel(tunnel) => pending.push(&tunnel.service),
            ServiceKind::Host(_) => {}
        }
    }
}

/// The layers that an entry of the index of results refers to. `None` if it refers to none.
pub fn referenced_layers(table: Table, entry: &[u8]) -> Option<Vec<LayerId>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum StoredResult {
        Tree(Snapshot),
        Exec(ExecResult),
    }
    if table != Table::Ops {
        return None;
    }
    let layers = |snapshot: &Snapshot| snapshot.layers().to_vec();
    match serde_json::from_slice(entry).ok()? {
        StoredResult::Tree(snapshot) => Some(layers(&snapshot)),
        StoredResult::Exec(result) => {
            let mut all = layers(&result.rootfs);
            result.mounts.values().for_each(|snapshot| all.extend(layers(snapshot)));
            Some(all)
        }
    }
}
