//! Incremental imports: the last full copy of a directory, so that a few changed files make a small
//! layer on top of it.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rondel_digest::Digest;
use rondel_fault::Result;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::index::{Index, Table};

use crate::packed_paths::{self, PackedReader};
use crate::walk::{EntryKind, WalkEntry};

/// The format of the stored bytes.
const FORMAT: &[u8] = b"base/2\n";
/// Up to this many changes always go on top of the last full copy.
const MIN_CHANGES: usize = 64;
/// The fraction of the entries, one in so many, that may change before everything is copied again.
const MAX_CHANGED_PART: usize = 4;

/// The last full copy: its snapshot, and what it holds.
pub(crate) struct IncrementalBase {
    /// The copy.
    pub(crate) snapshot: Snapshot,
    bytes: Vec<u8>,
    /// Where the entries begin.
    head: usize,
}

/// What one entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct BaseEntry<'a> {
    path: &'a [u8],
    kind: u8,
    /// Permission bits. Zero for symlinks.
    mode: u32,
    /// Of the content of a file or the target of a link.
    digest: Digest,
}

const FILE: u8 = 0;
const DIR: u8 = 1;
const LINK: u8 = 2;

/// The difference between a listing and the last full copy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Removed entries, as path and whether it is a directory. Content comes before its directory.
    pub(crate) removed: Vec<(Vec<u8>, bool)>,
    /// Indices of added entries in the listing.
    pub(crate) added: Vec<usize>,
    /// Indices of directories whose permissions differ.
    pub(crate) modes: Vec<usize>,
    /// Indices of directories that gain or lose entries.
    pub(crate) touched: Vec<usize>,
}

impl IncrementalBase {
    /// Loads the base with `key`.
    pub(crate) fn load(index: &dyn Index, key: &Digest) -> Option<Self> {
        let bytes = index.get(Table::Files, &at(key))?;
        let mut reader = PackedReader::new(bytes.strip_prefix(FORMAT)?);
        let count = u32::from_le_bytes(reader.take()?);
        let layers: Option<Vec<LayerId>> =
            (0..count).map(|_| reader.take().map(|bytes| LayerId(Digest::from_bytes(bytes)))).collect();
        let head = FORMAT.len() + 4 + 32 * usize::try_from(count).ok()?;
        Some(Self { snapshot: layers?.into(), bytes, head })
    }

    /// Notes that `snapshot` holds exactly `items`, whose files have `digests`.
    ///
    /// # Errors
    /// When the disk is full.
    pub(crate) fn store(
        index: &dyn Index,
        key: &Digest,
        snapshot: &Snapshot,
        items: &[WalkEntry],
        digests: &[Option<Digest>],
    ) -> Result<()> {
        let mut bytes = FORMAT.to_vec();
        bytes.extend(u32::try_from(snapshot.layers().len()).unwrap_or(u32::MAX).to_le_bytes());
        snapshot.layers().iter().for_each(|layer| bytes.extend(layer.0.as_bytes()));
        for (item, digest) in items.iter().zip(digests) {
            let entry = entry_of(item, *digest);
            packed_paths::path(&mut bytes, entry.path);
            bytes.push(entry.kind);
            bytes.extend(entry.mode.to_le_bytes());
            bytes.extend(entry.digest.as_bytes());
        }
        index.put(Table::Files, &at(key), &bytes, None)
    }

    /// Compares `items`, whose files have `digests`, with the base. `None` means that everything
    /// has to be copied: too many changes, or a damaged record.
    pub(crate) fn changes(&self, items: &[WalkEntry], digests: &[Option<Digest>]) -> Option<Changes> {
        let most = MIN_CHANGES.max(items.len() / MAX_CHANGED_PART);
        let mut changes = Changes::default();
        let mut reader = PackedReader::new(self.bytes.get(self.head..)?);
        let mut old = read(&mut reader)?;
        let mut place = 0;
        loop {
            let new = items.get(place).map(|item| entry_of(item, digests[place]));
            let side = match (&old, &new) {
                (None, None) => break,
                (Some(old), Some(new)) => packed_paths::order(old.path, new.path),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            changes.note(old.filter(|_| side.is_le()), new.filter(|_| side.is_ge()), place);
            if side.is_le() {
                old = read(&mut reader)?;
            }
            if side.is_ge() {
                place += 1;
            }
            if changes.removed.len() + changes.added.len() + changes.modes.len() > most {
                return None;
            }
        }
        changes.removed.reverse();
        let gone = changes.removed.iter().map(|(path, _)| parent(path));
        let come = changes.added.iter().map(|place| parent(&items[*place].path));
        let touched: BTreeSet<&[u8]> = gone.chain(come).collect();
        let find = |path: &[u8]| items.binary_search_by(|item| packed_paths::order(&item.path, path)).ok();
        changes.touched =
            touched.into_iter().filter_map(find).filter(|place| items[*place].kind == EntryKind::Dir).collect();
        Some(changes)
    }
}

impl Changes {
    /// Notes what becomes of one path: what was there, and what is there at this place of the
    /// listing.
    fn note(&mut self, old: Option<BaseEntry<'_>>, new: Option<BaseEntry<'_>>, place: usize) {
        match (old, new) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) if old.kind == DIR && new.kind == DIR => self.modes.push(place),
            (old, new) => {
                self.removed.extend(old.map(|old| (old.path.to_vec(), old.kind == DIR)));
                self.added.extend(new.map(|_| place));
            }
        }
    }
}

