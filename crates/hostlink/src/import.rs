//! Import: takes host files into the store.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rayon::prelude::*;
use rondel_digest::{Digest, Hasher};
use rondel_events::Parts;
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::op::Filter;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Label, WorkTree};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::filter::Rules;
use crate::host_link::HostLink;
use crate::incremental_base::{Changes, IncrementalBase};
use crate::stat_cache::{self, KnownFiles};
use crate::unstable_files::UnstableFiles;
use crate::walk::{self, EntryKind, FileStat, WalkEntry};
use crate::{copy_file, hard_links};

/// The reason why an import attempt ended early.
enum ImportError {
    /// A listed file is missing: worth another listing.
    Vanished,
    /// A file changed between hashing and storing. It was copied meanwhile.
    ContentChanged,
    Failed(Fault),
}

impl From<Fault> for ImportError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Imports the directory `path`.
pub(crate) fn directory(link: &HostLink, path: &Path, filter: &Filter, progress: &Parts) -> Result<Snapshot> {
    let named = link.roots.place(path)?;
    let path = named.display_path();
    let place = named.canonical().map_err(|e| not_found(&path, e))?;
    let rules = Rules::new(filter)?;
    let domain = if place.is_inside() { "hostlink/inside/v1" } else { "hostlink/stat/v1" };
    let key = rondel_digest::of(domain, &(place.display_path().as_os_str().as_bytes(), filter));
    with_retry(|last| {
        let root = place.open(OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| match e {
            Errno::NOTDIR => Fault::user(format!("`{}` is not a directory", path.display())),
            e => walk::failed("open", &path, b"", e.into()),
        })?;
        if rules.ignore_root(&place) {
            return Err(not_found(&path, io::ErrorKind::NotFound.into()).into());
        }
        let moment = stat_cache::settled_before();
        let items = walk::walk(&place, &root, &rules)?;
        let unstable = UnstableFiles::new(&*link.temp_dirs);
        let source = Source { root, path: path.clone(), moment, on_disk: None, unstable, last, progress };
        import_entries(link, &source, items, &key)
    })
}

/// Imports the file `path`.
pub(crate) fn file(link: &HostLink, path: &Path, progress: &Parts) -> Result<Snapshot> {
    let place = link.roots.place(path)?;
    let path = &place.display_path();
    let key = rondel_digest::of("hostlink/file/v2", &(place.is_inside(), path.as_os_str().as_bytes()));
    with_retry(|last| {
        let moment = stat_cache::settled_before();
        let leaf = place.open_parent().map_err(|e| not_found(path, e))?;
        let (root, on_disk) = leaf.ok_or_else(|| Fault::user(format!("`{}` is not a regular file", path.display())))?;
        let name = path.file_name().unwrap_or(&on_disk);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&root, &on_disk, flags, Mode::empty());
        let file = File::from(file.attempt(|| format!("open `{}`", path.display()))?);
        let stat = rustix::fs::fstat(&file).attempt(|| format!("look at `{}`", path.display()))?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(Fault::user(format!("`{}` is not a regular file", path.display())).into());
        }
        let stamp = FileStat::of(&stat);
        let item = WalkEntry { path: name.as_bytes().to_vec(), kind: EntryKind::File, stamp, shared: None };
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        let (on_disk, unstable) = (Some(on_disk.as_bytes().to_vec()), UnstableFiles::new(&*link.temp_dirs));
        let source = Source { root, path: parent, moment, on_disk, unstable, last, progress };
        import_entries(link, &source, vec![item], &key)
    })
}

fn not_found(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        // Users match on this text.
        io::ErrorKind::NotFound => Fault::not_found(format!("{}: no such file or directory", path.display())),
        _ => walk::failed("find", path, b"", error),
    }
}

