//! The persistent index of results. Calls block briefly. Reads come from memory.

use std::time::Duration;

use rondel_digest::Digest;
use rondel_fault::Result;

/// A table of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Op key → snapshot and, for processes, exit code and output.
    Ops,
    /// Call digest → the value a function returned.
    Calls,
    /// Module implementation digest and view → its types.
    Types,
    /// Image reference and platform → manifest, configuration and layers.
    Images,
    /// Host file identity (path, inode, size, times) → content digest.
    Files,
    /// Anything small the engine must remember, such as its MAC key.
    Facts,
}

/// A crash-safe map from digests to bytes. An entry is valid on its own or not there.
pub trait Index: Send + Sync {
    /// Returns the value of `key`, unless it is missing or has expired.
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>>;

    /// Sets the value of `key`. It survives a kill of the engine from the moment this returns.
    ///
    /// # Errors
    /// When the disk is full.
    fn put(&self, table: Table, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()>;

    /// Removes `key`.
    ///
    /// # Errors
    /// When the disk is full.
    fn remove(&self, table: Table, key: &Digest) -> Result<()>;

    /// Calls `visit` with every entry of `table`.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn each(&self, table: Table, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()>;
}
