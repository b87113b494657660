//! Images made of nothing, and a registry on loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::Result;
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use rondel_ports::images::{Credentials, Images as _, MediaTypes, OutgoingImage, ResolvedImage};
use rondel_ports::snapshots::{Compression, LayerBlob};
use rondel_registry::{Registry, RegistryConfig, RegistryEnvironment, Timeouts};

/// The user that the registry with passwords knows.
pub(crate) const USER: &str = "tester";
/// The password of that user.
pub(crate) const PASSWORD: &str = "secret-word";
/// The user and the bcrypt form of the password.
const HTPASSWD: &str = "tester:$2y$05$abcdefghijklmnopqrstuuUOabO4v2PoT/v47Y.znQK.9MsMDnesq\n";

/// A registry client that does not wait long.
pub(crate) fn client(config: RegistryConfig, environment: RegistryEnvironment) -> Registry {
    let timing =
        Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(20), pause: Duration::from_millis(5) };
    Registry::with_timeouts(config, environment, timing).unwrap()
}

/// A client without any configuration.
pub(crate) fn plain() -> Registry {
    client(RegistryConfig::default(), RegistryEnvironment::default())
}

/// The credentials that the registry with passwords accepts.
pub(crate) fn login() -> Option<Credentials> {
    Some(Credentials { username: USER.into(), password: PASSWORD.into() })
}

pub(crate) fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

pub(crate) fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// A tar with one file.
pub(crate) fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

/// Bytes packed as a layer may be.
pub(crate) fn packed(bytes: &[u8], packing: Compression) -> (Vec<u8>, &'static str) {
    match packing {
        Compression::None => (bytes.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            (encoder.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip")
        }
        Compression::Zstd => (zstd::encode_all(bytes, 1).unwrap(), "application/vnd.oci.image.layer.v1.tar+zstd"),
    }
}

/// A layer with one file, as a blob in `folder`.
pub(crate) fn layer(folder: &Path, content: &[u8], packing: Compression) -> (LayerBlob, PathBuf) {
    let tar = tar_of("file", content);
    let (bytes, media_type) = packed(&tar, packing);
    let digest = Sha256Digest::of_bytes(&bytes);
    let path = folder.join(digest.hex());
    std::fs::write(&path, &bytes).unwrap();
    let blob = LayerBlob {
        digest,
        size: bytes.len() as u64,
        diff_id: Sha256Digest::of_bytes(&tar),
        media_type: media_type.into(),
    };
    (blob, path)
}

/// The configuration of an image.
pub(crate) fn config(platform: &Platform, layers: &[(LayerBlob, PathBuf)]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|(l, _)| l.diff_id.to_string()).collect();
    let mut value = serde_json::json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": { "Env": ["A=b"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    if !platform.variant.is_empty() {
        value["variant"] = platform.variant.clone().into();
    }
    serde_json::to_vec(&value).unwrap()
}

/// An image with a layer of each packing, different for each platform.
pub(crate) fn image(folder: &Path, for_platform: &str) -> OutgoingImage {
    let platform = platform(for_platform);
    let packings = [Compression::None, Compression::Gzip, Compression::Zstd];
    let layers: Vec<_> = packings
        .iter()
        .map(|&packing| layer(folder, format!("{for_platform} {packing:?}").as_bytes(), packing))
        .collect();
    OutgoingImage { config: config(&platform, &layers), platform, layers, annotations: vec![("k".into(), "v".into())] }
}

pub(crate) async fn push(
    registry: &Registry,
    to: &str,
    images: Vec<OutgoingImage>,
    types: MediaTypes,
) -> Result<Sha256Digest> {
    registry.push(&reference(to), images, types, None, &Emitter::nowhere()).await
}

/// Fetches every layer and says how the bytes compare: the fetched files are those that the digests promise.
pub(crate) async fn fetch_all(
    registry: &Registry,
    image: &ResolvedImage,
    credentials: Option<Credentials>,
) -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    for layer in &image.layers {
        let into = folder.path().join("layer");
        registry.fetch(image, layer, &into, credentials.clone(), &Emitter::nowhere()).await?;
        assert_eq!(Sha256Digest::of_bytes(&std::fs::read(&into).unwrap()), layer.digest);
    }
    Ok(())
}

/// What `docker-registry` shall be like.
#[derive(Default)]
pub(crate) struct Kind {
    pub(crate) passwords: bool,
    pub(crate) tls: bool,
}

/// A running `docker-registry`, ended when dropped.
pub(crate) struct RealRegistry {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) address: String,
}

impl RealRegistry {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            path("data")
        );
        if kind.tls {
            certificates(folder.path());
            text.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", path("leaf.pem"), path("leaf.key")));
        }
        if kind.passwords {
            std::fs::write(path("htpasswd"), HTPASSWD).unwrap();
            text.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd")));
        }
        std::fs::write(path("config.yml"), text).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need the program `docker-registry` (Debian package docker-registry) in PATH");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended before it listened");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',', ' ']).next().unwrap().to_owned();
            }
        };
        // Nobody may stop reading: a full pipe would stop the registry.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, folder, address }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The file of a blob inside the registry.
    pub(crate) fn blob(&self, digest: Sha256Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn certificates(folder: &Path) {
    let run = |text: &str| {
        let output = Command::new("openssl").args(text.split(' ')).current_dir(folder).output();
        let output = output.expect("these tests need the program `openssl` in PATH");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";
    std::fs::write(folder.join("names"), names).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=test-ca"));
    run(&format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost"));
    run("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 30 -extfile names");
}