/// Runs `attempt`, and runs it again if a listed file vanished. The last attempt leaves vanished
/// files out.
fn with_retry(mut attempt: impl FnMut(bool) -> Result<Snapshot, ImportError>) -> Result<Snapshot> {
    let first = attempt(false);
    let done = if matches!(first, Err(ImportError::Vanished)) { attempt(true) } else { first };
    done.map_err(|stop| match stop {
        ImportError::Failed(fault) => fault,
        ImportError::Vanished | ImportError::ContentChanged => Fault::bug("an import did not come to its end"),
    })
}

/// The directory of an import.
struct Source<'a> {
    root: OwnedFd,
    /// For messages.
    path: std::path::PathBuf,
    /// Files written after this moment may be written again unnoticed.
    moment: i64,
    /// The name that a single item has in its directory.
    on_disk: Option<Vec<u8>>,
    /// Files that changed meanwhile.
    unstable: UnstableFiles<'a>,
    /// Whether vanished files are left out.
    last: bool,
    /// Counts the bytes that are read and stored.
    progress: &'a Parts,
}

/// Returns the snapshot with the content of `items`.
fn import_entries(
    link: &HostLink,
    source: &Source<'_>,
    mut items: Vec<WalkEntry>,
    key: &Digest,
) -> Result<Snapshot, ImportError> {
    if items.is_empty() {
        return Ok(Snapshot::empty());
    }
    let unchanged = link.cache.unchanged(key, &items);
    if let Some(snapshot) = unchanged.and_then(|listing| recall(link, &listing)) {
        return Ok(snapshot);
    }
    let known = link.cache.get(&*link.index, key);
    let mut digests = known.digests(&items);
    let hits = digests.iter().flatten().count();
    let unknown = items.iter().zip(&digests).filter(|(item, digest)| item.kind == EntryKind::File && digest.is_none());
    source.progress.grow(unknown.map(|(item, _)| item.stamp.size).sum());
    items.par_iter().zip(&mut digests).try_for_each(|(item, digest)| -> Result<(), ImportError> {
        if item.kind == EntryKind::File && digest.is_none() {
            *digest = read_digest(source, item)?;
        }
        Ok(())
    })?;
    source.unstable.correct(&mut items, &mut digests);
    let changed = hits < known.len() || hits < digests.iter().flatten().count();
    if changed {
        remember(link, source, &items, &digests, &known, key)?;
    }
    let mut listing = listing_key(&items, &digests);
    if !changed {
        link.cache.note(key, &known, &items, listing);
    }
    drop(known);
    // Copied files do not change any more, so the loop ends.
    loop {
        if let Some(snapshot) = recall(link, &listing) {
            return Ok(snapshot);
        }
        let links = hard_links::find(&items, &digests);
        match build(link, source, &Listed { items: &items, digests: &digests, links: &links }, key) {
            Err(ImportError::ContentChanged) => {
                source.unstable.correct(&mut items, &mut digests);
                listing = listing_key(&items, &digests);
            }
            built => {
                let snapshot = built?;
                let layers: Vec<u8> = snapshot.layers().iter().flat_map(|layer| *layer.0.as_bytes()).collect();
                link.index.put(Table::Files, &listing, &layers, None)?;
                return Ok(snapshot);
            }
        }
    }
}

fn remember(
    link: &HostLink,
    source: &Source<'_>,
    items: &[WalkEntry],
    digests: &[Option<Digest>],
    known: &KnownFiles,
    key: &Digest,
) -> Result<()> {
    let files = items.iter().zip(digests).filter_map(|(item, digest)| Some((item, (*digest)?)));
    let lasts =
        |item: &WalkEntry| stat_cache::is_settled(&item.stamp, source.moment) && !source.unstable.contains(&item.path);
    let now = KnownFiles::of(files.filter(|(item, _)| lasts(item)));
    if now == *known { Ok(()) } else { link.cache.set(&*link.index, key, now) }
}

