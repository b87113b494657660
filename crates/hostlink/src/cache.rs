//! What is known of the files of a directory: their stamps and the digests of their content.
//!
//! A file that was written around the time it was read could be written again without a change of its stamp. So the
//! digests of files whose times are that young are not remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rondel_digest::Digest;
use rondel_fault::Result;
use rondel_ports::index::{Index, Table};

use crate::walk::Stamp;

/// Stamp and content digest by path.
pub(crate) type Known = HashMap<Vec<u8>, (Stamp, Digest)>;

/// The clock of file times is this much coarser than the clock, at most.
const COARSE_NANOS: i64 = 20_000_000;

/// As many directories are held in memory; others are read from the index again.
const IN_MEMORY: usize = 8;

/// The stamps of directories, by the digest of root and filter.
#[derive(Default)]
pub(crate) struct StatCache(Mutex<HashMap<Digest, Arc<Known>>>);

impl StatCache {
    pub(crate) fn get(&self, index: &dyn Index, key: &Digest) -> Arc<Known> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return known.clone();
        }
        let stored = index.get(Table::Files, key);
        let known = Arc::new(stored.and_then(|bytes| decode(&bytes)).unwrap_or_default());
        self.hold(key, known.clone());
        known
    }

    pub(crate) fn set(&self, index: &dyn Index, key: &Digest, known: Known) -> Result<()> {
        index.put(Table::Files, key, &encode(&known), None)?;
        self.hold(key, Arc::new(known));
        Ok(())
    }

    fn hold(&self, key: &Digest, known: Arc<Known>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= IN_MEMORY && !held.contains_key(key) {
            held.clear();
        }
        held.insert(*key, known);
    }
}

/// The moment before which file times must lie for a file to count as settled.
pub(crate) fn settled_before() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) - COARSE_NANOS
}

/// Whether a file with this stamp was last written before `moment`.
pub(crate) fn is_settled(stamp: &Stamp, moment: i64) -> bool {
    stamp.mtime.max(stamp.ctime) < moment
}

const FORM: &[u8] = b"stat1\n";

/// The form, then per file: length of the path (4 bytes), path, size, times, inode (8 bytes each), mode (4), digest; all
/// little endian.
fn encode(known: &Known) -> Vec<u8> {
    let mut bytes = FORM.to_vec();
    for (path, (stamp, digest)) in known {
        bytes.extend(u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(path);
        bytes.extend(stamp.size.to_le_bytes());
        bytes.extend(stamp.mtime.to_le_bytes());
        bytes.extend(stamp.ctime.to_le_bytes());
        bytes.extend(stamp.inode.to_le_bytes());
        bytes.extend(stamp.mode.to_le_bytes());
        bytes.extend(digest.as_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Known> {
    let mut rest = bytes.strip_prefix(FORM)?;
    let mut known = Known::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(take(&mut rest)?);
        let path = rest.split_off(..usize::try_from(length).ok()?)?.to_vec();
        let stamp = Stamp {
            size: u64::from_le_bytes(take(&mut rest)?),
            mtime: i64::from_le_bytes(take(&mut rest)?),
            ctime: i64::from_le_bytes(take(&mut rest)?),
            inode: u64::from_le_bytes(take(&mut rest)?),
            mode: u32::from_le_bytes(take(&mut rest)?),
        };
        known.insert(path, (stamp, Digest::from_bytes(take(&mut rest)?)));
    }
    Some(known)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_survive_their_encoding() {
        let stamp = Stamp { size: 1, mtime: -2, ctime: 3, inode: 4, mode: 5 };
        let known = Known::from([
            (b"a\xff/b".to_vec(), (stamp, Digest::of_bytes(b"x"))),
            (Vec::new(), (Stamp { size: u64::MAX, ..stamp }, Digest::of_bytes(b"y"))),
        ]);
        let bytes = encode(&known);
        assert_eq!(decode(&bytes), Some(known));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(b"other"), None);
    }
}
