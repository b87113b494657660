//! The stat cache: stats of the files of a directory, with the digests of their content.
//!
//! A file that was modified just before it was read could be modified again without a change of its
//! stat. The digests of files with such recent times are not remembered. Entries are packed in the
//! order of a walk, so that a listing is compared with them in one pass.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rondel_digest::{Digest, Hasher};
use rondel_fault::{Result, lock};
use rondel_ports::index::{Index, Table};

use crate::packed_paths::{self, PackedReader};
use crate::walk::{EntryKind, FileStat, WalkEntry};

/// File times lag behind the clock by at most this much.
const CLOCK_GRANULARITY_NANOS: i64 = 20_000_000;

/// The maximum number of directories in memory. Others are read from the index again.
const MAX_DIRECTORIES_IN_MEMORY: usize = 1024;

/// The maximum size of all directories in memory. A larger directory is read from the index each
/// time.
const MAX_BYTES_IN_MEMORY: usize = 48 << 20;

/// The format of the stored bytes.
const FORMAT: &[u8] = b"stat/3\n";

/// The size of an entry without its path: path length, stat and digest.
const BYTES_BESIDE_PATH: usize = 4 + 4 * 8 + 4 + 32;

/// Stats and digests of settled files, in the order of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownFiles {
    bytes: Arc<Vec<u8>>,
    files: usize,
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownFile<'a> {
    path: &'a [u8],
    stamp: FileStat,
    digest: Digest,
}

impl KnownFiles {
    /// Packs `files`, which are in the order of a walk.
    pub(crate) fn of<'a>(files: impl Iterator<Item = (&'a WalkEntry, Digest)> + Clone) -> Self {
        let size = files.clone().map(|(item, _)| item.path.len() + BYTES_BESIDE_PATH).sum::<usize>();
        let mut bytes = Vec::with_capacity(FORMAT.len() + size);
        bytes.extend(FORMAT);
        let mut count = 0;
        for (item, digest) in files {
            packed_paths::path(&mut bytes, &item.path);
            let stamp = &item.stamp;
            bytes.extend(stamp.size.to_le_bytes());
            bytes.extend(stamp.mtime.to_le_bytes());
            bytes.extend(stamp.ctime.to_le_bytes());
            bytes.extend(stamp.inode.to_le_bytes());
            bytes.extend(stamp.mode.to_le_bytes());
            bytes.extend(digest.as_bytes());
            count += 1;
        }
        Self { bytes: Arc::new(bytes), files: count }
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.files
    }

    /// For each of `items`, in the order of a walk: the digest of the content, if the stat is
    /// unchanged.
    pub(crate) fn digests(&self, items: &[WalkEntry]) -> Vec<Option<Digest>> {
        let mut entries = self.entries();
        let mut next = entries.next();
        let find = |item: &WalkEntry| {
            while let Some(entry) = next {
                match packed_paths::order(entry.path, &item.path) {
                    Ordering::Less => next = entries.next(),
                    Ordering::Equal => {
                        next = entries.next();
                        return (item.kind == EntryKind::File && entry.stamp == item.stamp).then_some(entry.digest);
                    }
                    Ordering::Greater => return None,
                }
            }
            None
        };
        items.iter().map(find).collect()
    }

    /// Returns whether the files among `items` are these, unchanged.
    fn are(&self, items: &[WalkEntry]) -> bool {
        let mut entries = self.entries();
        let same = |item: &WalkEntry| {
            entries.next().is_some_and(|entry| entry.path == item.path.as_slice() && entry.stamp == item.stamp)
        };
        items.iter().filter(|item| item.kind == EntryKind::File).all(same) && entries.next().is_none()
    }

    fn entries(&self) -> impl Iterator<Item = KnownFile<'_>> {
        let mut reader = PackedReader::new(self.bytes.strip_prefix(FORMAT).unwrap_or_default());
        std::iter::from_fn(move || entry(&mut reader))
    }

    fn read(bytes: Vec<u8>) -> Option<Self> {
        let mut reader = PackedReader::new(bytes.strip_prefix(FORMAT)?);
        let mut files = 0;
        while !reader.is_done() {
            entry(&mut reader)?;
            files += 1;
        }
        Some(Self { bytes: Arc::new(bytes), files })
    }
}

fn entry<'a>(reader: &mut PackedReader<'a>) -> Option<KnownFile<'a>> {
    let path = reader.path()?;
    let stamp = FileStat {
        size: u64::from_le_bytes(reader.take()?),
        mtime: i64::from_le_bytes(reader.take()?),
        ctime: i64::from_le_bytes(reader.take()?),
        inode: u64::from_le_bytes(reader.take()?),
        mode: u32::from_le_bytes(reader.take()?),
    };
    Some(KnownFile { path, stamp, digest: Digest::from_bytes(reader.take()?) })
}

/// The cached record of one directory.
#[derive(Clone)]
struct CachedDirectory {
    known: KnownFiles,
    /// The digest of what is no file, and of the whole listing, when the files were as `known`
    /// says.
    listed: Option<(Digest, Digest)>,
}