/// What makes two imported trees the same: names, kinds, permissions, contents, link targets.
// IDENTITY: no times, owners, inodes or host paths. A file that is a hard link in one of two
// otherwise equal trees, and not in the other, does not make them different, as in the original
// (its `TestLocalHardlinks`).
fn listing_key(items: &[WalkEntry], digests: &[Option<Digest>]) -> Digest {
    let mut hasher = Hasher::new("hostlink/tree/v2");
    for (item, digest) in items.iter().zip(digests) {
        let mode = (item.stamp.mode & 0o7777).to_le_bytes();
        hasher.bytes(&item.path);
        match (&item.kind, digest) {
            (EntryKind::Link(target), _) => hasher.bytes(b"link").bytes(target),
            (EntryKind::Dir, _) => hasher.bytes(b"dir").bytes(&mode),
            (EntryKind::File, Some(digest)) => hasher.bytes(b"file").bytes(&mode).bytes(digest.as_bytes()),
            (EntryKind::File, None) => hasher.bytes(b"file").bytes(&mode),
        };
    }
    hasher.finish()
}

/// The layers of the tree in an entry of [`Table::Files`], or `None` if the entry is no tree.
pub fn referred(entry: &[u8]) -> Option<Vec<LayerId>> {
    let (layers, rest) = entry.as_chunks::<32>();
    let is_tree = rest.is_empty() && !entry.starts_with(b"stat/") && !entry.starts_with(b"base/");
    is_tree.then(|| layers.iter().map(|layer| LayerId(Digest::from_bytes(*layer))).collect())
}

fn recall(link: &HostLink, listing: &Digest) -> Option<Snapshot> {
    let bytes = link.index.get(Table::Files, listing)?;
    let (layers, rest) = bytes.as_chunks::<32>();
    let layers: Vec<LayerId> = layers.iter().map(|layer| LayerId(Digest::from_bytes(*layer))).collect();
    let snapshot = Snapshot::from(layers);
    (rest.is_empty() && link.snapshots.touch_if_present(&snapshot)).then_some(snapshot)
}

/// Opens the file of an entry, or returns `None` if it is no file any more.
fn open(source: &Source<'_>, item: &WalkEntry) -> Result<Option<File>, ImportError> {
    let name = source.on_disk.as_ref().unwrap_or(&item.path).as_slice();
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat2(&source.root, name, flags, Mode::empty(), resolve).map(File::from) {
        Ok(file) => Ok(stamp(source, item, &file)?.is_file().then_some(file)),
        // A socket has taken its place.
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(None),
        Err(e) => Err(walk::failed("read", &source.path, &item.path, e.into()).into()),
    }
}

fn stamp(source: &Source<'_>, item: &WalkEntry, file: &File) -> Result<FileStat, ImportError> {
    let stat = rustix::fs::fstat(file).map_err(|e| walk::failed("look at", &source.path, &item.path, e.into()))?;
    Ok(FileStat::of(&stat))
}

/// The digest of a file: of its content if it is unchanged, or of a copy. `None` if it is gone.
fn read_digest(source: &Source<'_>, item: &WalkEntry) -> Result<Option<Digest>, ImportError> {
    let read = |bytes| source.progress.add(bytes);
    match if_unchanged(source, item, "read", |file| copy_file::digest(file, item.stamp.size, read))? {
        Some(digest) => Ok(Some(digest)),
        None => take_copy(source, item),
    }
}

/// Runs `read` on a file that is unchanged since it was listed. `None` if it changed before or
/// meanwhile.
fn if_unchanged<T>(
    source: &Source<'_>,
    item: &WalkEntry,
    attempted: &str,
    read: impl FnOnce(&File) -> io::Result<T>,
) -> Result<Option<T>, ImportError> {
    let Some(file) = open(source, item)? else { return Ok(None) };
    if stamp(source, item, &file)? != item.stamp {
        return Ok(None);
    }
    let found = read(&file).map_err(|e| walk::failed(attempted, &source.path, &item.path, e))?;
    Ok((stamp(source, item, &file)? == item.stamp).then_some(found))
}

