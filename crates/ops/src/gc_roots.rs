//! What work in progress needs, and what values and entries of the index refer to, for whoever removes things.

use std::any::Any;
use std::collections::HashSet;

use rondel_digest::Digest;
use rondel_model::op::FsOp;
use rondel_model::{Container, Directory, File, Fs, LayerId, Snapshot, Value};
use rondel_ports::index::Table;
use serde::Deserialize;

use crate::{ExecResult, Ops};

impl Ops {
    /// Work begins; what is used from now on is needed until the guard is dropped.
    pub(crate) fn mark_in_use(&self) -> Option<Box<dyn Any + Send + Sync>> {
        self.options.watch.as_ref().map(|watch| watch.begin())
    }

    /// Uses what `fs` gave, as far as that is remembered.
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

    /// Whether `holds` says so of every tree that `value` is made of. `seen` holds those of which it was said.
    pub fn all_inputs(value: &Value, seen: &mut HashSet<Digest>, holds: &dyn Fn(&Fs) -> bool) -> bool {
        let (mut trees, mut looked) = (Vec::new(), Vec::new());
        trees_of(value, &mut trees);
        while let Some(fs) = trees.pop() {
            if !seen.insert(fs.digest()) {
                continue;
            }
            looked.push(fs.digest());
            if !holds(&fs) {
                looked.iter().for_each(|digest| _ = seen.remove(digest));
                return false;
            }
            trees.extend(fs.op().inputs().into_iter().cloned());
        }
        true
    }
}

fn trees_of(value: &Value, into: &mut Vec<Fs>) {
    if let Some(container) = value.get::<Container>() {
        into.push(container.rootfs.clone());
        into.extend(container.mounts.iter().filter_map(|mount| mount.source.fs()).cloned());
    } else if let Some(Directory { place, .. }) = value.get() {
        into.push(place.fs.clone());
    } else if let Some(File { place, .. }) = value.get() {
        into.push(place.fs.clone());
    } else if let Value::List(items) = value {
        items.iter().for_each(|item| trees_of(item, into));
    }
}

/// The layers that an entry of the index of results refers to; none: it refers to none.
pub fn referenced_layers(table: Table, entry: &[u8]) -> Option<Vec<LayerId>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Tree(Snapshot),
        Exec(ExecResult),
    }
    if table != Table::Ops {
        return None;
    }
    let layers = |snapshot: &Snapshot| snapshot.layers().to_vec();
    match serde_json::from_slice(entry).ok()? {
        Kept::Tree(snapshot) => Some(layers(&snapshot)),
        Kept::Exec(result) => {
            let mut all = layers(&result.rootfs);
            result.mounts.values().for_each(|snapshot| all.extend(layers(snapshot)));
            Some(all)
        }
    }
}
