//! Writes an OCI layout folder: blobs by digest, one index, every image under its full name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Built, Recipe};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout folder and, in `recipes/` beside its blobs, which recipe made what.
pub(super) struct Layout {
    folder: PathBuf,
    index: Mutex<()>,
}

impl Layout {
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        for part in ["blobs/sha256", "recipes"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
        }
        let layout = Self { folder: folder.to_owned(), index: Mutex::new(()) };
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !folder.join("index.json").exists() {
            layout.write_index(&[])?;
        }
        Ok(layout)
    }

    /// Whether the image was made by this very recipe.
    pub(super) fn has(&self, name: &str, recipe: &str) -> bool {
        let made = fs::read_to_string(self.folder.join("recipes").join(name));
        made.is_ok_and(|made| made == digest_of(recipe.as_bytes()))
    }

    /// Takes over the layers and names the image.
    pub(super) fn add(&self, recipe: &Recipe, built: &Built) -> Result<(), String> {
        let layers = built.layers.iter().map(|tar| self.take(tar)).collect::<Result<Vec<_>, _>>()?;
        let diff_ids: Vec<&String> = layers.iter().map(|(digest, _)| digest).collect();
        let created = "2023-11-14T22:13:20Z";
        let step = json!({"created": created, "created_by": recipe.text.lines().next().unwrap_or_default()});
        let mut settings = json!({"Env": recipe.environment, "Cmd": recipe.command});
        if !recipe.working_dir.is_empty() {
            settings["WorkingDir"] = recipe.working_dir.into();
        }
        let (config, config_size) = self.put(&json!({
            "architecture": architecture(), "os": "linux", "created": created, "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": vec![step; layers.len()],
        }))?;
        let layer_media_type = "application/vnd.oci.image.layer.v1.tar";
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|(digest, size)| json!({"mediaType": layer_media_type, "digest": digest, "size": size}))
            .collect();
        let (manifest, manifest_size) = self.put(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            "layers": descriptors,
        }))?;
        let entry = |reference: &String| {
            json!({
                "mediaType": MANIFEST, "digest": manifest, "size": manifest_size,
                "platform": {"architecture": architecture(), "os": "linux"},
                "annotations": {REF_NAME: reference},
            })
        };
        let _held = self.index.lock().map_err(|_| "another build panicked".to_owned())?;
        let mut entries = self.entries()?;
        entries.retain(|e| !built.references.iter().any(|r| e["annotations"][REF_NAME] == **r));
        entries.extend(built.references.iter().map(entry));
        self.write_index(&entries)?;
        self.write(&format!("recipes/{}", recipe.name), digest_of(recipe.text.as_bytes()).as_bytes())
    }

    /// Copies a tar in as a blob.
    fn take(&self, tar: &Path) -> Result<(String, u64), String> {
        let wrong = |e: io::Error| format!("cannot take the layer `{}`: {e}", tar.display());
        let temporary = self.folder.join(format!("blobs/.{}", std::process::id())).with_extension(
            tar.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        );
        let mut out = HashingFile { file: File::create(&temporary).map_err(wrong)?, hash: Sha256::new() };
        let mut source = io::BufReader::with_capacity(1 << 20, File::open(tar).map_err(wrong)?);
        let size = io::copy(&mut source, &mut out).map_err(wrong)?;
        let hex = hex(&out.hash.finalize());
        fs::rename(&temporary, self.folder.join("blobs/sha256").join(&hex)).map_err(wrong)?;
        Ok((format!("sha256:{hex}"), size))
    }

    fn put(&self, document: &Value) -> Result<(String, usize), String> {
        let bytes = document.to_string().into_bytes();
        let digest = digest_of(&bytes);
        self.write(&format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")), &bytes)?;
        Ok((digest, bytes.len()))
    }

    fn entries(&self) -> Result<Vec<Value>, String> {
        let path = self.folder.join("index.json");
        let text = fs::read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        let index: Value =
            serde_json::from_slice(&text).map_err(|e| format!("`{}` is no index: {e}", path.display()))?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    fn write_index(&self, entries: &[Value]) -> Result<(), String> {
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        });
        self.write("index.json", index.to_string().as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.folder.join(name);
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        fs::write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|e| format!("cannot write `{}`: {e}", path.display()))
    }
}

struct HashingFile {
    file: File,
    hash: Sha256,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
