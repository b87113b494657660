//! A map by digest that is emptied when it is full: for what can be computed again.

use std::collections::HashMap;
use std::sync::Mutex;

use rondel_digest::Digest;
use rondel_fault::lock;

/// The number of entries that a cache holds.
const MAX_CACHED: usize = 512;

/// A cache of clones of values, by digest.
pub(crate) struct BoundedCache<T>(Mutex<HashMap<Digest, T>>);

impl<T> Default for BoundedCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> BoundedCache<T> {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &Digest) -> Option<T> {
        lock(&self.0).get(key).cloned()
    }

    /// Sets the value of `key`. A full cache forgets everything else.
    pub(crate) fn insert(&self, key: Digest, value: T) {
        let mut map = lock(&self.0);
        if map.len() >= MAX_CACHED {
            map.clear();
        }
        map.insert(key, value);
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> Vec<T> {
        lock(&self.0).values().cloned().collect()
    }

    /// Removes the values for which `keep` is false.
    pub(crate) fn retain(&self, keep: impl Fn(&T) -> bool) {
        lock(&self.0).retain(|_, value| keep(value));
    }
}
