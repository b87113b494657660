//! What is known of the files of a directory: their stamps and the digests of their content.
//!
//! A file that was written around the time it was read could be written again without a change of its stamp. So the
//! digests of files whose times are that young are not remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;
use rondel_digest::{Digest, Hasher};
use rondel_fault::Result;
use rondel_ports::index::{Index, Table};

use crate::walk::{Item, Kind, Stamp};

/// Stamp and content digest by path.
pub(crate) type Known = HashMap<Vec<u8>, (Stamp, Digest)>;

/// The clock of file times is this much coarser than the clock, at most.
const COARSE_NANOS: i64 = 20_000_000;

/// As many directories are held in memory; others are read from the index again.
const IN_MEMORY: usize = 1024;

/// As many files may the directories in memory have together.
const FILES_IN_MEMORY: usize = 500_000;

/// What is held of one directory.
#[derive(Clone)]
struct Held {
    known: Arc<Known>,
    /// The digest of what is no file, and of the whole listing, when the files were as `known` says.
    listed: Option<(Digest, Digest)>,
}

/// The stamps of directories, by the digest of root and filter.
#[derive(Default)]
pub(crate) struct StatCache(Mutex<HashMap<Digest, Held>>);

impl StatCache {
    pub(crate) fn get(&self, index: &dyn Index, key: &Digest) -> Arc<Known> {
        if let Some(held) = self.held(key) {
            return held.known;
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

    /// The digest of the listing, when `items` are exactly those for which it was noted.
    pub(crate) fn unchanged(&self, key: &Digest, items: &[Item]) -> Option<Digest> {
        let Held { known, listed } = self.held(key)?;
        let (others, listing) = listed?;
        let is_known = |item: &Item| {
            item.kind != Kind::File || known.get(&item.path).is_some_and(|(stamp, _)| *stamp == item.stamp)
        };
        let files = items.iter().filter(|item| item.kind == Kind::File).count();
        (files == known.len() && others_of(items) == others && items.par_iter().all(is_known)).then_some(listing)
    }

    /// Notes that `items`, whose files are all as `known` says, have the listing with this digest.
    pub(crate) fn note(&self, key: &Digest, known: &Arc<Known>, items: &[Item], listing: Digest) {
        let listed = Some((others_of(items), listing));
        self.hold_all(key, Held { known: known.clone(), listed });
    }

    fn held(&self, key: &Digest) -> Option<Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn hold(&self, key: &Digest, known: Arc<Known>) {
        self.hold_all(key, Held { known, listed: None });
    }

    fn hold_all(&self, key: &Digest, new: Held) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(key);
        let files: usize = held.values().map(|held| held.known.len()).sum();
        if held.len() >= IN_MEMORY || files + new.known.len() > FILES_IN_MEMORY {
            held.clear();
        }
        held.insert(*key, new);
    }
}

/// The digest of everything among `items` that is no file.
// IDENTITY: what a listing says of directories and links, no more.
fn others_of(items: &[Item]) -> Digest {
    let mut hasher = Hasher::new("hostlink/others/v1");
    for item in items {
        match &item.kind {
            Kind::File => continue,
            Kind::Dir => hasher.bytes(&item.path).bytes(b"dir").bytes(&item.stamp.mode.to_le_bytes()),
            Kind::Link(target) => hasher.bytes(&item.path).bytes(b"link").bytes(target),
        };
    }
    hasher.finish()
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
