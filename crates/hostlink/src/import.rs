//! Taking host files into the store.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rayon::prelude::*;
use rondel_digest::{Digest, Hasher};
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::op::Filter;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::index::Table;
use rondel_ports::snapshots::{Label, WorkTree};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::base::{Base, Changes};
use crate::cache::{self, Known};
use crate::filter::Rules;
use crate::moving::Moving;
use crate::walk::{self, Item, Kind, Stamp};
use crate::{HostLink, copy, links};

/// Why an import did not come to its end.
enum Stop {
    /// Something that was listed is not there any more: worth another listing.
    Vanished,
    /// What was hashed changed before it was stored, and was taken as it is meanwhile.
    Taken,
    Failed(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Takes the directory `path` into the store.
pub(crate) fn directory(link: &HostLink, path: &Path, filter: &Filter) -> Result<Snapshot> {
    let named = link.roots.place(path)?;
    let path = named.shown();
    let place = named.found().map_err(|e| not_found(&path, e))?;
    let rules = Rules::new(filter)?;
    let domain = if place.is_inside() { "hostlink/inside/v1" } else { "hostlink/stat/v1" };
    let key = rondel_digest::of(domain, &(place.shown().as_os_str().as_bytes(), filter));
    twice(|last| {
        let root = place.open(OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| match e {
            Errno::NOTDIR => Fault::user(format!("`{}` is not a directory", path.display())),
            e => walk::failed("open", &path, b"", e.into()),
        })?;
        if rules.ignore_root(&place) {
            return Err(not_found(&path, io::ErrorKind::NotFound.into()).into());
        }
        let moment = cache::settled_before();
        let items = walk::walk(&place, &root, &rules)?;
        let moving = Moving::new(&*link.snapshots);
        settle(link, &Source { root, path: path.clone(), moment, on_disk: None, moving, last }, items, &key)
    })
}

/// Takes the file `path` into the store.
pub(crate) fn file(link: &HostLink, path: &Path) -> Result<Snapshot> {
    let place = link.roots.place(path)?;
    let path = &place.shown();
    let key = rondel_digest::of("hostlink/file/v2", &(place.is_inside(), path.as_os_str().as_bytes()));
    twice(|last| {
        let moment = cache::settled_before();
        let leaf = place.leaf().map_err(|e| not_found(path, e))?;
        let (root, on_disk) = leaf.ok_or_else(|| Fault::user(format!("`{}` is not a regular file", path.display())))?;
        let name = path.file_name().unwrap_or(&on_disk);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&root, &on_disk, flags, Mode::empty());
        let file = File::from(file.attempt(|| format!("open `{}`", path.display()))?);
        let stat = rustix::fs::fstat(&file).attempt(|| format!("look at `{}`", path.display()))?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(Fault::user(format!("`{}` is not a regular file", path.display())).into());
        }
        let stamp = Stamp::of(&stat);
        let item = Item { path: name.as_bytes().to_vec(), kind: Kind::File, stamp, shared: None };
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        let (on_disk, moving) = (Some(on_disk.as_bytes().to_vec()), Moving::new(&*link.snapshots));
        settle(link, &Source { root, path: parent, moment, on_disk, moving, last }, vec![item], &key)
    })
}

fn not_found(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        // Users match on this text.
        io::ErrorKind::NotFound => Fault::not_found(format!("{}: no such file or directory", path.display())),
        _ => walk::failed("find", path, b"", error),
    }
}

/// Attempts something that is told whether it is the last attempt, in which what vanishes is left out.
fn twice(mut attempt: impl FnMut(bool) -> Result<Snapshot, Stop>) -> Result<Snapshot> {
    let first = attempt(false);
    let done = if matches!(first, Err(Stop::Vanished)) { attempt(true) } else { first };
    done.map_err(|stop| match stop {
        Stop::Failed(fault) => fault,
        Stop::Vanished | Stop::Taken => Fault::bug("an import did not come to its end"),
    })
}

