//! Layout folders as mirrors.

use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;
use rondel_digest::Sha256Digest;
use rondel_ports::images::{Images as _, ResolvedImage};
use rondel_registry::{Mirror, MirrorLocation, Registry, RegistryConfig, RegistryEnvironment};
use serde_json::{Value, json};

use crate::fixtures::*;

fn offline(path: &Path, pattern: Option<&str>) -> Registry {
    let config = RegistryConfig {
        mirrors: vec![Mirror { registry: pattern.map(Into::into), location: MirrorLocation::Layout(path.into()) }],
        offline: true,
        ..RegistryConfig::default()
    };
    client(config, RegistryEnvironment::default())
}

/// Writes a layout without images.
fn empty(path: &Path) {
    std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(path.join("index.json"), json!({"schemaVersion": 2, "manifests": []}).to_string()).unwrap();
}

/// Writes a blob, and gives its descriptor.
fn blob(path: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Sha256Digest::of_bytes(bytes);
    std::fs::write(path.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest.to_string(), "size": bytes.len()})
}

/// Adds an image of three layers, one in each compression, and gives the digest of its manifest.
fn add(path: &Path, name: &str, for_platform: &str) -> String {
    let tar = |number: usize| tar_of("file", format!("{name} {for_platform} {number}").as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar(1)).unwrap();
    let layers = [
        blob(path, "layer.v1.tar", &tar(0)),
        blob(path, "layer.v1.tar+gzip", &gzip.finish().unwrap()),
        blob(path, "layer.v1.tar+zstd", &zstd::encode_all(&*tar(2), 1).unwrap()),
    ];
    let diff_ids = [0, 1, 2].map(|number| Sha256Digest::of_bytes(&tar(number)).to_string());
    let (os, architecture) = for_platform.split_once('/').unwrap();
    let platform = json!({"os": os, "architecture": architecture});
    let config = json!({
        "os": os, "architecture": architecture, "config": {"Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = blob(path, "config.v1+json", config.to_string().as_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
    let mut entry = blob(path, "manifest.v1+json", manifest.to_string().as_bytes());
    let digest = entry["digest"].as_str().unwrap().to_owned();
    entry["platform"] = platform;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": reference(name).to_string()});
    change_index(path, |entries| entries.push(entry));
    digest
}

fn change_index(path: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let file = path.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(index["manifests"].as_array_mut().unwrap());
    std::fs::write(&file, index.to_string()).unwrap();
}

async fn resolve(registry: &Registry, name: &str, wanted: &str, exact: bool) -> Result<ResolvedImage, String> {
    registry.resolve(&reference(name), &platform(wanted), exact, None).await.map_err(|e| format!("{e:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_found_by_name_platform_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    empty(folder.path());
    let amd64 = add(folder.path(), "python:3.13-slim", "linux/amd64");
    let arm64 = add(folder.path(), "python:3.13-slim", "linux/arm64");
    let node = add(folder.path(), "node:22", "linux/arm64");
    let registry = offline(folder.path(), None);
    for (name, wanted, want) in [
        ("python:3.13-slim", "linux/amd64", &amd64),
        ("docker.io/library/python:3.13-slim", "linux/arm64", &arm64),
        ("node:22", "linux/amd64", &node),
        (&format!("node@{node}"), "linux/amd64", &node),
        (&format!("whatever@{arm64}"), "linux/arm64", &arm64),
    ] {
        let found = resolve(&registry, name, wanted, false).await.unwrap();
        assert_eq!(found.manifest.to_string(), **want, "{name}");
        assert_eq!(found.origin, format!("mirror {}", folder.path().display()));
        fetch_all(&registry, &found, None).await.unwrap();
        let again = resolve(&registry, &found.reference.to_string(), wanted, false).await.unwrap();
        assert_eq!(again.manifest, found.manifest);
    }
    let error = resolve(&registry, "node:22", "linux/amd64", true).await.unwrap_err();
    assert!(error.contains("only for linux/arm64") && error.contains("offline"), "{error}");
    for missing in ["python:3.12", "python", "ghcr.io/library/python:3.13-slim"] {
        let error = resolve(&registry, missing, "linux/amd64", false).await.unwrap_err();
        assert!(error.contains("there is no image"), "{error}");
    }
}

/// Renames the only image of a layout.
fn rename(path: &Path, annotations: Value) {
    change_index(path, |entries| entries[0]["annotations"] = annotations);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_have_several_forms() {
    let folder = tempfile::tempdir().unwrap();
    empty(folder.path());
    add(folder.path(), "x", "linux/amd64");
    let key = "org.opencontainers.image.ref.name";
    let whole = Some("docker.io/library/python");
    for (annotations, pattern, found) in [
        (json!({ key: "python:3" }), None, true),
        (json!({ key: "library/python:3" }), None, true),
        (json!({ key: "docker.io/library/python:3" }), None, true),
        (json!({ key: "3", "io.containerd.image.name": "docker.io/library/python:3" }), None, true),
        (json!({ key: "3" }), None, false),
        (json!({ key: "3" }), Some("docker.io"), false),
        (json!({ key: "3" }), whole, true),
        (json!({ key: "python" }), whole, false),
        (json!(null), whole, false),
    ] {
        rename(folder.path(), annotations.clone());
        let result = resolve(&offline(folder.path(), pattern), "python:3", "linux/amd64", false).await;
        assert_eq!(result.is_ok(), found, "{annotations} {pattern:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    empty(folder.path());
    let manifest = add(folder.path(), "x", "linux/amd64");
    let registry = offline(folder.path(), None);
    let found = resolve(&registry, "x", "linux/amd64", false).await.unwrap();
    let blob = |hex: &str| folder.path().join("blobs/sha256").join(hex);
    let layer = blob(&found.layers[0].digest.hex());
    let original = std::fs::read(&layer).unwrap();
    for (content, want) in [(vec![0; original.len()], "is damaged"), (original[..10].to_vec(), "is truncated")] {
        std::fs::write(&layer, content).unwrap();
        let error = fetch_all(&registry, &found, None).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    std::fs::write(blob(manifest.trim_start_matches("sha256:")), "{}").unwrap();
    let error = resolve(&registry, "x", "linux/amd64", false).await.unwrap_err();
    assert!(error.contains("is damaged"), "{error}");
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    let error = resolve(&registry, "x", "linux/amd64", false).await.unwrap_err();
    assert!(error.contains("unknown version `2.0.0`"), "{error}");
}
