//! Reading image archives: the OCI layout in a tar, and the form of `docker save`; packed or not.
//!
//! Nothing is written where the archive says: every file gets a name of ours, and its path is only
//! a key.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use rondel_ports::images::{MediaTypes, ResolvedImage};
use rondel_ports::snapshots::{Compression, LayerBlob};
use serde::Deserialize;

use crate::layout::{HashingReader, IMAGE_NAME, REF_NAME, annotation, read_bounded};
use crate::manifest::{self, ConfigFacts, MAX_CONFIG, MAX_MANIFEST, ManifestOrIndex};
use crate::platforms;
use crate::resolve::verbatim;

const MAX_ENTRIES: usize = 20_000;
const MAX_BYTES: u64 = 1 << 40;
const MAX_LINKS: usize = 8;
const MAX_MANIFESTS: usize = 256;

/// Reads the image of `tag` and `platform` from `archive`, with its layers' blobs under `scratch`.
/// Errors do not name the archive: what the user calls it, the caller knows.
pub(crate) fn read(
    archive: &Path,
    tag: &str,
    platform: &Platform,
    scratch: &Path,
) -> Result<(ResolvedImage, Vec<PathBuf>)> {
    let failed = |fault: Fault| fault.context("cannot read the image archive");
    let contents = ArchiveContents::unpack(archive, scratch).map_err(failed)?;
    let origin = format!("archive {}", archive.display());
    let image = if contents.find("index.json").is_some() {
        oci(&contents, tag, platform, origin)
    } else if contents.find("manifest.json").is_some() {
        docker(&contents, tag, platform, origin)
    } else {
        Err(Fault::user("it is no image archive: it has neither an `index.json` nor a `manifest.json`"))
    };
    image.map_err(failed)
}

/// A file of the archive, somewhere under the scratch folder.
struct ArchiveFile {
    file: PathBuf,
    digest: Sha256Digest,
    size: u64,
}

/// All files of the archive by path, and its links.
struct ArchiveContents {
    files: HashMap<String, ArchiveFile>,
    links: HashMap<String, String>,
}

impl ArchiveContents {
    fn unpack(archive: &Path, scratch: &Path) -> Result<Self> {
        let file = File::open(archive).attempt(|| "open it".into())?;
        let mut tar = tar::Archive::new(unpacked(file)?);
        let mut contents = Self { files: HashMap::new(), links: HashMap::new() };
        let broken = |e: io::Error| Fault::user("it is damaged or no tar archive").caused_by(e);
        let mut left = MAX_BYTES;
        for (number, entry) in tar.entries().map_err(broken)?.enumerate() {
            let mut entry = entry.map_err(broken)?;
            if number >= MAX_ENTRIES {
                return Err(Fault::user(format!("it has more than {MAX_ENTRIES} entries")));
            }
            let path = safe(&entry.path().map_err(broken)?)?;
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                    let file = scratch.join(format!("file-{number}"));
                    let stored = store(&mut entry, file, left)?;
                    left -= stored.size;
                    contents.files.insert(path, stored);
                }
                kind @ (tar::EntryType::Symlink | tar::EntryType::Link) => {
                    let target = entry.link_name().map_err(broken)?.unwrap_or_default();
                    let base = if kind == tar::EntryType::Link {
                        Path::new("")
                    } else {
                        Path::new(&path).parent().unwrap_or(Path::new(""))
                    };
                    contents.links.insert(path.clone(), inside(base, &target, &path)?);
                }
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
                _ => {
                    return Err(Fault::user(format!("its entry `{path}` is neither a file nor a folder nor a link")));
                }
            }
        }
        Ok(contents)
    }

    fn find(&self, path: &str) -> Option<&ArchiveFile> {
        let mut path = path.strip_prefix("./").unwrap_or(path);
        for _ in 0..MAX_LINKS {
            if let Some(stored) = self.files.get(path) {
                return Some(stored);
            }
            path = self.links.get(path)?;
        }
        None
    }

    fn need(&self, path: &str) -> Result<&ArchiveFile> {
        self.find(path).ok_or_else(|| Fault::user(format!("it is incomplete: `{path}` is missing")))
    }

    fn bytes(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        read_bounded(&self.need(path)?.file, limit)?
            .ok_or_else(|| Fault::environment("the scratch folder has vanished"))
    }

    fn blob(&self, digest: Sha256Digest) -> Result<&ArchiveFile> {
        let stored = self.need(&format!("blobs/sha256/{}", digest.hex()))?;
        if stored.digest == digest {
            Ok(stored)
        } else {
            Err(Fault::user(format!("its blob `{digest}` is damaged: it has the digest `{}`", stored.digest)))
        }
    }

    fn blob_bytes(&self, digest: Sha256Digest, limit: u64) -> Result<Vec<u8>> {
        self.blob(digest)?;
        self.bytes(&format!("blobs/sha256/{}", digest.hex()), limit)
    }
}

