//! References to secrets, without plaintext.

use std::sync::Arc;

use rondel_digest::Digest;
use serde::{Deserialize, Serialize};

/// A reference to a secret: its name, and a key that represents its value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SecretRef {
    /// Represents the plaintext in cache keys: a MAC under a key of this engine, or the digest of
    /// the `cacheKey` that the user gave. The session also finds the plaintext by it.
    // IDENTITY: a keyed MAC, which reveals nothing about the plaintext without the engine's key.
    pub key: Digest,
    /// The name given to `setSecret`. Empty for secrets of a provider.
    #[serde(skip)]
    pub name: Arc<str>,
    /// The address of a provider, such as `env://TOKEN`. Empty for `setSecret`.
    #[serde(skip)]
    pub uri: Arc<str>,
    /// A process in a container named the address, and means its own machine. No client of the
    /// user's reads it there.
    #[serde(skip)]
    pub from_nested_client: bool,
}
