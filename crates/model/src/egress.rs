//! How far the engine goes when it connects to something that was named by an address.

use serde::{Deserialize, Serialize};

/// How far connections may lead that are made for an address. The first who named it decides, not who asks for the data later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum EgressScope {
    /// Wherever the engine's machine reaches: its user named the address.
    Anywhere,
    /// The outside, and nothing of the machine itself: a process in a container, or a module from elsewhere, named it.
    #[default]
    Outside,
}