/// The tar, whatever it is packed with.
fn unpacked(file: File) -> Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let start = io::BufRead::fill_buf(&mut file).attempt(|| "read its start".into())?;
    Ok(match Compression::detect(start) {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(file).attempt(|| "unpack it".into())?),
        Compression::None => Box::new(file),
    })
}

fn store(entry: &mut impl Read, file: PathBuf, left: u64) -> Result<ArchiveFile> {
    let attempted = || format!("unpack it to `{}`", file.display());
    let mut out = BufWriter::with_capacity(1 << 18, File::create(&file).attempt(attempted)?);
    let mut reader = HashingReader::new(entry.take(left + 1));
    io::copy(&mut reader, &mut out).attempt(attempted)?;
    out.flush().attempt(attempted)?;
    let (digest, size) = reader.finish();
    if size > left {
        return Err(Fault::user("its content is too large"));
    }
    Ok(ArchiveFile { file, digest, size })
}

/// The path as a key, if it stays inside.
fn safe(path: &Path) -> Result<String> {
    inside(Path::new(""), path, &path.to_string_lossy())
}

/// Where `path` leads, seen from `base`; `entry` names the entry in the error.
fn inside(base: &Path, path: &Path, entry: &str) -> Result<String> {
    let hostile = || Fault::user(format!("its entry `{entry}` leads out of the archive"));
    let mut parts: Vec<&str> = base.to_str().ok_or_else(hostile)?.split('/').filter(|p| !p.is_empty()).collect();
    let from_base = parts.len();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(hostile)?),
            Component::CurDir => {}
            // In a path only links may go up, and they no further than the root of the archive.
            Component::ParentDir if from_base > 0 && !parts.is_empty() => drop(parts.pop()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(hostile());
            }
        }
    }
    Ok(parts.join("/"))
}

fn oci(
    contents: &ArchiveContents,
    tag: &str,
    platform: &Platform,
    origin: String,
) -> Result<(ResolvedImage, Vec<PathBuf>)> {
    let index: ImageIndex = serde_json::from_slice(&contents.bytes("index.json", MAX_MANIFEST)?)
        .map_err(|e| Fault::user("its `index.json` is not valid").caused_by(e))?;
    let (entries, name) = tagged(index.manifests(), tag)?;
    let what = "the archive";
    let candidates = candidates(contents, &entries, what)?;
    let digest = *platforms::choose(&candidates, platform, false, what)?;
    let ManifestOrIndex::Manifest(manifest) =
        ManifestOrIndex::parse(&contents.blob_bytes(digest, MAX_MANIFEST)?, None, what)?
    else {
        return Err(Fault::user("it has an index where a manifest should be"));
    };
    let config = contents.blob_bytes(manifest::digest_of(manifest.config())?, MAX_CONFIG)?;
    let facts = ConfigFacts::parse(&config, what)?;
    let layers = manifest::layers(&manifest, &facts, what)?;
    let mut paths = Vec::new();
    for layer in &layers {
        let stored = contents.blob(layer.digest)?;
        if stored.size != layer.size {
            return Err(Fault::user(format!(
                "its layer `{}` has {} bytes instead of {}",
                layer.digest, stored.size, layer.size
            )));
        }
        paths.push(stored.file.clone());
    }
    let root = match entries.as_slice() {
        [one] => manifest::digest_of(one)?,
        _ => digest,
    };
    let image = ResolvedImage {
        reference: reference(name.as_deref(), tag).pinned(root),
        origin,
        manifest: digest,
        config: verbatim(config, what)?,
        platform: facts.platform(),
        layers,
    };
    Ok((image, paths))
}