/// Where items come from.
struct Source<'a> {
    root: OwnedFd,
    /// For messages.
    path: std::path::PathBuf,
    /// Files written after it may be written again unnoticed.
    moment: i64,
    /// The name that a single item has in its directory.
    on_disk: Option<Vec<u8>>,
    /// What did not stand still.
    moving: Moving<'a>,
    /// What vanishes is left out.
    last: bool,
}

/// The snapshot that consists of `items`.
fn settle(link: &HostLink, source: &Source<'_>, mut items: Vec<Item>, key: &Digest) -> Result<Snapshot, Stop> {
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
    items.par_iter().zip(&mut digests).try_for_each(|(item, digest)| -> Result<(), Stop> {
        if item.kind == Kind::File && digest.is_none() {
            *digest = read_digest(source, item)?;
        }
        Ok(())
    })?;
    source.moving.correct(&mut items, &mut digests);
    let changed = hits < known.len() || hits < digests.iter().flatten().count();
    if changed {
        remember(link, source, &items, &digests, &known, key)?;
    }
    let mut listing = listing_key(&items, &digests);
    if !changed {
        link.cache.note(key, &known, &items, listing);
    }
    drop(known);
    // What is taken stands still from then on, so that this ends.
    loop {
        if let Some(snapshot) = recall(link, &listing) {
            return Ok(snapshot);
        }
        let links = links::find(&items, &digests);
        match build(link, source, &Listed { items: &items, digests: &digests, links: &links }, key) {
            Err(Stop::Taken) => {
                source.moving.correct(&mut items, &mut digests);
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
    items: &[Item],
    digests: &[Option<Digest>],
    known: &Known,
    key: &Digest,
) -> Result<()> {
    let files = items.iter().zip(digests).filter_map(|(item, digest)| Some((item, (*digest)?)));
    let lasts = |item: &Item| cache::is_settled(&item.stamp, source.moment) && !source.moving.has(&item.path);
    let now = Known::of(files.filter(|(item, _)| lasts(item)));
    if now == *known { Ok(()) } else { link.cache.set(&*link.index, key, now) }
}

/// What makes two imported trees the same: names, kinds, permissions, contents, link targets.
// IDENTITY: no times, owners, inodes or host paths. A file that is a hard link in one of two otherwise equal trees, and
// not in the other, does not make them different, as in the original (its `TestLocalHardlinks`).
fn listing_key(items: &[Item], digests: &[Option<Digest>]) -> Digest {
    let mut hasher = Hasher::new("hostlink/tree/v2");
    for (item, digest) in items.iter().zip(digests) {
        let mode = (item.stamp.mode & 0o7777).to_le_bytes();
        hasher.bytes(&item.path);
        match (&item.kind, digest) {
            (Kind::Link(target), _) => hasher.bytes(b"link").bytes(target),
            (Kind::Dir, _) => hasher.bytes(b"dir").bytes(&mode),
            (Kind::File, Some(digest)) => hasher.bytes(b"file").bytes(&mode).bytes(digest.as_bytes()),
            (Kind::File, None) => hasher.bytes(b"file").bytes(&mode),
        };
    }
    hasher.finish()
}

/// The layers of the tree that an entry of [`Table::Files`] stands for; none: it is no tree.
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

/// The file of an item, as it is now; none when there is no file any more.
fn open(source: &Source<'_>, item: &Item) -> Result<Option<File>, Stop> {
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

fn stamp(source: &Source<'_>, item: &Item, file: &File) -> Result<Stamp, Stop> {
    let stat = rustix::fs::fstat(file).map_err(|e| walk::failed("look at", &source.path, &item.path, e.into()))?;
    Ok(Stamp::of(&stat))
}

/// The digest of a file that is as it was listed, else of what was taken; none when it is gone.
fn read_digest(source: &Source<'_>, item: &Item) -> Result<Option<Digest>, Stop> {
    match unmoved(source, item, "read", |file| copy::digest(file, item.stamp.size))? {
        Some(digest) => Ok(Some(digest)),
        None => take(source, item),
    }
}

/// What `read` makes of a file that is as it was listed until the end; none when it is not.
fn unmoved<T>(
    source: &Source<'_>,
    item: &Item,
    attempted: &str,
    read: impl FnOnce(&File) -> io::Result<T>,
) -> Result<Option<T>, Stop> {
    let Some(file) = open(source, item)? else { return Ok(None) };
    if stamp(source, item, &file)? != item.stamp {
        return Ok(None);
    }
    let found = read(&file).map_err(|e| walk::failed(attempted, &source.path, &item.path, e))?;
    Ok((stamp(source, item, &file)? == item.stamp).then_some(found))
}

/// Takes a file that does not stand still as it is; none when it is gone.
fn take(source: &Source<'_>, item: &Item) -> Result<Option<Digest>, Stop> {
    let path = &item.path;
    match open(source, item)? {
        Some(file) => {
            let taken = source.moving.take(path, &file);
            Ok(Some(taken.map_err(|f| f.context(format!("cannot read `{}`", walk::show(&source.path, path))))?))
        }
        None if !source.last => Err(Stop::Vanished),
        None if source.on_disk.is_some() => {
            Err(not_found(&source.path.join(OsStr::from_bytes(path)), io::ErrorKind::NotFound.into()).into())
        }
        None => {
            source.moving.gone(path);
            Ok(None)
        }
    }
}

/// What is to be in a snapshot.
struct Listed<'a> {
    items: &'a [Item],
    digests: &'a [Option<Digest>],
    /// For each further name of a file, where its first one is listed.
    links: &'a HashMap<usize, usize>,
}

impl<'a> Listed<'a> {
    /// What is to be written of the item at a place.
    fn entry(&self, at: usize) -> New<'a> {
        let link = self.links.get(&at).map(|first| self.items[*first].path.as_slice());
        New { item: &self.items[at], digest: self.digests[at], link }
    }
}

/// What is to be written.
struct New<'a> {
    item: &'a Item,
    /// Of a file.
    digest: Option<Digest>,
    /// The path of the file that it is a further name of.
    link: Option<&'a [u8]>,
}

/// A few changes make a layer on top of the last whole copy; else everything is copied.
fn build(link: &HostLink, source: &Source<'_>, listed: &Listed<'_>, key: &Digest) -> Result<Snapshot, Stop> {
    let base = Base::load(&*link.index, key).filter(|base| link.snapshots.touch_if_present(&base.snapshot));
    let told = links::told(listed.items, listed.digests, listed.links);
    let changes = base.and_then(|base| Some((base.changes(listed.items, &told)?, base.snapshot)));
    if let Some((changes, base)) = changes {
        return written(link, &source.path, &base, |tree| change(tree, source, listed, &changes));
    }
    let snapshot = written(link, &source.path, &Snapshot::empty(), |tree| fill(tree, source, listed))?;
    // A single file is copied as fast as it is compared.
    if source.on_disk.is_none() {
        Base::store(&*link.index, key, &snapshot, listed.items, &told)?;
    }
    Ok(snapshot)
}

fn written(
    link: &HostLink,
    path: &Path,
    base: &Snapshot,
    write: impl FnOnce(&WorkTree) -> Result<(), Stop>,
) -> Result<Snapshot, Stop> {
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
fn change(tree: &WorkTree, source: &Source<'_>, listed: &Listed<'_>, changes: &Changes) -> Result<(), Stop> {
    let stored = |path: &[u8], e: Errno| Stop::from(walk::failed("store", &source.path, path, e.into()));
    for (path, is_dir) in &changes.removed {
        let flags = if *is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&tree.root, path.as_slice(), flags).map_err(|e| stored(path, e))?;
    }
    let added: Vec<New<'_>> = changes.added.iter().map(|place| listed.entry(*place)).collect();
    put(&tree.root, source, &added)?;
    // ORDER: what is below a directory first, because that changes its times.
    for place in changes.modes.iter().chain(changes.touched.iter().rev()) {
        finish(&tree.root, &listed.items[*place]).map_err(|e| stored(&listed.items[*place].path, e))?;
    }
    Ok(())
}

fn fill(tree: &WorkTree, source: &Source<'_>, listed: &Listed<'_>) -> Result<(), Stop> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target =
        rustix::fs::open(&tree.upper, flags, Mode::empty()).attempt(|| format!("open `{}`", tree.upper.display()))?;
    let all: Vec<New<'_>> = (0..listed.items.len()).map(|at| listed.entry(at)).collect();
    put(&target, source, &all)
}