/// Copies a file that changes. `None` if it is gone.
fn take_copy(source: &Source<'_>, item: &WalkEntry) -> Result<Option<Digest>, ImportError> {
    let path = &item.path;
    match open(source, item)? {
        Some(file) => {
            let taken = source.unstable.take(path, &file);
            Ok(Some(taken.map_err(|f| f.context(format!("cannot read `{}`", walk::show(&source.path, path))))?))
        }
        None if !source.last => Err(ImportError::Vanished),
        None if source.on_disk.is_some() => {
            Err(not_found(&source.path.join(OsStr::from_bytes(path)), io::ErrorKind::NotFound.into()).into())
        }
        None => {
            source.unstable.gone(path);
            Ok(None)
        }
    }
}

/// The entries of a snapshot to be built.
struct Listed<'a> {
    items: &'a [WalkEntry],
    digests: &'a [Option<Digest>],
    /// For each further name of a file, where its first one is listed.
    links: &'a HashMap<usize, usize>,
}

impl<'a> Listed<'a> {
    /// What is to be written of the item at a place.
    fn entry(&self, at: usize) -> PlannedEntry<'a> {
        let link = self.links.get(&at).map(|first| self.items[*first].path.as_slice());
        PlannedEntry { item: &self.items[at], digest: self.digests[at], link }
    }
}

/// An entry to be written.
struct PlannedEntry<'a> {
    item: &'a WalkEntry,
    /// Of a file.
    digest: Option<Digest>,
    /// The path of the file that it is a further name of.
    link: Option<&'a [u8]>,
}

/// A few changes make a layer on top of the last whole copy; else everything is copied.
fn build(link: &HostLink, source: &Source<'_>, listed: &Listed<'_>, key: &Digest) -> Result<Snapshot, ImportError> {
    let base = IncrementalBase::load(&*link.index, key).filter(|base| link.snapshots.touch_if_present(&base.snapshot));
    let grouped = hard_links::group_digests(listed.items, listed.digests, listed.links);
    let changes = base.and_then(|base| Some((base.changes(listed.items, &grouped)?, base.snapshot)));
    if let Some((changes, base)) = changes {
        return written(link, &source.path, &base, |tree| change(tree, source, listed, &changes));
    }
    let snapshot = written(link, &source.path, &Snapshot::empty(), |tree| fill(tree, source, listed))?;
    // A single file is copied as fast as it is compared.
    if source.on_disk.is_none() {
        IncrementalBase::store(&*link.index, key, &snapshot, listed.items, &grouped)?;
    }
    Ok(snapshot)
}

fn written(
    link: &HostLink,
    path: &Path,
    base: &Snapshot,
    write: impl FnOnce(&WorkTree) -> Result<(), ImportError>,
) -> Result<Snapshot, ImportError> {
    let label = Label::new("source.local", "Host.directory", path.to_string_lossy());
    let tree = WorkTree { label, ..link.snapshots.prepare(base)? };
    match write(&tree) {
        Ok(()) => Ok(link.snapshots.commit(tree)?),
        Err(stop) => {
            link.snapshots.abort(tree);
            Err(stop)
        }
    }
}

/// Makes the whole copy that `tree` is based on what is listed.
fn change(tree: &WorkTree, source: &Source<'_>, listed: &Listed<'_>, changes: &Changes) -> Result<(), ImportError> {
    let stored = |path: &[u8], e: Errno| ImportError::from(walk::failed("store", &source.path, path, e.into()));
    for (path, is_dir) in &changes.removed {
        let flags = if *is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&tree.root, path.as_slice(), flags).map_err(|e| stored(path, e))?;
    }
    let added: Vec<PlannedEntry<'_>> = changes.added.iter().map(|place| listed.entry(*place)).collect();
    put(&tree.root, source, &added)?;
    // ORDER: what is below a directory first, because that changes its times.
    for place in changes.modes.iter().chain(changes.touched.iter().rev()) {
        finish(&tree.root, &listed.items[*place]).map_err(|e| stored(&listed.items[*place].path, e))?;
    }
    Ok(())
}

fn fill(tree: &WorkTree, source: &Source<'_>, listed: &Listed<'_>) -> Result<(), ImportError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target =
        rustix::fs::open(&tree.upper, flags, Mode::empty()).attempt(|| format!("open `{}`", tree.upper.display()))?;
    let all: Vec<PlannedEntry<'_>> = (0..listed.items.len()).map(|at| listed.entry(at)).collect();
    put(&target, source, &all)
}

