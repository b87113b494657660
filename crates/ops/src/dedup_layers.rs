//! Opens layer stacks in which a layer occurs twice. That happens when a step writes again what an
//! earlier one wrote, and in images with several empty layers. An overlay cannot have a layer
//! twice. Only the uppermost occurrence is mounted, which hides the others completely.

use std::collections::HashSet;

use rondel_fault::Result;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{Snapshots, Tree, WorkTree};

/// Opens `snapshot` for reading.
pub(crate) fn view(store: &dyn Snapshots, snapshot: &Snapshot) -> Result<Tree> {
    match distinct(snapshot) {
        None => store.view(snapshot),
        Some(distinct) => store.view(&distinct),
    }
}

/// Opens `snapshot` for reading by a process.
pub(crate) fn view_for_process(store: &dyn Snapshots, snapshot: &Snapshot) -> Result<Tree> {
    match distinct(snapshot) {
        None => store.view_for_process(snapshot),
        Some(distinct) => store.view_for_process(&distinct),
    }
}

/// Opens a work tree on top of `snapshot`. Its commit is on top of the whole stack.
pub(crate) fn prepare(store: &dyn Snapshots, snapshot: &Snapshot) -> Result<WorkTree> {
    match distinct(snapshot) {
        None => store.prepare(snapshot),
        Some(distinct) => store.prepare(&distinct).map(|tree| WorkTree { base: snapshot.clone(), ..tree }),
    }
}

/// The stack with only the uppermost occurrence of each layer. `None` if no layer occurs twice.
fn distinct(snapshot: &Snapshot) -> Option<Snapshot> {
    let mut seen = HashSet::with_capacity(snapshot.layers().len());
    let mut layers: Vec<LayerId> =
        snapshot.layers().iter().rev().copied().filter(|layer| seen.insert(*layer)).collect();
    if layers.len() == snapshot.layers().len() {
        return None;
    }
    layers.reverse();
    Some(Snapshot::from(layers))
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;

    use super::*;

    #[test]
    fn the_uppermost_occurrence_stays() {
        let check = |stack: &str, want: Option<&str>| {
            let snapshot =
                |text: &str| text.bytes().map(|b| LayerId(Digest::of_bytes(&[b]))).collect::<Vec<_>>().into();
            assert_eq!(distinct(&snapshot(stack)), want.map(snapshot), "{stack}");
        };
        check("", None);
        check("abc", None);
        check("aba", Some("ba"));
        check("eaebe", Some("abe"));
    }
}