/// Writes `items` below `target`, in the order of a walk.
fn put(target: &OwnedFd, source: &Source<'_>, items: &[New<'_>]) -> Result<(), Stop> {
    let stored = |item: &Item, e: Errno| Stop::from(walk::failed("store", &source.path, &item.path, e.into()));
    for New { item, .. } in items {
        match &item.kind {
            Kind::Dir => rustix::fs::mkdirat(target, item.path.as_slice(), Mode::from_raw_mode(0o700)),
            Kind::Link(link) => rustix::fs::symlinkat(link.as_slice(), target, item.path.as_slice()),
            Kind::File => Ok(()),
        }
        .map_err(|e| stored(item, e))?;
    }
    let files = items.par_iter().map(|new| match new.digest.filter(|_| new.link.is_none()) {
        Some(digest) => store_file(target, source, new.item, digest),
        None => Ok(true),
    });
    if !files.try_reduce(|| true, |one, other| Ok(one && other))? {
        return Err(Stop::Taken);
    }
    for New { item, link, .. } in items {
        if let Some(first) = link {
            let linked = rustix::fs::linkat(target, *first, target, item.path.as_slice(), AtFlags::empty());
            linked.map_err(|e| stored(item, e))?;
        }
    }
    for New { item, .. } in items.iter().rev() {
        if item.kind != Kind::File {
            finish(target, item).map_err(|e| stored(item, e))?;
        }
    }
    Ok(())
}