/// The entries that `tag` stands for (empty: all of the only image), and the full name if they have
/// one.
fn tagged(entries: &[Descriptor], tag: &str) -> Result<(Vec<Descriptor>, Option<String>)> {
    let names = |d: &Descriptor| -> Vec<String> {
        [IMAGE_NAME, REF_NAME].iter().filter_map(|key| annotation(d, key)).map(str::to_owned).collect()
    };
    let chosen: Vec<Descriptor> =
        entries.iter().filter(|d| tag.is_empty() || names(d).iter().any(|n| means(n, tag))).cloned().collect();
    let known: BTreeSet<String> = entries.iter().filter_map(|d| names(d).into_iter().next()).collect();
    let images: BTreeSet<Option<String>> = chosen.iter().map(|d| names(d).into_iter().next()).collect();
    if chosen.is_empty() || images.len() > 1 {
        return Err(choice(tag, &known));
    }
    Ok((chosen, images.into_iter().next().flatten()))
}

/// Whether the name of an image in an archive means the tag, or the reference, that is asked for.
fn means(name: &str, tag: &str) -> bool {
    let same = |a: &str, b: &str| a.parse::<ImageRef>().ok().is_some_and(|a| b.parse().is_ok_and(|b: ImageRef| a == b));
    name == tag || name.rsplit_once(':').is_some_and(|(_, t)| t == tag) || (tag.contains(['/', ':']) && same(name, tag))
}

fn choice(tag: &str, known: &BTreeSet<String>) -> Fault {
    let list = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known.iter().cloned()).join(", ") };
    if tag.is_empty() {
        Fault::user("it has not exactly one image").with_hint(format!("say which one, by its tag: {list}"))
    } else {
        Fault::user(format!("it has no image with the tag `{tag}`")).with_hint(format!("the tags in it: {list}"))
    }
}

