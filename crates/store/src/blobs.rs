//! Blobs by SHA-256 digest, and which layers they were packed from.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::{Attempt, Fault, Result, lock};
use rondel_model::LayerId;
use rondel_ports::snapshots::Compression;
use sha2::Digest as _;

use crate::last_used::LastUsed;
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::sys;

/// A reader or writer that computes the digest and the number of the bytes that pass through.
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: sha2::Sha256,
    size: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), size: 0 }
    }

    /// Returns the inner value, the digest and the number of bytes.
    pub(crate) fn finish(self) -> (T, Sha256Digest, u64) {
        (self.inner, Sha256Digest::from_bytes(self.hasher.finalize().into()), self.size)
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.note(&buffer[..read]);
        Ok(read)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.note(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The path of the blob `digest`, whether it exists or not.
pub(crate) fn path_of(store: &Store, digest: &Sha256Digest) -> PathBuf {
    store.state.path("blobs/sha256").join(digest.hex())
}

/// The path of the blob `digest`, or `None` if it is not in the store. A blob whose size differs
/// from the recorded one is quarantined. A blob of unknown size, or one that is suspect after an
/// unclean shutdown, is re-hashed first.
pub(crate) fn find(store: &Store, digest: &Sha256Digest) -> Option<PathBuf> {
    let mut used = lock(&store.blobs_used);
    let path = path_of(store, digest);
    let meta = fs::symlink_metadata(&path).ok()?;
    let kept: Option<u64> = store.get_fact(IndexTable::Blobs, &key_of_blob(digest));
    let problem = if !meta.is_file() {
        Some("is no file".to_owned())
    } else if let Some(kept) = kept.filter(|kept| *kept != meta.len()) {
        Some(format!("has {} bytes instead of {kept}", meta.len()))
    } else if kept.is_none() || store.state.suspects.is_blob_suspect(digest) {
        // A blob that cannot be read now is a miss now.
        let found = digest_on_disk(store, digest).ok()?;
        (found != *digest).then(|| format!("has content with the digest `{found}`"))
    } else {
        None
    };
    if let Some(problem) = problem {
        used.remove(digest);
        store.quarantine(&path, &format!("the blob `{digest}` {problem}"));
        return None;
    }
    if kept.is_none() {
        note_size(store, digest, meta.len());
    }
    store.state.suspects.mark_blob_verified(digest);
    used.entry(*digest).or_insert_with(|| LastUsed::from_mtime(&path)).touch();
    Some(path)
}

/// Records the size of an intact blob. If that fails, the blob is re-hashed once more.
fn note_size(store: &Store, digest: &Sha256Digest, size: u64) {
    let _ = store.put_fact(IndexTable::Blobs, &key_of_blob(digest), &size);
}

/// The index key of the size of a blob.
pub(crate) fn key_of_blob(digest: &Sha256Digest) -> Digest {
    rondel_digest::of("store/blob/v1", digest)
}

/// Stores `content`, which must have the digest `digest`.
pub(crate) fn put(store: &Store, digest: &Sha256Digest, content: &mut dyn Read) -> Result<PathBuf> {
    if let Some(path) = find(store, digest) {
        return Ok(path);
    }
    let path = path_of(store, digest);
    with_scratch(store, |scratch| {
        let temp = scratch.join("blob");
        let mut writer = Hashing::new(File::create_new(&temp).attempt(|| format!("make `{}`", temp.display()))?);
        io::copy(content, &mut writer).attempt(|| format!("keep the blob `{digest}`"))?;
        let (_, found, size) = writer.finish();
        if found != *digest {
            return Err(Fault::environment(format!(
                "cannot keep the blob `{digest}`: its content has the digest `{found}`"
            )));
        }
        adopt(store, &temp, digest, size)
    })?;
    Ok(path)
}

/// Stores the verified file `source` as the blob `digest`. A file in a scratch directory of the
/// store, where finished files are not written to, is hard-linked. Other files are copied.
pub(crate) fn keep(store: &Store, source: &Path, digest: &Sha256Digest) -> Result<PathBuf> {
    if let Some(path) = find(store, digest) {
        return Ok(path);
    }
    let path = path_of(store, digest);
    let own =
        source.starts_with(store.state.path("scratch")) && fs::symlink_metadata(source).is_ok_and(|it| it.is_file());
    if own && fs::hard_link(source, &path).is_ok() {
        let size = fs::metadata(&path).attempt(|| format!("keep the blob `{digest}`"))?.len();
        note_size(store, digest, size);
        return Ok(path);
    }
    with_scratch(store, |scratch| {
        let temp = scratch.join("blob");
        let copy = || -> io::Result<u64> { sys::copy_bytes(&File::open(source)?, &File::create_new(&temp)?) };
        let size = copy().attempt(|| format!("keep the blob `{digest}`"))?;
        adopt(store, &temp, digest, size)
    })?;
    Ok(path)
}

/// Moves the finished file `temp` of `size` bytes into place as the blob `digest`.
pub(crate) fn adopt(store: &Store, temp: &Path, digest: &Sha256Digest, size: u64) -> Result<()> {
    let path = path_of(store, digest);
    fs::rename(temp, &path).attempt(|| format!("keep `{}`", path.display()))?;
    note_size(store, digest, size);
    Ok(())
}

/// Runs `work` with a scratch directory that is removed afterwards.
pub(crate) fn with_scratch<T>(store: &Store, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let scratch = store.state.scratch_dir()?;
    let result = work(&scratch);
    let removed = sys::remove_tree(&scratch).attempt(|| format!("remove `{}`", scratch.display()));
    let value = result?;
    removed.map(|()| value)
}

/// The index key of the layer with a `diff_id`.
pub(crate) fn key_of_diff(diff_id: &Sha256Digest) -> Digest {
    rondel_digest::of("store/diff/v1", diff_id)
}

/// The index key of the blob that a layer was packed into.
pub(crate) fn key_of_packed(layer: &LayerId, compression: Compression) -> Digest {
    rondel_digest::of("store/packed/v2", &(layer, compression.suffix()))
}

/// Computes the digest of the blob's content on disk.
pub(crate) fn digest_on_disk(store: &Store, blob: &Sha256Digest) -> Result<Sha256Digest> {
    let failed = || format!("read the blob `{blob}`");
    let mut reader = Hashing::new(File::open(path_of(store, blob)).attempt(failed)?);
    io::copy(&mut reader, &mut io::sink()).attempt(failed)?;
    Ok(reader.finish().1)
}

/// Lists the blobs on disk.
pub(crate) fn list(store: &Store) -> Result<Vec<Sha256Digest>> {
    let names = store.state.names("blobs/sha256")?;
    Ok(names.iter().filter_map(|name| format!("sha256:{name}").parse().ok()).collect())
}