/// Gives a directory its permissions and its times, a link its times.
fn finish(target: &OwnedFd, item: &Item) -> Result<(), Errno> {
    if item.kind == Kind::Dir {
        let mode = Mode::from_raw_mode(item.stamp.mode & 0o7777);
        rustix::fs::chmodat(target, item.path.as_slice(), mode, AtFlags::empty())?;
    }
    let times = copy::times(item.stamp.mtime);
    rustix::fs::utimensat(target, item.path.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Stores what was hashed. False: it is something else by now, and was taken as it is.
fn store_file(target: &OwnedFd, source: &Source<'_>, item: &Item, digest: Digest) -> Result<bool, Stop> {
    let failed = |e| walk::failed("store", &source.path, &item.path, e);
    if let Some(copy) = source.moving.copy_of(&item.path).map_err(failed)? {
        write_file(target, item, &copy).map_err(failed)?;
        return Ok(true);
    }
    let stored = unmoved(source, item, "store", |from| {
        let mut to = write_file(target, item, from)?;
        // A file this young may have been written between reading and copying, with the same stamp.
        Ok(cache::is_settled(&item.stamp, source.moment) || {
            io::Seek::rewind(&mut to)?;
            copy::digest(&to, item.stamp.size)? == digest
        })
    })?;
    if stored == Some(true) {
        return Ok(true);
    }
    take(source, item).map(|_| false)
}

/// Makes the file of `item` with the content of `from`.
fn write_file(target: &OwnedFd, item: &Item, from: &File) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = rustix::fs::openat(target.as_fd(), item.path.as_slice(), flags, Mode::from_raw_mode(0o600))?;
    let to = File::from(to);
    copy::content(from, &to)?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(item.stamp.mode & 0o7777))?;
    rustix::fs::futimens(&to, &copy::times(item.stamp.mtime))?;
    Ok(to)
}