/// Writes `items` below `target`, in the order of a walk.
fn put(target: &OwnedFd, source: &Source<'_>, items: &[PlannedEntry<'_>]) -> Result<(), ImportError> {
    let stored =
        |item: &WalkEntry, e: Errno| ImportError::from(walk::failed("store", &source.path, &item.path, e.into()));
    for PlannedEntry { item, .. } in items {
        match &item.kind {
            EntryKind::Dir => rustix::fs::mkdirat(target, item.path.as_slice(), Mode::from_raw_mode(0o700)),
            EntryKind::Link(link) => rustix::fs::symlinkat(link.as_slice(), target, item.path.as_slice()),
            EntryKind::File => Ok(()),
        }
        .map_err(|e| stored(item, e))?;
    }
    let is_stored = |new: &&PlannedEntry<'_>| new.digest.is_some() && new.link.is_none();
    source.progress.grow(items.iter().filter(is_stored).map(|new| new.item.stamp.size).sum());
    let files = items.par_iter().map(|new| match new.digest.filter(|_| new.link.is_none()) {
        Some(digest) => {
            let stored = store_file(target, source, new.item, digest);
            source.progress.add(new.item.stamp.size);
            stored
        }
        None => Ok(true),
    });
    if !files.try_reduce(|| true, |one, other| Ok(one && other))? {
        return Err(ImportError::ContentChanged);
    }
    for PlannedEntry { item, link, .. } in items {
        if let Some(first) = link {
            let linked = rustix::fs::linkat(target, *first, target, item.path.as_slice(), AtFlags::empty());
            linked.map_err(|e| stored(item, e))?;
        }
    }
    for PlannedEntry { item, .. } in items.iter().rev() {
        if item.kind != EntryKind::File {
            finish(target, item).map_err(|e| stored(item, e))?;
        }
    }
    Ok(())
}

/// Gives a directory its permissions and its times, a link its times.
fn finish(target: &OwnedFd, item: &WalkEntry) -> Result<(), Errno> {
    if item.kind == EntryKind::Dir {
        let mode = Mode::from_raw_mode(item.stamp.mode & 0o7777);
        rustix::fs::chmodat(target, item.path.as_slice(), mode, AtFlags::empty())?;
    }
    let times = copy_file::times(item.stamp.mtime);
    rustix::fs::utimensat(target, item.path.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Stores a hashed file. Returns false if the file changed since, and was copied instead.
fn store_file(target: &OwnedFd, source: &Source<'_>, item: &WalkEntry, digest: Digest) -> Result<bool, ImportError> {
    let failed = |e| walk::failed("store", &source.path, &item.path, e);
    if let Some(copy) = source.unstable.copy_of(&item.path).map_err(failed)? {
        write_file(target, item, &copy).map_err(failed)?;
        return Ok(true);
    }
    let stored = if_unchanged(source, item, "store", |from| {
        let mut to = write_file(target, item, from)?;
        // A file this young may have been written between reading and copying, with the same stamp.
        Ok(stat_cache::is_settled(&item.stamp, source.moment) || {
            io::Seek::rewind(&mut to)?;
            copy_file::digest(&to, item.stamp.size, |_| ())? == digest
        })
    })?;
    if stored == Some(true) {
        return Ok(true);
    }
    take_copy(source, item).map(|_| false)
}

/// Makes the file of `item` with the content of `from`.
fn write_file(target: &OwnedFd, item: &WalkEntry, from: &File) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = rustix::fs::openat(target.as_fd(), item.path.as_slice(), flags, Mode::from_raw_mode(0o600))?;
    let to = File::from(to);
    copy_file::content(from, &to)?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(item.stamp.mode & 0o7777))?;
    rustix::fs::futimens(&to, &copy_file::times(item.stamp.mtime))?;
    Ok(to)
}
