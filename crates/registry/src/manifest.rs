//! The JSON documents of the image world: reading them with bounds, writing them with one byte
//! form.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType, SCHEMA_VERSION, ToDockerV2S2 as _};
use rondel_digest::Sha256Digest;
use rondel_fault::{Fault, Result};
use rondel_model::Platform;
use rondel_ports::images::{MediaTypes, OutgoingImage};
use rondel_ports::snapshots::{Compression, LayerBlob};
use serde::{Deserialize, Serialize};

/// Manifests and indexes are at most so large.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// Configurations are at most so large.
pub(crate) const MAX_CONFIG: u64 = 8 << 20;
/// What a client may answer with: everything that [`ManifestOrIndex::parse`] understands.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A manifest or an index.
#[derive(Debug)]
pub(crate) enum ManifestOrIndex {
    /// Several manifests.
    Index(Box<ImageIndex>),
    /// One image.
    Manifest(Box<ImageManifest>),
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl ManifestOrIndex {
    /// Reads a document that was served as `declared`. `what` names it in errors.
    pub(crate) fn parse(bytes: &[u8], declared: Option<&str>, what: &str) -> Result<Self> {
        let broken = |e: serde_json::Error| Fault::user(format!("{what} is no valid manifest")).caused_by(e);
        let shape: Shape = serde_json::from_slice(bytes).map_err(broken)?;
        if shape.schema_version == 1 {
            return Err(Fault::user(format!("{what} is a Docker manifest of schema 1, which is no longer supported"))
                .with_hint("push the image again with a current client"));
        }
        let media_type = shape.media_type.as_deref().or(declared).unwrap_or_default();
        let index = is_index(media_type) || (shape.manifests.is_some() && shape.layers.is_none());
        if index {
            return serde_json::from_slice(bytes).map(|index| Self::Index(Box::new(index))).map_err(broken);
        }
        serde_json::from_slice(bytes).map(|manifest| Self::Manifest(Box::new(manifest))).map_err(broken)
    }
}

/// Whether a descriptor points to an index.
pub(crate) fn is_index(media_type: &str) -> bool {
    media_type == DOCKER_LIST || media_type == MediaType::ImageIndex.as_ref()
}

/// Whether a descriptor points to an image manifest.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    media_type == DOCKER_MANIFEST || media_type == MediaType::ImageManifest.as_ref()
}

/// The digest of a descriptor, if it is of the kind that everybody uses.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Sha256Digest> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|e: rondel_digest::ParseError| {
        Fault::user(format!("the digest `{text}` is not supported")).caused_by(e)
    })
}

/// What matters of a configuration.
#[derive(Deserialize)]
pub(crate) struct ConfigFacts {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Sha256Digest>,
}

impl ConfigFacts {
    /// Reads a configuration. `what` names the image in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            Fault::user(format!("{what} has no valid image configuration, so it is no container image")).caused_by(e)
        })
    }

    /// The platform that the image is for.
    pub(crate) fn platform(&self) -> Platform {
        normal_platform(&self.os, &self.architecture, &self.variant)
    }

    /// The digests of the unpacked layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[Sha256Digest] {
        &self.rootfs.diff_ids
    }
}

/// A platform in normal form; unknown names are kept as they are. Nothing said means this machine's
/// kind.
pub(crate) fn normal_platform(os: &str, architecture: &str, variant: &str) -> Platform {
    let native = Platform::native();
    let os = if os.is_empty() { &native.os } else { os };
    let architecture = if architecture.is_empty() { &native.architecture } else { architecture };
    let text =
        if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") };
    text.parse().unwrap_or_else(|_| Platform::new(os, architecture, variant))
}

/// The layers of a manifest with their `diff_id`s.
pub(crate) fn layers(manifest: &ImageManifest, facts: &ConfigFacts, what: &str) -> Result<Vec<LayerBlob>> {
    let (layers, diff_ids) = (manifest.layers(), facts.diff_ids());
    if layers.len() != diff_ids.len() {
        return Err(Fault::user(format!(
            "{what} has {} layers, but its configuration names {}",
            layers.len(),
            diff_ids.len()
        )));
    }
    let one = |(layer, diff_id): (&Descriptor, &Sha256Digest)| {
        let media_type = oci_layer_type(layer.media_type().as_ref())
            .ok_or_else(|| Fault::user(format!("{what} has a layer of the unknown type `{}`", layer.media_type())))?;
        Ok(LayerBlob {
            digest: digest_of(layer)?,
            size: layer.size(),
            diff_id: *diff_id,
            media_type: media_type.into(),
        })
    };
    layers.iter().zip(diff_ids).map(one).collect()
}