fn candidates(contents: &ArchiveContents, entries: &[Descriptor], what: &str) -> Result<Vec<(Platform, Sha256Digest)>> {
    let mut found = Vec::new();
    let mut waiting: Vec<Descriptor> = entries.iter().rev().cloned().collect();
    let mut seen = 0;
    while let Some(descriptor) = waiting.pop() {
        seen += 1;
        if seen > MAX_MANIFESTS {
            return Err(Fault::user(format!("{what} has too many manifests")));
        }
        let named = platforms::of(&descriptor);
        if named == Some(None) {
            continue;
        }
        let digest = manifest::digest_of(&descriptor)?;
        let media_type = descriptor.media_type().as_ref();
        // Exports of one platform often list the others too: what is not here cannot be meant.
        if contents.find(&format!("blobs/sha256/{}", digest.hex())).is_none() && waiting.len() + found.len() > 0 {
            continue;
        }
        match ManifestOrIndex::parse(&contents.blob_bytes(digest, MAX_MANIFEST)?, Some(media_type), what)? {
            ManifestOrIndex::Index(inner) => waiting.extend(inner.manifests().iter().rev().cloned()),
            ManifestOrIndex::Manifest(manifest) => {
                let platform = match named.flatten() {
                    Some(platform) => platform,
                    None => {
                        let config = contents.blob_bytes(manifest::digest_of(manifest.config())?, MAX_CONFIG)?;
                        ConfigFacts::parse(&config, what)?.platform()
                    }
                };
                found.push((platform, digest));
            }
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn docker(
    contents: &ArchiveContents,
    tag: &str,
    platform: &Platform,
    origin: String,
) -> Result<(ResolvedImage, Vec<PathBuf>)> {
    let saved: Vec<DockerManifest> = serde_json::from_slice(&contents.bytes("manifest.json", MAX_MANIFEST)?)
        .map_err(|e| Fault::user("its `manifest.json` is not valid").caused_by(e))?;
    let what = "the archive";
    let tags = |saved: &DockerManifest| saved.repo_tags.clone().unwrap_or_default();
    let mut matching = Vec::new();
    for image in &saved {
        if tag.is_empty() || tags(image).iter().any(|name| means(name, tag)) {
            let config = contents.bytes(&image.config, MAX_CONFIG)?;
            let facts = ConfigFacts::parse(&config, what)?;
            matching.push((facts.platform(), (image, config, facts)));
        }
    }
    let known: BTreeSet<String> = saved.iter().flat_map(tags).collect();
    if matching.is_empty() || (tag.is_empty() && known.len() > 1 && matching.len() > 1) {
        return Err(choice(tag, &known));
    }
    let (image, config, facts) = platforms::choose(&matching, platform, false, what)?;
    let (layers, paths) = saved_layers(contents, image, facts)?;
    let refs: Vec<&LayerBlob> = layers.iter().collect();
    let manifest = manifest::write_manifest(config, &refs, &[], MediaTypes::Oci)?.digest;
    let image = ResolvedImage {
        reference: reference(tags(image).first().map(String::as_str), tag).pinned(manifest),
        origin,
        manifest,
        config: verbatim(config.clone(), what)?,
        platform: facts.platform(),
        layers,
    };
    Ok((image, paths))
}

fn saved_layers(
    contents: &ArchiveContents,
    image: &DockerManifest,
    facts: &ConfigFacts,
) -> Result<(Vec<LayerBlob>, Vec<PathBuf>)> {
    let names = image.layers.clone().unwrap_or_default();
    if names.len() != facts.diff_ids().len() {
        return Err(Fault::user(format!(
            "it has {} layers, but its configuration names {}",
            names.len(),
            facts.diff_ids().len()
        )));
    }
    let mut found = (Vec::new(), Vec::new());
    for (name, diff_id) in names.iter().zip(facts.diff_ids()) {
        let stored = contents.need(name)?;
        let mut start = [0; 4];
        let count =
            File::open(&stored.file).and_then(|mut f| f.read(&mut start)).attempt(|| format!("read `{name}`"))?;
        let compression = Compression::detect(&start[..count]);
        let media_type = match compression {
            Compression::None if stored.digest != *diff_id => {
                return Err(Fault::user(format!(
                    "its layer `{name}` is damaged: it has the digest `{}` instead of `{diff_id}`",
                    stored.digest
                )));
            }
            Compression::None | Compression::Gzip | Compression::Zstd => compression.oci_media_type().to_owned(),
        };
        found.0.push(LayerBlob { digest: stored.digest, size: stored.size, diff_id: *diff_id, media_type });
        found.1.push(stored.file.clone());
    }
    Ok(found)
}

/// The reference that an archived image goes by; archives need not name one.
fn reference(name: Option<&str>, tag: &str) -> ImageRef {
    let full = name.filter(|n| n.contains([':', '/'])).and_then(|n| n.parse().ok());
    full.unwrap_or_else(|| {
        let tag = [tag, name.unwrap_or_default(), "latest"].into_iter().find(|t| !t.is_empty()).map(str::to_owned);
        ImageRef { registry: "localhost".into(), repository: "archive".into(), tag, digest: None }
    })
}