/// Records of directories by the digest of root and filter.
#[derive(Default)]
pub(crate) struct StatCache(Mutex<HashMap<Digest, CachedDirectory>>);

impl StatCache {
    pub(crate) fn get(&self, index: &dyn Index, key: &Digest) -> KnownFiles {
        if let Some(held) = self.held(key) {
            return held.known;
        }
        let known = index.get(Table::Files, key).and_then(KnownFiles::read).unwrap_or_default();
        self.hold(key, CachedDirectory { known: known.clone(), listed: None });
        known
    }

    pub(crate) fn set(&self, index: &dyn Index, key: &Digest, known: KnownFiles) -> Result<()> {
        index.put(Table::Files, key, &known.bytes, None)?;
        self.hold(key, CachedDirectory { known, listed: None });
        Ok(())
    }

    /// The digest of the listing, when `items` are exactly those for which it was noted.
    pub(crate) fn unchanged(&self, key: &Digest, items: &[WalkEntry]) -> Option<Digest> {
        let CachedDirectory { known, listed } = self.held(key)?;
        let (others, listing) = listed?;
        (others_of(items) == others && known.are(items)).then_some(listing)
    }

    /// Notes that `items`, whose files are all as `known` says, have the listing with this digest.
    pub(crate) fn note(&self, key: &Digest, known: &KnownFiles, items: &[WalkEntry], listing: Digest) {
        self.hold(key, CachedDirectory { known: known.clone(), listed: Some((others_of(items), listing)) });
    }

    fn held(&self, key: &Digest) -> Option<CachedDirectory> {
        lock(&self.0).get(key).cloned()
    }

    fn hold(&self, key: &Digest, new: CachedDirectory) {
        let mut held = lock(&self.0);
        held.remove(key);
        let bytes: usize = held.values().map(|held| held.known.bytes.len()).sum();
        if held.len() >= MAX_DIRECTORIES_IN_MEMORY || bytes + new.known.bytes.len() > MAX_BYTES_IN_MEMORY {
            held.clear();
        }
        if new.known.bytes.len() <= MAX_BYTES_IN_MEMORY {
            held.insert(*key, new);
        }
    }
}

/// The digest of everything among `items` that is no file.
// IDENTITY: what a listing says of directories and links, no more.
fn others_of(items: &[WalkEntry]) -> Digest {
    let mut hasher = Hasher::new("hostlink/others/v1");
    for item in items {
        match &item.kind {
            EntryKind::File => continue,
            EntryKind::Dir => hasher.bytes(&item.path).bytes(b"dir").bytes(&item.stamp.mode.to_le_bytes()),
            EntryKind::Link(target) => hasher.bytes(&item.path).bytes(b"link").bytes(target),
        };
    }
    hasher.finish()
}

/// Files with times before this moment are settled.
pub(crate) fn settled_before() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) - CLOCK_GRANULARITY_NANOS
}

/// Returns whether a file with this stat was last written before `moment`.
pub(crate) fn is_settled(stamp: &FileStat, moment: i64) -> bool {
    stamp.mtime.max(stamp.ctime) < moment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str, kind: EntryKind, size: u64) -> WalkEntry {
        WalkEntry {
            path: path.into(),
            kind,
            stamp: FileStat { size, mtime: -2, ctime: 3, inode: 4, mode: 5 },
            shared: None,
        }
    }

    #[test]
    fn stamps_survive_their_encoding() {
        let files = [item("a\u{ff}/b", EntryKind::File, 1), item("c", EntryKind::File, u64::MAX)];
        let digests = [Digest::of_bytes(b"x"), Digest::of_bytes(b"y")];
        let known = KnownFiles::of(files.iter().zip(digests));
        let bytes = known.bytes.to_vec();
        assert_eq!(KnownFiles::read(bytes.clone()), Some(known.clone()));
        assert_eq!(KnownFiles::read(bytes[..bytes.len() - 1].to_vec()), None);
        assert_eq!(KnownFiles::read(b"other".to_vec()), None);
        assert_eq!(known.digests(&files), digests.map(Some));
        assert!(known.are(&files) && !known.are(&files[..1]));
    }

    #[test]
    fn a_listing_is_compared_in_one_pass() {
        let digest = Digest::of_bytes(b"x");
        let known = ["a", "a/b", "a.b", "d"].map(|path| item(path, EntryKind::File, 1));
        let known = KnownFiles::of(known.iter().map(|item| (item, digest)));
        let check = |items: &[WalkEntry], want: &[bool]| {
            let found: Vec<bool> = known.digests(items).iter().map(Option::is_some).collect();
            assert_eq!(found, want);
        };
        let now = [
            item("a", EntryKind::Dir, 1),
            item("a/a", EntryKind::File, 1),
            item("a/b", EntryKind::File, 1),
            item("a.b", EntryKind::File, 2),
            item("c", EntryKind::File, 1),
            item("d", EntryKind::File, 1),
            item("e", EntryKind::File, 1),
        ];
        check(&now, &[false, false, true, false, false, true, false]);
        check(&[], &[]);
    }
}