/// The OCI media type of a layer.
pub(crate) fn oci_layer_type(media_type: &str) -> Option<&'static str> {
    let (base, packing) = match media_type {
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => ("tar", "gzip"),
        "application/vnd.docker.image.rootfs.foreign.diff.tar" => ("tar", ""),
        other => {
            let rest = other
                .strip_prefix("application/vnd.oci.image.layer.v1.")
                .or_else(|| other.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1."))
                .or_else(|| other.strip_prefix("application/vnd.docker.image.rootfs.diff."))?;
            rest.split_once(['+', '.']).unwrap_or((rest, ""))
        }
    };
    Compression::of_suffix(packing).filter(|_| base == "tar").map(Compression::oci_media_type)
}

fn outgoing_layer_type(layer: &LayerBlob, media_types: MediaTypes) -> Result<MediaType> {
    let oci = oci_layer_type(&layer.media_type)
        .ok_or_else(|| Fault::bug(format!("a layer has the unknown media type `{}`", layer.media_type)))?;
    Ok(match media_types {
        MediaTypes::Oci => oci.into(),
        MediaTypes::Docker => match oci.split_once('+') {
            None => DOCKER_LAYER.into(),
            Some((_, packing)) => format!("{DOCKER_LAYER}.{packing}").as_str().into(),
        },
    })
}

fn typed(media_type: MediaType, media_types: MediaTypes) -> MediaType {
    match media_types {
        MediaTypes::Oci => media_type,
        MediaTypes::Docker => media_type.to_docker_v2s2().map(MediaType::from).unwrap_or(media_type),
    }
}

/// A document that was written: its bytes and the descriptor that points to it.
#[derive(Debug, Clone)]
pub(crate) struct WrittenDocument {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Sha256Digest,
    pub(crate) descriptor: Descriptor,
}

fn written(document: &impl Serialize, media_type: MediaType) -> Result<WrittenDocument> {
    let bytes = canonical(document)?;
    let digest = Sha256Digest::of_bytes(&bytes);
    let descriptor = describe(media_type, &bytes, digest)?;
    Ok(WrittenDocument { bytes, digest, descriptor })
}

fn describe(media_type: MediaType, bytes: &[u8], digest: Sha256Digest) -> Result<Descriptor> {
    Ok(Descriptor::new(media_type, bytes.len() as u64, spec_digest(digest)?))
}

/// The digest as the library has it.
pub(crate) fn spec_digest(digest: Sha256Digest) -> Result<oci_spec::image::Digest> {
    let text = digest.to_string();
    text.parse().map_err(|e: oci_spec::OciSpecError| Fault::bug(format!("`{digest}` is no digest")).caused_by(e))
}

/// JSON with sorted keys and no white space.
pub(crate) fn canonical(document: &impl Serialize) -> Result<Vec<u8>> {
    let bug = |e: serde_json::Error| Fault::bug("a manifest could not be written as JSON").caused_by(e);
    let value = serde_json::to_value(document).map_err(bug)?;
    serde_json::to_vec(&sorted(value)).map_err(bug)
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            serde_json::Value::Object(map.into_iter().collect())
        }
        serde_json::Value::Array(items) => serde_json::Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Writes the manifest of an image. Docker's form has no annotations.
pub(crate) fn write_manifest(
    config: &[u8],
    layers: &[&LayerBlob],
    annotations: &[(String, String)],
    media_types: MediaTypes,
) -> Result<WrittenDocument> {
    let bug = |e: oci_spec::OciSpecError| Fault::bug("a manifest could not be built").caused_by(e);
    let media_type = typed(MediaType::ImageManifest, media_types);
    let config_type = typed(MediaType::ImageConfig, media_types);
    let describe_layer = |layer: &&LayerBlob| -> Result<Descriptor> {
        Ok(Descriptor::new(outgoing_layer_type(layer, media_types)?, layer.size, spec_digest(layer.digest)?))
    };
    let mut manifest = oci_spec::image::ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(media_type.clone())
        .config(describe(config_type, config, Sha256Digest::of_bytes(config))?)
        .layers(layers.iter().map(describe_layer).collect::<Result<Vec<_>>>()?)
        .build()
        .map_err(bug)?;
    if media_types == MediaTypes::Oci && !annotations.is_empty() {
        manifest.set_annotations(Some(annotations.iter().cloned().collect()));
    }
    written(&manifest, media_type)
}

