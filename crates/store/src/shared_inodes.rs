//! Which layers have files in common, so that no stack ever has one file twice.
//!
//! A layer never changes, so its files may have further names in other layers. A process that sees two names of one file
//! takes them for hard links, and copies them as such; so layers with files in common are never in one stack. Who shares
//! with whom is told by [`LayerInfo::shares`](crate::layer_info::LayerInfo), which holds for the layers' names, whether or not
//! the files are still the same. Layers that were merged for a mount stand in no stack and are not told.

use std::collections::BTreeSet;

use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::LinkableLayer;

use crate::store::Store;

/// Sources with more layers lend nothing: each directory is looked for in each layer.
const MAX_LAYERS: usize = 32;
/// Layers that share with more others lend nothing, so that records stay small.
const MAX_SHARING_LAYERS: usize = 64;

/// `layers`, and all with which they may have files in common.
pub(crate) fn sharing_closure(store: &Store, layers: &[LayerId]) -> Vec<LayerId> {
    let mut all: BTreeSet<LayerId> = layers.iter().copied().collect();
    for layer in layers {
        all.extend(store.inspect(layer).iter().flat_map(|info| info.shares.iter().copied()));
    }
    all.into_iter().collect()
}

/// Whether a layer that shares with `relatives` may have a file in common with a layer of `base`.
pub(crate) fn conflicts_with(store: &Store, base: &Snapshot, sharing: &[LayerId]) -> bool {
    let related = |layer: &LayerId| sharing.binary_search(layer).is_ok();
    !sharing.is_empty()
        && base
            .layers()
            .iter()
            .any(|layer| related(layer) || store.inspect(layer).is_some_and(|info| info.shares.iter().any(related)))
}

/// See `Snapshots::linkable_layers`.
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
