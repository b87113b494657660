//! A handle on a secret. The plaintext is never here.

use std::sync::Arc;

use rondel_digest::Digest;
use serde::{Deserialize, Serialize};

/// A handle on a secret: what it is called and a key that stands for its value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SecretRef {
    /// What stands for the plaintext in cache keys: a MAC of it under a key of this engine, or the digest of
    /// the `cacheKey` the user gave. Also the handle under which the session finds the plaintext.
    // IDENTITY: a keyed MAC; it tells nothing about the plaintext to who lacks the engine's key.
    pub key: Digest,
    /// The name given to `setSecret`; empty for secrets of a provider.
    #[serde(skip)]
    pub name: Arc<str>,
    /// The address of a provider, such as `env://TOKEN`; empty for `setSecret`.
    #[serde(skip)]
    pub uri: Arc<str>,
    /// A process in a container named the address, and means its own machine. No client of the user's reads it there.
    #[serde(skip)]
    pub foreign: bool,
}
