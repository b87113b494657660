//! OCI image layouts: reads the folders that are used as mirrors.
//!
//! An image is found by the annotation `org.opencontainers.image.ref.name` or
//! `io.containerd.image.name`, also in nested indexes. Several entries may have the same name, for
//! different platforms. Functions here block the calling thread.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::image::ImageRef;
use serde_json::Value;
use sha2::Digest as _;

use crate::manifest::{self, MAX_MANIFEST, ManifestOrIndex};

/// The annotation that names an image in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation of containerd and Docker with the full name.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
const MAX_DEPTH: usize = 4;

/// A layout folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// When there is none at `path`, or one of another version.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let marker = path.join("oci-layout");
        let text = read_bounded(&marker, MAX_MANIFEST)?.ok_or_else(|| {
            Fault::user(format!("`{}` is no OCI layout: it has no file `oci-layout`", path.display()))
        })?;
        let version = serde_json::from_slice::<Value>(&text)
            .ok()
            .and_then(|v| Some(v.get("imageLayoutVersion")?.as_str()?.to_owned()));
        match version {
            Some(version) if version.starts_with("1.") => Ok(Self { path }),
            Some(version) => {
                Err(Fault::user(format!("`{}` is an OCI layout of the unknown version `{version}`", path.display())))
            }
            None => Err(Fault::user(format!("`{}` does not tell the version of the layout", marker.display()))),
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a blob, whether it exists or not.
    pub(crate) fn blob_path(&self, digest: Sha256Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// The bytes of a small blob, verified; `None` when there is none.
    pub(crate) fn read(&self, digest: Sha256Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.blob_path(digest);
        let Some(bytes) = read_bounded(&path, limit)? else {
            return Ok(None);
        };
        let got = Sha256Digest::of_bytes(&bytes);
        if got == digest {
            Ok(Some(bytes))
        } else {
            Err(Fault::environment(format!("the blob `{}` is damaged: its digest is `{got}`", path.display())))
        }
    }

    /// The descriptors that `reference` stands for: one, or several for different platforms.
    /// `tag_alone` says that an entry named by nothing but a tag means this repository.
    pub(crate) fn find(&self, reference: &ImageRef, tag_alone: bool) -> Result<Vec<Descriptor>> {
        let mut level = self.index()?.manifests().clone();
        if let Some(digest) = reference.digest {
            return self.pinned(digest, &level);
        }
        for _ in 0..MAX_DEPTH {
            let named: Vec<Descriptor> = level.iter().filter(|d| is_named(d, reference, tag_alone)).cloned().collect();
            if !named.is_empty() {
                return Ok(named);
            }
            level = self.below(&level)?;
        }
        Ok(Vec::new())
    }

    fn pinned(&self, digest: Sha256Digest, entries: &[Descriptor]) -> Result<Vec<Descriptor>> {
        let listed = entries.iter().find(|d| manifest::digest_of(d).is_ok_and(|d| d == digest));
        if let Some(found) = listed {
            return Ok(vec![found.clone()]);
        }
        let size = match fs::metadata(self.blob_path(digest)) {
            Ok(data) if data.len() <= MAX_MANIFEST => data.len(),
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Descriptor::new(MediaType::ImageManifest, size, manifest::spec_digest(digest)?)])
    }

    fn below(&self, level: &[Descriptor]) -> Result<Vec<Descriptor>> {
        let mut all = Vec::new();
        for descriptor in level.iter().filter(|d| manifest::is_index(d.media_type().as_ref())) {
            let digest = manifest::digest_of(descriptor)?;
            let Some(bytes) = self.read(digest, MAX_MANIFEST)? else {
                continue;
            };
            if let ManifestOrIndex::Index(index) = ManifestOrIndex::parse(&bytes, None, &format!("`{digest}`"))? {
                all.extend(index.manifests().iter().cloned());
            }
        }
        Ok(all)
    }

    fn index(&self) -> Result<ImageIndex> {
        let path = self.path.join("index.json");
        let what = format!("`{}`", path.display());
        let bytes = read_bounded(&path, MAX_MANIFEST)?.ok_or_else(|| Fault::user(format!("{what} is missing")))?;
        serde_json::from_slice(&bytes).map_err(|e| Fault::user(format!("{what} is no valid index")).caused_by(e))
    }
}

/// An annotation of a descriptor.
pub(crate) fn annotation<'d>(descriptor: &'d Descriptor, key: &str) -> Option<&'d str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

fn is_named(descriptor: &Descriptor, reference: &ImageRef, tag_alone: bool) -> bool {
    let tag = reference.tag.as_deref().unwrap_or("latest");
    [REF_NAME, IMAGE_NAME].iter().filter_map(|key| annotation(descriptor, key)).any(|name| {
        let bare_tag = !name.contains([':', '/', '@']);
        if bare_tag && name == tag && tag_alone {
            return true;
        }
        // A lone word is a tag; only with a repository or a tag behind it, it is a name.
        !bare_tag
            && name
                .parse::<ImageRef>()
                .is_ok_and(|found| found.name() == reference.name() && found.tag.as_deref().unwrap_or("latest") == tag)
    })
}

/// The content of a file of at most `limit` bytes; `None` when there is none.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let attempted = || format!("read `{}`", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).attempt(attempted),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).attempt(attempted)?;
    if bytes.len() as u64 > limit {
        return Err(Fault::user(format!("`{}` is larger than {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// A reader that knows the digest and the size of what went through.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: sha2::Sha256,
    size: u64,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, hash: sha2::Sha256::new(), size: 0 }
    }

    pub(crate) fn finish(self) -> (Sha256Digest, u64) {
        (Sha256Digest::from_bytes(self.hash.finalize().into()), self.size)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
