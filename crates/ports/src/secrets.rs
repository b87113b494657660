//! Plaintext of secrets.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::SecretRef;

use crate::BoxFuture;

/// The plaintext of a secret. `Debug` does not show it, and its memory is overwritten on drop.
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Wraps plaintext.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        for byte in &mut self.0 {
            *byte = 0;
        }
        std::hint::black_box(&self.0);
    }
}

impl std::fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plaintext(…)")
    }
}

/// Access to the plaintext of a session's secrets.
pub trait Secrets: Send + Sync {
    /// Returns the plaintext of `secret`.
    ///
    /// # Errors
    /// When no connected client of the session provides the secret.
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>>;

    /// Returns the plaintext of `secret` if it is cached. Asks no provider.
    fn known(&self, secret: &SecretRef) -> Option<Arc<Plaintext>>;
}
