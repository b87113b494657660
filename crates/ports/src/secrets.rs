//! Plaintext of secrets, on its way from a provider to the process that was given it.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::SecretRef;

use crate::BoxFuture;

/// The plaintext of a secret. Its `Debug` does not show it, and its memory is overwritten when it goes.
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

/// Gives plaintext to whom a session allows it.
pub trait Secrets: Send + Sync {
    /// The plaintext behind `secret`.
    ///
    /// # Errors
    /// When no client of the session provides it (any more).
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>>;

    /// The same, when it is known already: no provider is asked.
    fn known(&self, secret: &SecretRef) -> Option<Arc<Plaintext>>;
}
