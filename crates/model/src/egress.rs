//! Which addresses the engine may connect to on behalf of a client.

use serde::{Deserialize, Serialize};

/// Which addresses may be connected to for a URL. Decided by the client that named the URL first,
/// and not by one that asks for the data later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum EgressScope {
    /// Everything that the engine's machine can reach: its user named the URL.
    Anywhere,
    /// External addresses only, and nothing of the machine itself: a process in a container, or a
    /// module from elsewhere, named the URL.
    #[default]
    Outside,
}