/// Writes an index of manifests.
pub(crate) fn write_index(manifests: Vec<Descriptor>, media_types: MediaTypes) -> Result<WrittenDocument> {
    let bug = |e: oci_spec::OciSpecError| Fault::bug("an index could not be built").caused_by(e);
    let media_type = typed(MediaType::ImageIndex, media_types);
    let index = oci_spec::image::ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(media_type.clone())
        .manifests(manifests)
        .build()
        .map_err(bug)?;
    written(&index, media_type)
}

/// Adds the platform to a descriptor.
pub(crate) fn for_platform(mut descriptor: Descriptor, platform: &Platform) -> Descriptor {
    let mut spec = oci_spec::image::Platform::default();
    spec.set_os(platform.os.as_str().into());
    spec.set_architecture(platform.architecture.as_str().into());
    spec.set_variant(Some(platform.variant.clone()).filter(|v| !v.is_empty()));
    descriptor.set_platform(Some(spec));
    descriptor
}

/// Adds what an index says of an image to its descriptor: platform and, in OCI's form, annotations.
pub(crate) fn for_image(descriptor: Descriptor, image: &OutgoingImage, media_types: MediaTypes) -> Descriptor {
    let mut descriptor = for_platform(descriptor, &image.platform);
    if media_types == MediaTypes::Oci && !image.annotations.is_empty() {
        descriptor.set_annotations(Some(image.annotations.iter().cloned().collect()));
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_translate() {
        let check = |from: &str, oci: Option<&str>, docker: Option<&str>| {
            assert_eq!(oci_layer_type(from), oci, "{from}");
            let digest = Sha256Digest::of_bytes(b"");
            let layer = LayerBlob { digest, size: 0, diff_id: digest, media_type: from.into() };
            let out = outgoing_layer_type(&layer, MediaTypes::Docker).ok();
            assert_eq!(out.as_ref().map(AsRef::as_ref), docker, "{from}");
        };
        let oci = |packing: &str| format!("application/vnd.oci.image.layer.v1.tar{packing}");
        let docker = |packing: &str| format!("application/vnd.docker.image.rootfs.diff.tar{packing}");
        check(&oci(""), Some(&oci("")), Some(&docker("")));
        check(&oci("+gzip"), Some(&oci("+gzip")), Some(&docker(".gzip")));
        check(&oci("+zstd"), Some(&oci("+zstd")), Some(&docker(".zstd")));
        check(&docker(".gzip"), Some(&oci("+gzip")), Some(&docker(".gzip")));
        check("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(&oci("+gzip")), Some(&docker(".gzip")));
        check(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            Some(&oci("+zstd")),
            Some(&docker(".zstd")),
        );
        check("application/vnd.in-toto+json", None, None);
        check(&oci("+encrypted"), None, None);
    }

    #[test]
    fn manifests_have_one_form() {
        let annotations: Vec<_> = (0..20).map(|i| (format!("k{i}"), format!("v{i}"))).collect();
        let reversed: Vec<_> = annotations.iter().rev().cloned().collect();
        let one = write_manifest(b"{}", &[], &annotations, MediaTypes::Oci).unwrap();
        let two = write_manifest(b"{}", &[], &reversed, MediaTypes::Oci).unwrap();
        assert_eq!(one.bytes, two.bytes);
        assert!(matches!(ManifestOrIndex::parse(&one.bytes, None, "it").unwrap(), ManifestOrIndex::Manifest(_)));
        let docker = write_manifest(b"{}", &[], &annotations, MediaTypes::Docker).unwrap();
        assert!(!String::from_utf8_lossy(&docker.bytes).contains("annotations"));
    }

    #[test]
    fn broken_documents_are_refused() {
        let check = |text: &str, want: &str| {
            let message = ManifestOrIndex::parse(text.as_bytes(), None, "`x`").unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        };
        check("", "`x` is no valid manifest");
        check("{}", "`x` is no valid manifest");
        check(r#"{"schemaVersion":1}"#, "schema 1");
        check(r#"{"schemaVersion":2,"manifests":3}"#, "`x` is no valid manifest");
    }
}
