//! Images on their way to a registry: blobs that are missing there, then manifests, then the index.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Kind, Result};
use rondel_model::image::ImageRef;
use rondel_ports::images::{Credentials, MediaTypes, OutgoingImage};

use crate::auth::Access;
use crate::connection::RETRIES;
use crate::manifest::{self, WrittenDocument};
use crate::registry::Registry;
use crate::remote::{Endpoint, RegistryRequest, Remote};

/// Blobs that are uploaded at the same time.
const AT_ONCE: usize = 4;

/// Bytes that a registry shall have.
#[derive(Clone)]
enum BlobContent {
    Memory(bytes::Bytes),
    File(PathBuf),
}

#[derive(Clone)]
struct Blob {
    digest: Sha256Digest,
    size: u64,
    content: BlobContent,
}

struct UploadProgress {
    done: AtomicU64,
    total: u64,
    progress: Emitter,
}

impl UploadProgress {
    fn add(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        self.progress.bytes(done.min(self.total), self.total);
    }
}

impl Registry {
    pub(crate) async fn push_images(
        &self,
        reference: &ImageRef,
        images: Vec<OutgoingImage>,
        media_types: MediaTypes,
        credentials: Option<Credentials>,
        progress: &Emitter,
    ) -> Result<Sha256Digest> {
        let result = self.push_all(reference, images, media_types, credentials, progress).await;
        result.map_err(|fault| fault.context(format!("cannot push the image `{reference}`")))
    }

    async fn push_all(
        &self,
        reference: &ImageRef,
        images: Vec<OutgoingImage>,
        media_types: MediaTypes,
        credentials: Option<Credentials>,
        progress: &Emitter,
    ) -> Result<Sha256Digest> {
        if self.config.offline {
            return Err(Fault::user("the configuration says `offline`"));
        }
        let tag = match (&reference.tag, reference.digest) {
            (Some(tag), _) => tag.clone(),
            (None, None) => "latest".to_owned(),
            (None, Some(_)) => {
                return Err(Fault::user("an image is pushed to a tag, not to a digest")
                    .with_hint(format!("use an address such as `{}:latest`", reference.name())));
            }
        };
        let (manifests, root) = documents(&images, media_types)?;
        let blobs = blobs(&images)?;
        let remote = self.remote(Endpoint::of(reference), reference, credentials).await?;
        let total = blobs.iter().map(|b| b.size).sum();
        let sent = Arc::new(UploadProgress { done: AtomicU64::new(0), total, progress: progress.clone() });
        let uploads = blobs.into_iter().map(|blob| upload(&remote, blob, sent.clone()));
        futures_util::stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        for manifest in &manifests {
            put_manifest(&remote, &manifest.digest.to_string(), manifest).await?;
        }
        put_manifest(&remote, &tag, &root).await?;
        Ok(root.digest)
    }
}

/// The manifests to push by digest, and the document that the tag shall stand for.
pub(crate) fn documents(
    images: &[OutgoingImage],
    media_types: MediaTypes,
) -> Result<(Vec<WrittenDocument>, WrittenDocument)> {
    let manifest = |image: &OutgoingImage| {
        let layers: Vec<_> = image.layers.iter().map(|(layer, _)| layer).collect();
        manifest::write_manifest(&image.config, &layers, &image.annotations, media_types)
    };
    let mut manifests = images.iter().map(manifest).collect::<Result<Vec<_>>>()?;
    match manifests.len() {
        0 => Err(Fault::bug("there is no image to write")),
        1 => Ok((Vec::new(), manifests.remove(0))),
        _ => {
            let entry =
                |(m, i): (&WrittenDocument, &OutgoingImage)| manifest::for_image(m.descriptor.clone(), i, media_types);
            let index = manifest::write_index(manifests.iter().zip(images).map(entry).collect(), media_types)?;
            Ok((manifests, index))
        }
    }
}

fn blobs(images: &[OutgoingImage]) -> Result<Vec<Blob>> {
    let mut all: Vec<Blob> = Vec::new();
    for image in images {
        let config = Blob {
            digest: Sha256Digest::of_bytes(&image.config),
            size: image.config.len() as u64,
            content: BlobContent::Memory(image.config.clone().into()),
        };
        let layer = |(layer, path): &(rondel_ports::snapshots::LayerBlob, PathBuf)| Blob {
            digest: layer.digest,
            size: layer.size,
            content: BlobContent::File(path.clone()),
        };
        for blob in image.layers.iter().map(layer).chain([config]) {
            if all.iter().any(|b| b.digest == blob.digest) {
                continue;
            }
            if let BlobContent::File(path) = &blob.content {
                let size = std::fs::metadata(path).attempt(|| format!("read the layer `{}`", path.display()))?.len();
                if size != blob.size {
                    return Err(Fault::bug(format!(
                        "the layer `{}` has {size} bytes instead of {}",
                        path.display(),
                        blob.size
                    )));
                }
            }
            all.push(blob);
        }
    }
    Ok(all)
}

