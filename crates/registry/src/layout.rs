//! OCI image layouts: reads the folders that are used as mirrors, and writes such folders.
//!
//! In a mirror, an image is found by the annotation `org.opencontainers.image.ref.name` or
//! `io.containerd.image.name`, also in nested indexes. Several entries may have the same name, for
//! different platforms. A layout that is written has one entry per name in `index.json`: a
//! manifest, or an index if there are several platforms. Functions here block the calling thread.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use rondel_ports::images::MediaTypes;
use rondel_ports::snapshots::{Compression, LayerBlob};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::manifest::{self, MAX_MANIFEST, ManifestOrIndex};
use crate::platforms;

/// The annotation that names an image in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation of containerd and Docker with the full name.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
const MAX_DEPTH: usize = 4;
const ZSTD_LEVEL: i32 = 6;

/// A layout folder.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// When there is none at `path`, or one of another version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
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

    /// Opens a layout, made empty when there is none.
    ///
    /// # Errors
    /// When the folder cannot be written or holds something else.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).attempt(|| format!("make `{}`", blobs.display()))?;
        let layout = Self { path };
        if !layout.path.join("index.json").exists() {
            layout.replace("index.json", &manifest::write_index(Vec::new(), MediaTypes::Oci)?.bytes)?;
        }
        if !layout.path.join("oci-layout").exists() {
            layout.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Self::open(layout.path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an image of one platform under `reference`, instead of the one that was there for that
    /// platform, and gives the digest of its manifest. `layers` are tar files, lowest first, with
    /// how they are to be packed. The configuration gets the platform and the layers filled in.
    /// Equal input gives equal digests.
    ///
    /// # Errors
    /// When a tar cannot be read, the configuration is no JSON object, or the folder cannot be
    /// written.
    pub fn add(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        config: &[u8],
        layers: &[(PathBuf, Compression)],
    ) -> Result<Sha256Digest> {
        let layers = layers.iter().map(|(tar, packing)| self.add_layer(tar, *packing)).collect::<Result<Vec<_>>>()?;
        let config = complete(config, platform, &layers)?;
        self.put(&config)?;
        let layers: Vec<&LayerBlob> = layers.iter().collect();
        let manifest = manifest::write_manifest(&config, &layers, &[], MediaTypes::Oci)?;
        self.put(&manifest.bytes)?;
        self.name(reference, manifest::for_platform(manifest.descriptor, platform))?;
        Ok(manifest.digest)
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

    fn add_layer(&self, tar: &Path, packing: Compression) -> Result<LayerBlob> {
        let attempted = || format!("pack the layer `{}`", tar.display());
        let mut source = BufReader::with_capacity(1 << 18, File::open(tar).attempt(attempted)?);
        let file = tempfile::NamedTempFile::new_in(self.path.join("blobs/sha256")).attempt(attempted)?;
        let out = Hashing::new(BufWriter::with_capacity(1 << 18, file));
        let (diff_id, out) = pack(&mut source, out, packing).attempt(attempted)?;
        let (out, digest, size) = out.finish();
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).attempt(attempted)?;
        keep(file, &self.blob_path(digest))?;
        let media_type = match packing {
            Compression::None => MediaType::ImageLayer,
            Compression::Gzip => MediaType::ImageLayerGzip,
            Compression::Zstd => MediaType::ImageLayerZstd,
        };
        Ok(LayerBlob { digest, size, diff_id, media_type: media_type.to_string() })
    }

    fn put(&self, bytes: &[u8]) -> Result<()> {
        let path = self.blob_path(Sha256Digest::of_bytes(bytes));
        let name = path.strip_prefix(&self.path).unwrap_or(&path).to_owned();
        self.replace(name, bytes)
    }

    fn replace(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let attempted = || format!("write `{}`", path.display());
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.path)).attempt(attempted)?;
        file.write_all(bytes).attempt(attempted)?;
        keep(file, &path)
    }

    /// Lets `reference` stand for `added`, beside the other platforms it stands for.
    fn name(&self, reference: &ImageRef, added: Descriptor) -> Result<()> {
        let lock = File::open(self.path.join("oci-layout")).attempt(|| format!("lock `{}`", self.path.display()))?;
        lock.lock().attempt(|| format!("lock `{}`", self.path.display()))?;
        let name = reference.to_string();
        let index = self.index()?;
        let (old, mut entries): (Vec<_>, Vec<_>) =
            index.manifests().iter().cloned().partition(|d| annotation(d, REF_NAME) == Some(name.as_str()));
        let mut images = Vec::new();
        for descriptor in old {
            if manifest::is_index(descriptor.media_type().as_ref()) {
                images.extend(self.below(&[descriptor])?);
            } else {
                images.push(descriptor);
            }
        }
        images.retain(|d| platforms::of(d) != platforms::of(&added));
        images.push(added);
        images.iter_mut().for_each(|d| {
            d.set_annotations(None);
        });
        images.sort_by_key(|d| platforms::of(d).flatten().map(|p| p.to_string()));
        let mut entry = match images.as_slice() {
            [one] => one.clone(),
            _ => {
                let index = manifest::write_index(images, MediaTypes::Oci)?;
                self.put(&index.bytes)?;
                index.descriptor
            }
        };
        entry.set_annotations(Some([(REF_NAME.to_owned(), name)].into()));
        entries.push(entry);
        entries.sort_by(|a, b| annotation(a, REF_NAME).cmp(&annotation(b, REF_NAME)));
        self.replace("index.json", &manifest::write_index(entries, MediaTypes::Oci)?.bytes)
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

fn complete(config: &[u8], platform: &Platform, layers: &[LayerBlob]) -> Result<Vec<u8>> {
    let mut config: Value =
        serde_json::from_slice(config).map_err(|e| Fault::user("the image configuration is no JSON").caused_by(e))?;
    let object = config.as_object_mut().ok_or_else(|| Fault::user("the image configuration is no JSON object"))?;
    object.insert("os".into(), json!(platform.os));
    object.insert("architecture".into(), json!(platform.architecture));
    if !platform.variant.is_empty() {
        object.insert("variant".into(), json!(platform.variant));
    }
    let diff_ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
    object.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    manifest::canonical(&config)
}

/// Packs `source` and gives the digest of what was read.
fn pack<W: Write>(
    source: &mut impl Read,
    out: Hashing<W>,
    packing: Compression,
) -> io::Result<(Sha256Digest, Hashing<W>)> {
    let mut source = HashingReader::new(source);
    let mut out = match packing {
        Compression::None => {
            let mut out = out;
            io::copy(&mut source, &mut out)?;
            out
        }
        Compression::Gzip => {
            let mut encoder = flate2::GzBuilder::new().mtime(0).write(out, flate2::Compression::default());
            io::copy(&mut source, &mut encoder)?;
            encoder.finish()?
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
            io::copy(&mut source, &mut encoder)?;
            encoder.finish()?
        }
    };
    out.flush()?;
    Ok((source.finish().0, out))
}

fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let attempted = || format!("write `{}`", path.display());
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).attempt(attempted)?;
    file.persist(path).map_err(|e| e.error).attempt(attempted)?;
    Ok(())
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

/// A writer that knows the digest and the size of what went through.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: sha2::Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: sha2::Sha256::new(), size: 0 }
    }

    pub(crate) fn finish(self) -> (W, Sha256Digest, u64) {
        (self.inner, Sha256Digest::from_bytes(self.hash.finalize().into()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
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
