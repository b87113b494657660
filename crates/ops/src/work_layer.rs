//! Makes one layer: opens a work tree, lets work change it, then commits it or gives it up.

use std::os::fd::AsFd;
use std::time::SystemTime;

use rondel_fault::Result;
use rondel_model::Snapshot;
use rondel_ports::snapshots::{Label, Snapshots, WorkTree};

use crate::dedup_layers;
use crate::hardlink_copy::LinkSource;
use crate::root::Root;

/// The tree that `work` makes of `base`, as one layer without a label.
pub(crate) fn change(
    store: &dyn Snapshots,
    base: &Snapshot,
    work: impl FnOnce(Root<'_>) -> Result<()>,
) -> Result<Snapshot> {
    labelled(store, base, Label::default(), work)
}

/// The tree that `work` makes of `base`, as one layer with a label for people.
pub(crate) fn labelled(
    store: &dyn Snapshots,
    base: &Snapshot,
    label: Label,
    work: impl FnOnce(Root<'_>) -> Result<()>,
) -> Result<Snapshot> {
    finish(store, WorkTree { label, ..dedup_layers::prepare(store, base)? }, |tree| work(Root(tree.root.as_fd())))
}

/// A layer to be made.
pub(crate) struct NewLayer<'a> {
    /// The tree below.
    pub(crate) base: &'a Snapshot,
    /// What the layer is called for people.
    pub(crate) label: Label,
    /// Modification times count for its identity.
    // IDENTITY: what is known by its content without times becomes the same layer whatever it is
    // made of.
    pub(crate) times: bool,
}

impl NewLayer<'_> {
    fn prepare(&self, store: &dyn Snapshots) -> Result<WorkTree> {
        let tree = dedup_layers::prepare(store, self.base)?;
        let opened = if self.times { tree.opened } else { SystemTime::UNIX_EPOCH };
        Ok(WorkTree { label: self.label.clone(), opened, ..tree })
    }
}

/// The tree with `layer`, which `work` fills. `work` may hard-link files of `source` instead of
/// copying them. When links turn out to be impossible, `work` runs once more and copies.
pub(crate) fn with_hardlinks(
    store: &dyn Snapshots,
    layer: &NewLayer<'_>,
    source: &Snapshot,
    work: impl Fn(Root<'_>, Option<&LinkSource>) -> Result<()>,
) -> Result<Snapshot> {
    let mut must_copy = false;
    let done = finish(store, layer.prepare(store)?, |tree| {
        let link_source = LinkSource::new(store, source, tree);
        let done = work(Root(tree.root.as_fd()), link_source.as_ref());
        must_copy = link_source.as_ref().is_some_and(LinkSource::must_copy);
        tree.shares = link_source.map(|link_source| link_source.linked_layers()).unwrap_or_default();
        done
    });
    if !must_copy {
        return done;
    }
    finish(store, layer.prepare(store)?, |tree| work(Root(tree.root.as_fd()), None))
}

fn finish(
    store: &dyn Snapshots,
    mut tree: WorkTree,
    work: impl FnOnce(&mut WorkTree) -> Result<()>,
) -> Result<Snapshot> {
    match work(&mut tree) {
        Ok(()) => store.commit(tree),
        Err(fault) => {
            store.abort(tree);
            Err(fault)
        }
    }
}
