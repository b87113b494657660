//! The mount points that every process needs, as a layer of their own. The layer lies below all
//! layers of the root during the run and never becomes part of the result. So mount points need not
//! be made in the root, and removed again, for each process.
//!
//! Names of the root hide the names of this layer, as in any upper layer. A mount point that is in
//! neither is made by the sandbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_fault::{Fault, Result, lock};
use rondel_model::op::Edit;
use rondel_model::{AbsPath, LayerId, Snapshot};
use rondel_ports::snapshots::{Label, Snapshots, WorkTree};

use crate::options::EXTRA_TARGET;
use crate::work_layer::labelled;
use crate::{dedup_layers, edit};

/// Deeper stacks do not get the layer. Their lower layers are flattened before the mount, and one
/// more layer would need another flattened copy.
const MAX_LAYERS: usize = 90;

/// The optional mount points of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mountpoints {
    /// `/etc/resolv.conf`.
    pub(crate) resolver: bool,
    /// The directory of additional certificate authorities.
    pub(crate) extra: bool,
}

/// Caches the layer of each set of mount points.
#[derive(Default)]
pub(crate) struct MountpointLayers(Mutex<HashMap<Mountpoints, LayerId>>);

impl MountpointLayers {
    /// Opens a work tree on top of `base` with the mount points `points`. Its commit is on top of
    /// `base` alone.
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
        // The root as an empty root is, so that it counts as no change, and fixed times, so that
        // the layer is the same in every run.
        edits.push(Edit::Timestamps { path: AbsPath::root(), seconds: 0 });
        edits
    }
}
