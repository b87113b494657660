//! A registry in this process that does what a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use rondel_digest::Sha256Digest;
use rondel_ports::snapshots::Compression;

use crate::fixtures::{layer, platform};

/// A request that came.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How often the same method and path came before.
    pub(crate) before: usize,
}

impl Asked {
    pub(crate) fn authorization(&self) -> &str {
        self.headers.get("authorization").map_or("", |v| v.to_str().unwrap())
    }
}

/// A server on loopback.
pub(crate) struct Fake {
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, lines) = (Arc::new(answer), log.clone());
        let handler = move |request: Request| {
            let (answer, lines) = (answer.clone(), lines.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
                let line = format!("{} {}", parts.method, parts.uri.path());
                let before = {
                    let mut lines = lines.lock().unwrap();
                    lines.push(line.clone());
                    lines.iter().filter(|l| **l == line).count() - 1
                };
                let asked = Asked {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers,
                    body,
                    before,
                };
                answer(&asked)
            }
        };
        let app = axum::Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, log }
    }

    /// The requests so far, without the first look at `/v2/`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|l| *l != "GET /v2/").cloned().collect()
    }
}

pub(crate) fn status(code: u16) -> Response {
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Body::empty()).unwrap()
}

pub(crate) fn bytes(content: &[u8], media_type: &str) -> Response {
    Response::builder().header("content-type", media_type).body(Body::from(content.to_vec())).unwrap()
}

/// The blobs and manifests of one image with one large layer, by path under the repository.
pub(crate) struct Served {
    pub(crate) files: HashMap<String, (Vec<u8>, String)>,
    pub(crate) layer: Vec<u8>,
    pub(crate) layer_path: String,
}

impl Served {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..400_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let layers = vec![layer(folder.path(), &noise, Compression::None)];
        let config = crate::fixtures::config(&platform("linux/amd64"), &layers);
        let bytes = std::fs::read(&layers[0].1).unwrap();
        let digest = |bytes: &[u8]| Sha256Digest::of_bytes(bytes).to_string();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": { "mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.docker.image.rootfs.diff.tar", "digest": digest(&bytes), "size": bytes.len() }],
        });
        let manifest = manifest.to_string().into_bytes();
        let kind = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        let layer_path = format!("blobs/{}", digest(&bytes));
        let files = HashMap::from([
            ("manifests/latest".to_owned(), (manifest.clone(), kind.clone())),
            (format!("manifests/{}", digest(&manifest)), (manifest, kind)),
            (format!("blobs/{}", digest(&config)), (config, "application/octet-stream".to_owned())),
            (layer_path.clone(), (bytes.clone(), "application/octet-stream".to_owned())),
        ]);
        Self { files, layer: bytes, layer_path }
    }

    /// The honest answer.
    pub(crate) fn answer(&self, asked: &Asked) -> Response {
        if asked.path == "/v2/" {
            return status(200);
        }
        match asked.path.strip_prefix("/v2/app/").and_then(|path| self.files.get(path)) {
            Some((content, kind)) => bytes(content, kind),
            None => status(404),
        }
    }

    pub(crate) fn is_layer(&self, asked: &Asked) -> bool {
        asked.path.ends_with(&self.layer_path)
    }
}
