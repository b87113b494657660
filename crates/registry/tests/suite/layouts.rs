//! Layout folders as mirrors.

use std::path::{Path, PathBuf};

use rondel_ports::images::{Images as _, ResolvedImage};
use rondel_ports::snapshots::Compression;
use rondel_registry::layout::Layout;
use rondel_registry::{Mirror, MirrorLocation, Registry, RegistryConfig, RegistryEnvironment};

use crate::fixtures::*;

fn offline(path: &Path, pattern: Option<&str>) -> Registry {
    let config = RegistryConfig {
        mirrors: vec![Mirror { registry: pattern.map(Into::into), location: MirrorLocation::Layout(path.into()) }],
        offline: true,
        ..RegistryConfig::default()
    };
    client(config, RegistryEnvironment::default())
}

fn add(layout: &Layout, name: &str, for_platform: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let packings = [Compression::None, Compression::Gzip, Compression::Zstd];
    let tar = |(number, packing): (usize, &Compression)| -> (PathBuf, Compression) {
        let path = folder.path().join(number.to_string());
        std::fs::write(&path, tar_of("file", format!("{name} {for_platform} {number}").as_bytes())).unwrap();
        (path, *packing)
    };
    let layers: Vec<_> = packings.iter().enumerate().map(tar).collect();
    let config = br#"{"config":{"Env":["A=b"]}}"#;
    layout.add(&reference(name), &platform(for_platform), config, &layers).unwrap().to_string()
}

async fn resolve(registry: &Registry, name: &str, wanted: &str, exact: bool) -> Result<ResolvedImage, String> {
    registry.resolve(&reference(name), &platform(wanted), exact, None).await.map_err(|e| format!("{e:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let amd64 = add(&layout, "python:3.13-slim", "linux/amd64");
    let arm64 = add(&layout, "python:3.13-slim", "linux/arm64");
    let node = add(&layout, "node:22", "linux/arm64");
    assert_eq!(add(&layout, "python:3.13-slim", "linux/amd64"), amd64, "equal input gives equal digests");
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
fn rename(path: &Path, annotations: serde_json::Value) {
    let file = path.join("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    index["manifests"][0]["annotations"] = annotations;
    std::fs::write(&file, index.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_have_several_forms() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    add(&layout, "x", "linux/amd64");
    let key = "org.opencontainers.image.ref.name";
    let whole = Some("docker.io/library/python");
    for (annotations, pattern, found) in [
        (serde_json::json!({ key: "python:3" }), None, true),
        (serde_json::json!({ key: "library/python:3" }), None, true),
        (serde_json::json!({ key: "docker.io/library/python:3" }), None, true),
        (serde_json::json!({ key: "3", "io.containerd.image.name": "docker.io/library/python:3" }), None, true),
        (serde_json::json!({ key: "3" }), None, false),
        (serde_json::json!({ key: "3" }), Some("docker.io"), false),
        (serde_json::json!({ key: "3" }), whole, true),
        (serde_json::json!({ key: "python" }), whole, false),
        (serde_json::json!(null), whole, false),
    ] {
        rename(folder.path(), annotations.clone());
        let result = resolve(&offline(folder.path(), pattern), "python:3", "linux/amd64", false).await;
        assert_eq!(result.is_ok(), found, "{annotations} {pattern:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let manifest = add(&layout, "x", "linux/amd64");
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
