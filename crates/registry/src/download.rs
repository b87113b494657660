//! Layers on their way to the disk: streamed, verified, continued after a break.

use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Kind, Result};
use rondel_ports::images::{Credentials, ResolvedImage};
use rondel_ports::snapshots::LayerBlob;
use rondel_web::network;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use crate::connection::RETRIES;
use crate::layout::Layout;
use crate::registry::Registry;
use crate::remote::{CHANGED_ON_THE_WAY, Remote, damaged};
use crate::resolve::{OpenSource, Source, blocking};

/// A file that is removed again unless it becomes complete.
struct Partial<'p> {
    path: &'p Path,
    complete: bool,
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.complete {
            // Nothing more can be done about a file that cannot be removed; it is never taken for a
            // blob.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

impl Registry {
    /// Fetches a layer from the first source that has it.
    pub(crate) async fn fetch_layer(
        &self,
        image: &ResolvedImage,
        layer: &LayerBlob,
        into: &Path,
        credentials: Option<Credentials>,
        progress: &Emitter,
    ) -> Result<()> {
        let mut sources = self.sources(&image.reference, credentials)?;
        sources.sort_by_key(|source| source.origin != image.origin);
        let mut failure: Option<Fault> = None;
        for Source { origin, place } in sources {
            let found = match self.open(place, &image.reference).await {
                Ok(OpenSource::Remote(remote)) => download(&remote, layer, into, progress).await,
                Ok(OpenSource::Layout(layout, _)) => copy(layout, layer.clone(), into, progress).await,
                Err(fault) => Err(fault),
            };
            match found {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(fault) => {
                    tracing::debug!(%fault, origin, "the layer was not taken from here");
                    failure.get_or_insert(fault);
                }
            }
        }
        let what = format!("cannot fetch the layer `{}` of `{}`", layer.digest, image.reference);
        Err(match failure {
            Some(fault) => fault.context(what),
            None => Fault::environment(format!("{what}: it is in none of its sources"))
                .with_hint("the image is not complete there: push it to the registry or copy it into the mirror again"),
        })
    }
}

/// Copies a blob out of a layout; false when it is not there. A copy, not a link: the folder is the
/// user's.
async fn copy(layout: Layout, layer: LayerBlob, into: &Path, progress: &Emitter) -> Result<bool> {
    let (into, progress) = (into.to_owned(), progress.clone());
    blocking(move || {
        use std::io::{Read as _, Write as _};
        let from = layout.blob_path(layer.digest);
        let attempted = || format!("copy `{}`", from.display());
        let mut source = match std::fs::File::open(&from) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).attempt(attempted),
        };
        let mut partial = Partial { path: &into, complete: false };
        let mut target = std::fs::File::create(&into).attempt(|| format!("write `{}`", into.display()))?;
        let (mut hash, mut size, mut buffer) = (sha2::Sha256::new(), 0u64, vec![0; 1 << 18]);
        loop {
            let count = source.read(&mut buffer).attempt(attempted)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            target.write_all(&buffer[..count]).attempt(|| format!("write `{}`", into.display()))?;
            size += count as u64;
            progress.bytes(size, layer.size);
        }
        let verified = verify(&format!("the blob `{}`", from.display()), &layer, size, hash);
        verified.map_err(|fault| fault.with_hint("the image in this directory is damaged: copy it there again"))?;
        partial.complete = true;
        Ok(true)
    })
    .await
}

fn verify(what: &str, layer: &LayerBlob, size: u64, hash: sha2::Sha256) -> Result<()> {
    if size != layer.size {
        return Err(Fault::environment(format!("{what} is truncated: it has {size} of {} bytes", layer.size)));
    }
    let got = Sha256Digest::from_bytes(hash.finalize().into());
    if got == layer.digest { Ok(()) } else { Err(damaged(what, layer.digest, got)) }
}

/// Streams a blob to a file; false when the registry has none.
async fn download(remote: &Remote<'_>, layer: &LayerBlob, into: &Path, progress: &Emitter) -> Result<bool> {
    let attempted = || format!("write `{}`", into.display());
    let what = format!("the blob `{}` of `{}/{}`", layer.digest, remote.registry(), remote.repository());
    let mut partial = Partial { path: into, complete: false };
    let mut file = tokio::fs::File::create(into).await.attempt(attempted)?;
    let mut state = DownloadState { hash: sha2::Sha256::new(), size: 0 };
    let mut breaks = 0;
    loop {
        match pass(remote, layer, &mut file, &mut state, &what, progress).await {
            Ok(PassOutcome::Complete) => break,
            Ok(PassOutcome::Missing) => return Ok(false),
            Ok(PassOutcome::Broken(fault)) if breaks >= RETRIES => return Err(fault),
            Ok(PassOutcome::Broken(fault)) => {
                tracing::debug!(%fault, done = state.size, "continuing the download");
                remote.connection().back_off(breaks, None).await;
                breaks += 1;
            }
            Err(fault) => return Err(fault),
        }
    }
    file.flush().await.attempt(attempted)?;
    verify(&what, layer, state.size, state.hash).map_err(|fault| fault.with_hint(CHANGED_ON_THE_WAY))?;
    remote.connection().note_blob_repository(remote.registry(), layer.digest, remote.repository());
    partial.complete = true;
    Ok(true)
}

struct DownloadState {
    hash: sha2::Sha256,
    size: u64,
}

enum PassOutcome {
    Complete,
    Missing,
    Broken(Fault),
}

/// One request for what is still missing.
async fn pass(
    remote: &Remote<'_>,
    layer: &LayerBlob,
    file: &mut tokio::fs::File,
    state: &mut DownloadState,
    what: &str,
    progress: &Emitter,
) -> Result<PassOutcome> {
    use tokio::io::AsyncSeekExt as _;
    let attempted = || format!("write {what} to the disk");
    let truncated =
        |size: u64| Fault::environment(format!("{what} is truncated: it has {size} of {} bytes", layer.size));
    if state.size == layer.size {
        return Ok(PassOutcome::Complete);
    }
    let mut response = match remote.blob_from(layer.digest, state.size).await {
        Ok(Some(response)) => response,
        Ok(None) => return Ok(PassOutcome::Missing),
        // 416 and its like: the registry has no more than it gave.
        Err(fault) if state.size > 0 && fault.kind() == Kind::User => {
            return Err(truncated(state.size).caused_by(fault));
        }
        Err(fault) => return Err(fault),
    };
    if state.size > 0 && !continues(&response, state.size) {
        file.set_len(0).await.attempt(attempted)?;
        file.rewind().await.attempt(attempted)?;
        *state = DownloadState { hash: sha2::Sha256::new(), size: 0 };
    }
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(e) => return Ok(PassOutcome::Broken(network(e, &format!("download {what}")))),
        };
        state.size += chunk.len() as u64;
        if state.size > layer.size {
            return Err(Fault::environment(format!(
                "{what} is larger than the {} bytes that the image says",
                layer.size
            )));
        }
        state.hash.update(&chunk);
        file.write_all(&chunk).await.attempt(attempted)?;
        progress.bytes(state.size, layer.size);
    }
    Ok(if state.size == layer.size { PassOutcome::Complete } else { PassOutcome::Broken(truncated(state.size)) })
}

fn continues(response: &reqwest::Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_none_or(|r| r.trim().strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{offset}-"))))
}
