//! Hard links instead of copies: a file of an existing layer gets a further name in a new layer.
//!
//! Layers never change, so several layers may share a file. The link is made in the upper directory
//! of the new layer's overlay, behind the overlay's back, and the overlay must not look the name up
//! afterwards. A file that cannot be linked is copied. The resulting layer is the same in both
//! cases.

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

/// Files with more hard links are copied. File systems limit the number; ext4 allows 65,000.
const MAX_LINKS: u64 = 60_000;

/// The temporary name of a link that replaces a whiteout. A source file with this name is copied.
const TEMP_NAME: &str = ".rondel-lent";

/// The layers of a source tree, from which one new layer links files.
pub(crate) struct LinkSource {
    layers: Vec<SourceLayer>,
    upper: OwnedFd,
    /// Two directories of the source go to one target directory, so the overlay would look up
    /// linked names. The copy has to run again without links.
    must_copy: Cell<bool>,
}

struct SourceLayer {
    id: LayerId,
    root: OwnedFd,
    has_hardlinks: bool,
    used: Cell<bool>,
}

/// Where a copy comes from: the link source, and the path of a source directory without symlinks.
pub(crate) type LinkOrigin<'a> = Option<(&'a LinkSource, &'a Path)>;

/// One directory, opened in each source layer that has it, the uppermost first, and in the new
/// layer.
pub(crate) struct LinkDir<'a> {
    link_source: &'a LinkSource,
    from: Vec<(usize, OwnedFd)>,
    to: OwnedFd,
    /// No lower layer has this directory, so no name in it has to be replaced.
    fresh: bool,
}

impl LinkSource {
    /// Opens the layers of `source`. `None` if its files have to be copied.
    pub(crate) fn new(store: &dyn Snapshots, source: &Snapshot, tree: &WorkTree) -> Option<Self> {
        let layers = store.linkable_layers(source, &tree.base)?;
        let layer = |LinkableLayer { layer, root, has_hardlinks }| SourceLayer {
            id: layer,
            root,
            has_hardlinks,
            used: Cell::new(false),
        };
        let layers = layers.into_iter().map(layer).collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = rustix::fs::open(&tree.upper, flags, Mode::empty()).ok()?;
        Some(Self { layers, upper, must_copy: Cell::new(false) })
    }

    /// The layers from which files were linked.
    pub(crate) fn linked_layers(&self) -> Vec<LayerId> {
        self.layers.iter().filter(|layer| layer.used.get()).map(|layer| layer.id).collect()
    }

    /// Whether the copy has to run again without links.
    pub(crate) fn must_copy(&self) -> bool {
        self.must_copy.get()
    }

    /// Opens the directory `from` of the source, and `to` of the new layer, which is open as
    /// `target`. Both paths are without symlinks.
    pub(crate) fn at(&self, from: &Path, to: &Path, target: BorrowedFd<'_>) -> Option<LinkDir<'_>> {
        let layers = self.layers.iter().enumerate();
        let from: Vec<_> = layers.filter_map(|(at, layer)| Some((at, open(&layer.root, from).ok()?))).collect();
        let to = in_upper(target, || open(&self.upper, to))?;
        Some(LinkDir { link_source: self, from, to, fresh: false })
    }
}

impl<'a> LinkDir<'a> {
    /// Opens the directory `name` in this one, which is open as `target`. `fresh`: it was just
    /// made.
    pub(crate) fn below(&self, name: &OsStr, target: BorrowedFd<'_>, fresh: bool) -> Option<LinkDir<'a>> {
        let from = self.from.iter().filter_map(|(at, dir)| Some((*at, open_dir_at(dir.as_fd(), name).ok()?))).collect();
        let to = in_upper(target, || open_dir_at(self.to.as_fd(), name))?;
        Some(LinkDir { link_source: self.link_source, from, to, fresh })
    }

    /// Gives up linking for the whole copy: a symlink of the target leads to a directory that may
    /// receive linked names, too.
    pub(crate) fn abandon(&self) -> Fault {
        self.link_source.must_copy.set(true);
        Fault::bug("a copy through a symbolic link was not made anew")
    }

    /// Whether names can be made here without removing anything first.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Links the file `name` of the source, which has the status `stat`, as `new`. Returns whether
    /// that was possible. If not, nothing has changed.
    pub(crate) fn link(&self, name: &OsStr, new: &OsStr, stat: &Stat) -> bool {
        for (at, dir) in &self.from {
            // An overlay reports the inode number that the file has in its layer.
            let is_it = |found: &Stat| kind(found) == FileType::RegularFile && found.st_ino == stat.st_ino;
            if !stat_at(dir.as_fd(), name).ok().flatten().is_some_and(|found| is_it(&found)) {
                continue;
            }
            if self.link_source.layers[*at].has_hardlinks && stat.st_nlink > 1 {
                return false;
            }
            let taken = match rustix::fs::linkat(dir, name, &self.to, new, AtFlags::empty()) {
                // Removing through the overlay leaves a whiteout if a lower layer has the name.
                Err(Errno::EXIST) if !self.fresh => self.replace_whiteout(dir, name, new),
                other => other,
            };
            if taken.is_ok() {
                self.link_source.layers[*at].used.set(true);
            }
            return taken.is_ok();
        }
        false
    }

    /// ORDER: the whiteout is replaced by the link in one step. A file that cannot be linked is
    /// copied by the overlay, which needs the whiteout.
    fn replace_whiteout(&self, dir: &OwnedFd, name: &OsStr, new: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(dir, name, &self.to, TEMP_NAME, AtFlags::empty())?;
        rustix::fs::renameat(&self.to, TEMP_NAME, &self.to, new)
            .inspect_err(|_| _ = rustix::fs::unlinkat(&self.to, TEMP_NAME, AtFlags::empty()))
    }
}

/// Whether a file with the status `stat` can be linked at all.
pub(crate) fn is_linkable(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_nlink <= MAX_LINKS
}

fn open(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    Root(root.as_fd()).open_dir(path)
}

/// Opens a directory in the overlay's upper directory. The overlay creates it there with the first
/// change to the directory, so a change without effect is made first.
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
