//! Files that change while a directory is imported: each is copied once, and the copy is hashed and
//! stored.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use rondel_digest::Digest;
use rondel_fault::{Attempt as _, Result, lock};
use rondel_ports::dirs::{TempDir, TempDirs};

use crate::copy_file;
use crate::walk::{FileStat, WalkEntry};

/// How often a file is copied in the hope that it does not change meanwhile. The last copy is used
/// as it is.
const TRIES: usize = 2;

/// The copies of one import.
pub(crate) struct UnstableFiles<'a> {
    temp_dirs: &'a dyn TempDirs,
    state: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    folder: Option<TempDir>,
    files: HashMap<Vec<u8>, UnstableFile>,
}

#[derive(Clone, Copy)]
enum UnstableFile {
    /// Copied: the digest of the copy, and the stat when the copy began.
    Copied(Digest, FileStat),
    /// The file was removed.
    Gone,
}

impl<'a> UnstableFiles<'a> {
    /// No copies yet. They will be made in a directory of `temp_dirs`.
    pub(crate) fn new(temp_dirs: &'a dyn TempDirs) -> Self {
        Self { temp_dirs, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Copies> {
        lock(&self.state)
    }

    /// Copies `file`, which is at `path`, up to its present size.
    pub(crate) fn take(&self, path: &[u8], file: &File) -> Result<Digest> {
        let name = Digest::of_bytes(path).hex();
        let place = match &mut self.state().folder {
            Some(folder) => folder.path().join(name),
            none => none.insert(self.temp_dirs.temp_dir()?).path().join(name),
        };
        let (digest, stamp) = copied(file, &place).attempt(|| "copy a file that changes".into())?;
        self.state().files.insert(path.to_vec(), UnstableFile::Copied(digest, stamp));
        Ok(digest)
    }

    /// Records that the file at `path` was removed.
    pub(crate) fn gone(&self, path: &[u8]) {
        self.state().files.insert(path.to_vec(), UnstableFile::Gone);
    }

    /// Returns whether the file at `path` was copied or removed.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.state().files.contains_key(path)
    }

    /// Opens the copy of the file at `path`, if there is one.
    pub(crate) fn copy_of(&self, path: &[u8]) -> io::Result<Option<File>> {
        let place = match (&*self.state(), Digest::of_bytes(path).hex()) {
            (Copies { folder: Some(folder), files }, name) if files.contains_key(path) => folder.path().join(name),
            _ => return Ok(None),
        };
        File::open(place).map(Some)
    }

    /// Replaces the entries of a listing by what was copied or removed.
    pub(crate) fn correct(&self, items: &mut Vec<WalkEntry>, digests: &mut Vec<Option<Digest>>) {
        let state = self.state();
        if state.files.is_empty() {
            return;
        }
        let listed = std::mem::take(items).into_iter().zip(std::mem::take(digests));
        let corrected = listed.filter_map(|(item, digest)| match state.files.get(&item.path) {
            None => Some((item, digest)),
            Some(UnstableFile::Copied(digest, stamp)) => {
                Some((WalkEntry { stamp: *stamp, shared: None, ..item }, Some(*digest)))
            }
            Some(UnstableFile::Gone) => None,
        });
        (*items, *digests) = corrected.unzip();
    }
}

fn copied(mut file: &File, place: &PathBuf) -> io::Result<(Digest, FileStat)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let stamp = FileStat::of(&rustix::fs::fstat(file)?);
        let mut copy = File::options().read(true).write(true).create(true).truncate(true).open(place)?;
        file.rewind()?;
        copy_file::at_most(file, &copy, stamp.size)?;
        if tries == TRIES || FileStat::of(&rustix::fs::fstat(file)?) == stamp {
            copy.rewind()?;
            return Ok((copy_file::digest(&copy, stamp.size, |_| ())?, stamp));
        }
    }
}