async fn upload(remote: &Remote<'_>, blob: Blob, sent: Arc<UploadProgress>) -> Result<()> {
    let mut attempt = 0;
    let counted = Arc::new(AtomicU64::new(0));
    loop {
        let fault = match upload_once(remote, &blob, &sent, &counted).await {
            Ok(()) => {
                sent.add(blob.size.saturating_sub(counted.load(Ordering::Relaxed)));
                remote.connection().note_blob_repository(remote.registry(), blob.digest, remote.repository());
                return Ok(());
            }
            Err(fault) if fault.kind() == Kind::Environment && attempt < RETRIES => fault,
            Err(fault) => return Err(fault),
        };
        tracing::debug!(%fault, blob = %blob.digest, "uploading again");
        remote.connection().back_off(attempt, None).await;
        attempt += 1;
    }
}

async fn upload_once(
    remote: &Remote<'_>,
    blob: &Blob,
    sent: &Arc<UploadProgress>,
    counted: &Arc<AtomicU64>,
) -> Result<()> {
    let digest = blob.digest;
    let what = format!("upload the blob `{digest}` to `{}/{}`", remote.registry(), remote.repository());
    let from =
        remote.connection().blob_repository(remote.registry(), digest).filter(|from| from != remote.repository());
    let access = Access::Push(None);
    let check = remote.call(Method::HEAD, &format!("blobs/{digest}"), access.clone(), what.clone())?;
    let response = remote.send(&check).await?;
    if response.status().is_success() {
        return Ok(());
    }
    if response.status() != StatusCode::NOT_FOUND {
        remote.expect(response, &check).await?;
    }
    let response = match start_upload(remote, from.as_deref(), digest, &what).await? {
        Some(session) => session,
        None => return Ok(()),
    };
    let mut url = location(&response)
        .ok_or_else(|| Fault::environment(format!("cannot {what}: the registry names no place for the upload")))?;
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    let (content, size, sent, counted) = (blob.content.clone(), blob.size, sent.clone(), counted.clone());
    let call = RegistryRequest {
        method: Method::PUT,
        url,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))],
        access,
        body: Some(Arc::new(move || Ok((body(&content, size, &sent, &counted)?, size)))),
        repeat: false,
        attempted: what,
    };
    let response = remote.send(&call).await?;
    remote.expect(response, &call).await.map(|_| ())
}

/// Opens an upload. `None`: the registry has taken the blob from its repository `from`.
async fn start_upload(
    remote: &Remote<'_>,
    from: Option<&str>,
    digest: Sha256Digest,
    what: &str,
) -> Result<Option<Response>> {
    let empty = |mut call: RegistryRequest<'static>| {
        call.body = Some(Arc::new(|| Ok((Body::from(""), 0))));
        call
    };
    if let Some(from) = from {
        let access = Access::Push(Some(from.to_owned()));
        let mut call = empty(remote.call(Method::POST, "blobs/uploads/", access, what.to_owned())?);
        call.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        // A refused mount is no error: the user may not own the other repository.
        if let Ok(response) = remote.send(&call).await {
            match response.status() {
                StatusCode::CREATED => return Ok(None),
                StatusCode::ACCEPTED => return Ok(Some(response)),
                _ => {}
            }
        }
    }
    let call = empty(remote.call(Method::POST, "blobs/uploads/", Access::Push(None), what.to_owned())?);
    let response = remote.send(&call).await?;
    remote.expect(response, &call).await.map(Some)
}

fn location(response: &Response) -> Option<Url> {
    let text = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = response.url().join(text).ok()?;
    let kept = response.url().scheme() != "https" || url.scheme() == "https";
    (kept && matches!(url.scheme(), "http" | "https")).then_some(url)
}

fn body(content: &BlobContent, size: u64, sent: &Arc<UploadProgress>, counted: &Arc<AtomicU64>) -> Result<Body> {
    let path = match content {
        BlobContent::Memory(bytes) => return Ok(Body::from(bytes.clone())),
        BlobContent::File(path) => path,
    };
    let file = std::fs::File::open(path).attempt(|| format!("read the layer `{}`", path.display()))?;
    let (sent, counted) = (sent.clone(), counted.clone());
    let mut passed = 0;
    let stream = tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::from_std(file), 1 << 17);
    Ok(Body::wrap_stream(stream.inspect_ok(move |chunk| {
        passed = size.min(passed + chunk.len() as u64);
        // What was sent before a break is not counted twice.
        let before = counted.fetch_max(passed, Ordering::Relaxed);
        if passed > before {
            sent.add(passed - before);
        }
    })))
}

async fn put_manifest(remote: &Remote<'_>, name: &str, manifest: &WrittenDocument) -> Result<()> {
    let attempted = format!("write the manifest `{name}` of `{}/{}`", remote.registry(), remote.repository());
    let mut call = remote.call(Method::PUT, &format!("manifests/{name}"), Access::Push(None), attempted)?;
    let media_type = manifest.descriptor.media_type().to_string();
    let media_type = HeaderValue::from_str(&media_type).attempt(|| format!("send the media type `{media_type}`"))?;
    call.headers.push((CONTENT_TYPE, media_type));
    let bytes = bytes::Bytes::from(manifest.bytes.clone());
    call.body = Some(Arc::new(move || Ok((Body::from(bytes.clone()), bytes.len() as u64))));
    let response = remote.send(&call).await?;
    let response = remote.expect(response, &call).await?;
    let told = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()?.parse().ok());
    match told {
        Some(told) if told != manifest.digest => {
            Err(crate::remote::wrong_digest("the pushed manifest", manifest.digest, told))
        }
        _ => Ok(()),
    }
}
