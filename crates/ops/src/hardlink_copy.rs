//! Files of layers that get a further name in a new layer, instead of being copied.
//!
//! Layers never change, so a file may be in several. The name is made where the new layer's overlay collects changes, beside
//! the overlay, which must not be asked for it afterwards. Where a file cannot be link_dir, it is copied as ever: the layer is
//! the same one in both cases.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rondel_fault::Fault;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::snapshots::{LinkableLayer, Snapshots, WorkTree};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::root::{Root, kind, open_dir_at, permissions, stat_at};

/// Files with more names are copied: file systems have bounds, ext4 65,000.
const MAX_NAMES: u64 = 60_000;

/// The name that a file has for a moment; one that has it is copied.
const PASSING: &str = ".rondel-link_dir";

/// The layers of a source, for one layer that is being made.
pub(crate) struct LinkSource {
    layers: Vec<Layer>,
    upper: OwnedFd,
    /// Two directories of the source go to one directory, so that the overlay would be asked for link_dir names.
    crossed: Cell<bool>,
}

struct Layer {
    id: LayerId,
    root: OwnedFd,
    has_hardlinks: bool,
    used: Cell<bool>,
}

/// Where a copy comes from, for a link_source: the link_source, and the path of a directory of the source, without links.
pub(crate) type LinkOrigin<'a> = Option<(&'a LinkSource, &'a Path)>;

/// One directory: in each layer of the source that has it, highest first, and in the layer that is being made.
pub(crate) struct LinkDir<'a> {
    link_source: &'a LinkSource,
    from: Vec<(usize, OwnedFd)>,
    to: OwnedFd,
    /// Nothing below has this directory, so nothing in it has to be replaced.
    fresh: bool,
}

impl LinkSource {
    /// For files of `source`; none when they have to be copied.
    pub(crate) fn new(store: &dyn Snapshots, source: &Snapshot, tree: &WorkTree) -> Option<Self> {
        let layers = store.linkable_layers(source, &tree.base)?;
        let layer = |LinkableLayer { layer, root, has_hardlinks }| Layer {
            id: layer,
            root,
            has_hardlinks,
            used: Cell::new(false),
        };
        let layers = layers.into_iter().map(layer).collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::open(&tree.upper, flags, Mode::empty()).ok()?;
        Some(Self { layers, upper, crossed: Cell::new(false) })
    }

    /// The layers that link_dir something.
    pub(crate) fn linked_layers(&self) -> Vec<LayerId> {
        self.layers.iter().filter(|layer| layer.used.get()).map(|layer| layer.id).collect()
    }

    /// Whether the copy has to be made anew without lending.
    pub(crate) fn must_copy(&self) -> bool {
        self.crossed.get()
    }

    /// The directory `from` of the source, and the directory `to`, which is open as `target`; both paths without links.
    pub(crate) fn at(&self, from: &Path, to: &Path, target: BorrowedFd<'_>) -> Option<LinkDir<'_>> {
        let layers = self.layers.iter().enumerate();
        let from: Vec<_> = layers.filter_map(|(at, layer)| Some((at, open(&layer.root, from).ok()?))).collect();
        let to = in_upper(target, || open(&self.upper, to))?;
        Some(LinkDir { link_source: self, from, to, fresh: false })
    }
}

impl<'a> LinkDir<'a> {
    /// The directory `name` in this one, which is open as `target`; `fresh`: it was just made.
    pub(crate) fn below(&self, name: &OsStr, target: BorrowedFd<'_>, fresh: bool) -> Option<LinkDir<'a>> {
        let from = self.from.iter().filter_map(|(at, dir)| Some((*at, open_dir_at(dir.as_fd(), name).ok()?))).collect();
        let to = in_upper(target, || open_dir_at(self.to.as_fd(), name))?;
        Some(LinkDir { link_source: self.link_source, from, to, fresh })
    }

    /// Gives the whole copy up: a symbolic link of the target leads to a directory that may receive link_dir names, too.
    pub(crate) fn cross(&self) -> Fault {
        self.link_source.crossed.set(true);
        Fault::bug("a copy through a symbolic link was not made anew")
    }

    /// Whether nothing has to be removed before a name is made here.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Gives the file `name` of the source, which has the status `stat`, the further name `new`. Whether it was possible;
    /// where not, nothing has changed.
    pub(crate) fn take(&self, name: &OsStr, new: &OsStr, stat: &Stat) -> bool {
        for (at, dir) in &self.from {
            // The overlay tells the number that the file has in its layer.
            let is_it = |found: &Stat| kind(found) == FileType::RegularFile && found.st_ino == stat.st_ino;
            if !stat_at(dir.as_fd(), name).ok().flatten().is_some_and(|found| is_it(&found)) {
                continue;
            }
            if self.link_source.layers[*at].has_hardlinks && stat.st_nlink > 1 {
                return false;
            }
            let taken = match rustix::fs::linkat(dir, name, &self.to, new, AtFlags::empty()) {
                // What the overlay removed leaves a mark where a lower layer has the name.
                Err(Errno::EXIST) if !self.fresh => self.over_mark(dir, name, new),
                other => other,
            };
            if taken.is_ok() {
                self.link_source.layers[*at].used.set(true);
            }
            return taken.is_ok();
        }
        false
    }

    /// ORDER: the mark goes only when the file takes its place, since the overlay copies over it what cannot be link_dir.
    fn over_mark(&self, dir: &OwnedFd, name: &OsStr, new: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(dir, name, &self.to, PASSING, AtFlags::empty())?;
        rustix::fs::renameat(&self.to, PASSING, &self.to, new)
            .inspect_err(|_| _ = rustix::fs::unlinkat(&self.to, PASSING, AtFlags::empty()))
    }
}

/// Whether a file with the status `stat` can be link_dir at all.
pub(crate) fn is_linkable(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_nlink <= MAX_NAMES
}

fn open(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    Root(root.as_fd()).open_dir(path)
}

/// A directory where the overlay collects changes. The overlay takes it there with the first change to it.
fn in_upper(target: BorrowedFd<'_>, open: impl Fn() -> Result<OwnedFd, Errno>) -> Option<OwnedFd> {
    match open() {
        Err(Errno::NOENT) => {
            let stat = rustix::fs::fstat(target).ok()?;
            rustix::fs::fchmod(target, Mode::from_raw_mode(permissions(&stat))).ok()?;
            open().ok()
        }
        other => other.ok(),
    }
}
