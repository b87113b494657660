//! Snapshots: ordered stacks of content-addressed layers, the results of file ops.

use std::fmt;
use std::sync::Arc;

use rondel_digest::Digest;
use serde::{Deserialize, Serialize};

/// The id of a layer, derived from its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(pub Digest);

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerId({})", self.0.short())
    }
}

/// A stack of layers, lowest first. The empty stack is the empty tree.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    layers: Arc<[LayerId]>,
}

impl Snapshot {
    /// The empty tree.
    pub fn empty() -> Self {
        Self { layers: Arc::new([]) }
    }

    /// A stack of `layers`, lowest first.
    pub fn new(layers: impl Into<Arc<[LayerId]>>) -> Self {
        Self { layers: layers.into() }
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    /// The stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: LayerId) -> Self {
        self.layers.iter().copied().chain([layer]).collect::<Vec<_>>().into()
    }

    /// The digest of the stack: equal stacks have equal content.
    pub fn digest(&self) -> Digest {
        rondel_digest::of("snapshot/v1", &self.layers)
    }
}

impl From<Vec<LayerId>> for Snapshot {
    fn from(layers: Vec<LayerId>) -> Self {
        Self::new(layers)
    }
}
