//! Shared inodes: which layers have files in common. No snapshot may contain one inode twice.
//!
//! A layer never changes, so its files may be hard-linked into other layers. A process takes two
//! paths with one inode for hard links and copies them as such, so layers that share inodes are
//! never in one snapshot. `LayerInfo::shares` records sharing by layer id and stays valid after a
//! layer's files were replaced. Layers that were merged for a mount are in no snapshot and are not
//! recorded.

use std::collections::BTreeSet;

use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::LinkableLayer;

use crate::store::Store;

/// The maximum number of source layers: each directory is looked up in each layer.
const MAX_LAYERS: usize = 32;
/// The maximum number of sharing layers, so that records stay small.
const MAX_SHARING_LAYERS: usize = 64;

/// `layers`, and all layers with which they may share inodes. Sorted.
pub(crate) fn sharing_closure(store: &Store, layers: &[LayerId]) -> Vec<LayerId> {
    let mut all: BTreeSet<LayerId> = layers.iter().copied().collect();
    for layer in layers {
        all.extend(store.inspect(layer).iter().flat_map(|info| info.shares.iter().copied()));
    }
    all.into_iter().collect()
}

/// Returns whether a layer that shares inodes with the layers `sharing` may have an inode in common
/// with a layer of `base`.
pub(crate) fn conflicts_with(store: &Store, base: &Snapshot, sharing: &[LayerId]) -> bool {
    let related = |layer: &LayerId| sharing.binary_search(layer).is_ok();
    !sharing.is_empty()
        && base
            .layers()
            .iter()
            .any(|layer| related(layer) || store.inspect(layer).is_some_and(|info| info.shares.iter().any(related)))
}

/// See `Layers::linkable_layers`.
pub(crate) fn linkable_layers(store: &Store, source: &Snapshot, base: &Snapshot) -> Option<Vec<LinkableLayer>> {
    let sharing = sharing_closure(store, source.layers());
    let bounded = source.layers().len() <= MAX_LAYERS && sharing.len() <= MAX_SHARING_LAYERS;
    if !bounded || conflicts_with(store, base, &sharing) {
        return None;
    }
    let linkable = |layer: &LayerId| {
        let has_hardlinks = store.touch_layer(layer)?.has_hardlinks;
        Some(LinkableLayer { layer: *layer, root: store.layer_root(layer).ok()?, has_hardlinks })
    };
    source.layers().iter().rev().map(linkable).collect()
}
