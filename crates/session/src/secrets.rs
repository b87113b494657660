//! Plaintext that a session's clients gave, by the key that stands for it everywhere else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::SecretRef;
use rondel_ports::BoxFuture;
use rondel_ports::secrets::{Plaintext, Secrets};

/// Plaintext by key. It is never written anywhere.
#[derive(Default)]
pub struct SecretStore {
    known: Mutex<HashMap<Digest, Arc<Plaintext>>>,
}

impl SecretStore {
    /// Remembers plaintext for as long as the session lives.
    pub fn put(&self, key: Digest, plaintext: Plaintext) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(plaintext));
    }

    /// The plaintext, when some client of the session gave it.
    pub fn get(&self, key: &Digest) -> Option<Arc<Plaintext>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

impl Secrets for SecretStore {
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Plaintext>> {
        Box::pin(async move {
            let found = self.get(&secret.key).map(|p| Plaintext::new(p.bytes().to_vec()));
            found.ok_or_else(|| {
                let what = if secret.name.is_empty() { &secret.uri } else { &secret.name };
                Fault::user(format!("secret `{what}` is not known in this session"))
                    .with_hint("set it again with `setSecret`, or name a provider such as `env://NAME`")
            })
        })
    }
}