/// The index key of the base of the directory with this key.
fn at(key: &Digest) -> Digest {
    rondel_digest::of("hostlink/base/v1", key)
}

// IDENTITY: as in a listing: names, kinds, permissions, contents, link targets.
fn entry_of(item: &WalkEntry, digest: Option<Digest>) -> BaseEntry<'_> {
    let mode = item.stamp.mode & 0o7777;
    let (kind, mode, digest) = match &item.kind {
        EntryKind::File => (FILE, mode, digest.unwrap_or(Digest::from_bytes([0; 32]))),
        EntryKind::Dir => (DIR, mode, Digest::from_bytes([0; 32])),
        EntryKind::Link(target) => (LINK, 0, Digest::of_bytes(target)),
    };
    BaseEntry { path: &item.path, kind, mode, digest }
}

/// The next entry. The outer `None` means damaged, the inner one the end.
#[expect(clippy::option_option, reason = "damaged, the end, or an entry")]
fn read<'a>(reader: &mut PackedReader<'a>) -> Option<Option<BaseEntry<'a>>> {
    if reader.is_done() {
        return Some(None);
    }
    let path = reader.path()?;
    let [kind] = reader.take()?;
    let mode = u32::from_le_bytes(reader.take()?);
    Some(Some(BaseEntry { path, kind, mode, digest: Digest::from_bytes(reader.take()?) }))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::FileStat;

    fn item(path: &str, kind: EntryKind, mode: u32) -> WalkEntry {
        WalkEntry {
            path: path.into(),
            kind,
            stamp: FileStat { size: 0, mtime: 0, ctime: 0, inode: 0, mode },
            shared: None,
        }
    }

    fn digests(items: &[WalkEntry], content: &str) -> Vec<Option<Digest>> {
        items.iter().map(|item| (item.kind == EntryKind::File).then(|| Digest::of_bytes(content.as_bytes()))).collect()
    }

    fn base(items: &[WalkEntry]) -> IncrementalBase {
        let index = rondel_store::memory::MemoryIndex::default();
        let key = Digest::of_bytes(b"key");
        let snapshot = Snapshot::new(vec![LayerId(Digest::of_bytes(b"layer"))]);
        IncrementalBase::store(&index, &key, &snapshot, items, &digests(items, "x")).expect("is stored");
        let base = IncrementalBase::load(&index, &key).expect("is there");
        assert_eq!(base.snapshot, snapshot);
        base
    }

    #[test]
    fn what_changed() {
        let file = |path: &str| item(path, EntryKind::File, 0o644);
        let dir = |path: &str| item(path, EntryKind::Dir, 0o755);
        let link = |path: &str, to: &str| item(path, EntryKind::Link(to.into()), 0o777);
        let base = base(&[dir("a"), file("a/f"), link("a/l", "f"), file("b"), dir("d"), dir("d/e"), file("d/e/f")]);
        let check =
            |now: &[WalkEntry], content: &str, removed: &[&str], added: &[&str], modes: &[&str], touched: &[&str]| {
                let changes = base.changes(now, &digests(now, content)).expect("are few");
                let paths = |places: &[usize]| -> Vec<String> {
                    places.iter().map(|place| String::from_utf8_lossy(&now[*place].path).into_owned()).collect()
                };
                let gone: Vec<_> = changes.removed.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
                assert_eq!(gone, removed);
                assert_eq!(paths(&changes.added), added);
                assert_eq!(paths(&changes.modes), modes);
                assert_eq!(paths(&changes.touched), touched);
            };
        let same = [dir("a"), file("a/f"), link("a/l", "f"), file("b"), dir("d"), dir("d/e"), file("d/e/f")];
        check(&same, "x", &[], &[], &[], &[]);
        check(&same, "y", &["d/e/f", "b", "a/f"], &["a/f", "b", "d/e/f"], &[], &["a", "d/e"]);
        let other = [item("a", EntryKind::Dir, 0o700), link("a/l", "g"), file("b"), file("d")];
        check(&other, "x", &["d/e/f", "d/e", "d", "a/l", "a/f"], &["a/l", "d"], &["a"], &["a"]);
        check(&[], "x", &["d/e/f", "d/e", "d", "b", "a/l", "a/f", "a"], &[], &[], &[]);
    }

    #[test]
    fn many_changes_are_no_changes() {
        let many: Vec<WalkEntry> = (0..100).map(|n| item(&format!("f{n:03}"), EntryKind::File, 0o644)).collect();
        assert_eq!(base(&many).changes(&many, &digests(&many, "y")), None);
        assert!(base(&many).changes(&many, &digests(&many, "x")).is_some());
        let mut damaged = base(&many);
        damaged.bytes.pop();
        assert_eq!(damaged.changes(&many, &digests(&many, "x")), None);
    }
}
