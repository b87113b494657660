//! An [`Index`] in memory only, for tests.
//!
//! Expired entries are not returned. They stay in memory until they are removed or replaced.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::{Duration, SystemTime};

use rondel_digest::Digest;
use rondel_fault::{Result, read_lock, write_lock};
use rondel_ports::index::{Index, Table};

type MemoryEntry = (Vec<u8>, Option<SystemTime>);

/// An [`Index`] without a disk.
#[derive(Debug, Default)]
pub struct MemoryIndex(RwLock<HashMap<(Table, Digest), MemoryEntry>>);

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Index for MemoryIndex {
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>> {
        let entries = read_lock(&self.0);
        let (value, until) = entries.get(&(table, *key))?;
        until.is_none_or(|until| until > SystemTime::now()).then(|| value.clone())
    }

    fn put(&self, table: Table, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()> {
        let until = expires_in.map(|lifetime| SystemTime::now() + lifetime);
        let mut entries = write_lock(&self.0);
        entries.insert((table, *key), (value.to_vec(), until));
        Ok(())
    }

    fn remove(&self, table: Table, key: &Digest) -> Result<()> {
        write_lock(&self.0).remove(&(table, *key));
        Ok(())
    }

    fn each(&self, table: Table, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        let now = SystemTime::now();
        let entries: Vec<(Digest, Vec<u8>)> = {
            let entries = read_lock(&self.0);
            let live = entries
                .iter()
                .filter(|((found, _), (_, until))| *found == table && until.is_none_or(|until| until > now));
            live.map(|((_, key), (value, _))| (*key, value.clone())).collect()
        };
        entries.iter().for_each(|(key, value)| visit(*key, value));
        Ok(())
    }
}
