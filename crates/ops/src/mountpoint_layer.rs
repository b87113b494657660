//! Mount points that every process has, as a layer of their own: it lies below all layers of the root for the time of the
//! run and never becomes part of what is kept. So nothing has to be made in the root, and undone, for each process.
//!
//! What a root has itself hides the names here, as any upper layer does. A mount point that is in neither is made by whoever
//! runs the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_fault::{Fault, Result};
use rondel_model::op::Edit;
use rondel_model::{AbsPath, LayerId, Snapshot};
use rondel_ports::snapshots::{Label, Snapshots, WorkTree};

use crate::sync::lock;
use crate::work_layer::labelled;
use crate::options::EXTRA_TARGET;
use crate::{dedup_layers, edit};

/// Stacks with more layers are left alone: they are merged in part before they are mounted, which would have to be done
/// once more with one layer more.
const MAX_LAYERS: usize = 90;

/// What is mounted in a process beside what every process has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mountpoints {
    /// `/etc/resolv.conf`.
    pub(crate) resolver: bool,
    /// The folder of further authorities.
    pub(crate) extra: bool,
}

/// The layers that were made already.
#[derive(Default)]
pub(crate) struct MountpointLayers(Mutex<HashMap<Mountpoints, LayerId>>);

impl MountpointLayers {
    /// Opens a writable state on top of `base` that has the mount points `points`; a commit is on top of `base` alone.
    pub(crate) fn prepare(&self, store: &dyn Snapshots, base: &Snapshot, points: Mountpoints) -> Result<WorkTree> {
        if base.layers().len() > MAX_LAYERS {
            return dedup_layers::prepare(store, base);
        }
        let skeleton = self.layer(store, points)?;
        let layers: Vec<LayerId> = [skeleton].into_iter().chain(base.layers().iter().copied()).collect();
        dedup_layers::prepare(store, &layers.into()).map(|tree| WorkTree { base: base.clone(), ..tree })
    }

    fn layer(&self, store: &dyn Snapshots, points: Mountpoints) -> Result<LayerId> {
        let mut known = lock(&self.0);
        if let Some(layer) = known.get(&points).filter(|layer| store.touch_if_present(&Snapshot::new([**layer]))) {
            return Ok(*layer);
        }
        let label = Label::new("internal", "", "mount points of processes");
        let made = labelled(store, &Snapshot::empty(), label, |root| {
            points.edits().iter().try_for_each(|edit| edit::apply(edit, root))
        })?;
        let layer = *made.layers().last().ok_or_else(|| Fault::bug("the layer of the mount points has no content"))?;
        known.insert(points, layer);
        Ok(layer)
    }
}

impl Mountpoints {
    fn edits(self) -> Vec<Edit> {
        let directory = |path| Edit::MakeDir { path: AbsPath::new(path), permissions: 0o755, owner: None };
        let file = |path| Edit::WriteFile {
            path: AbsPath::new(path),
            contents: Arc::new([]),
            permissions: 0o644,
            owner: None,
        };
        let mut edits =
            vec![directory("/dev"), directory("/proc"), directory("/sys"), file("/etc/hostname"), file("/etc/hosts")];
        edits.extend(self.resolver.then(|| file("/etc/resolv.conf")));
        edits.extend(self.extra.then(|| directory(EXTRA_TARGET)));
        // The root as an empty root is, so that it counts as no change; the rest the same in every run.
        edits.push(Edit::Timestamps { path: AbsPath::root(), seconds: 0 });
        edits
    }
}
