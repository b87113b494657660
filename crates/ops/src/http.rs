//! Downloads files over HTTP, with conditional requests for files that are cached.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rondel_digest::{Digest, Sha256Digest};
use rondel_events::{Emitter, Outcome, Work};
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::op::{Edit, TreePath};
use rondel_model::service::Service;
use rondel_model::{AbsPath, Fs, SecretRef, Snapshot};
use rondel_ports::http::{Answer, Fetched, Request, Validators};
use rondel_ports::index::Table;
use rondel_ports::outcome::outcome;
use rondel_ports::snapshots::Snapshots;
use serde::{Deserialize, Serialize};

use crate::context::OpContext;
use crate::work_layer::change;
use crate::{Ops, copy, edit};

/// A file to download.
pub struct Download<'a> {
    /// Its address.
    pub url: &'a str,
    /// The value of the header `Authorization`.
    pub authorization: Option<&'a SecretRef>,
    /// The service that the host is. `None`: the host is found by its name.
    pub service: Option<&'a Service>,
}

/// The result of the last download of an address.
#[derive(Serialize, Deserialize)]
struct CachedDownload {
    validators: Validators,
    digest: Sha256Digest,
    snapshot: Snapshot,
}

impl Ops {
    /// Downloads a file. Always sends a request, and transfers the content only if the server does
    /// not answer `304 Not Modified`. The path of the result is the SHA-256 of the content in
    /// hexadecimal digits, and its time is that of the header `Last-Modified`.
    ///
    /// # Errors
    /// Errors of the server or the network, or a missing secret.
    pub async fn download(self: &Arc<Self>, cx: &OpContext, wanted: &Download<'_>) -> Result<TreePath> {
        // IDENTITY: other credentials may get another file.
        let service = wanted.service.map(Service::digest);
        let key = rondel_digest::of("http/v1", &(wanted.url, wanted.authorization.map(|secret| secret.key), service));
        let span = cx.events.span(Work::Pull, format!("fetch {}", without_secrets(wanted.url)));
        let result = self.fetch(cx, wanted, &key, span.emitter()).await;
        span.end(match &result {
            Ok((_, false)) => Outcome::Cached,
            result => outcome(result),
        });
        result.map(|(place, _)| place)
    }

    async fn fetch(
        self: &Arc<Self>,
        cx: &OpContext,
        wanted: &Download<'_>,
        key: &Digest,
        events: &Emitter,
    ) -> Result<(TreePath, bool)> {
        let plaintext = match wanted.authorization {
            Some(secret) => Some(cx.secrets.plaintext(secret).await?),
            None => None,
        };
        let known = self.known_download(key);
        let nothing = Validators::default();
        let service_host = self.connect_service(&cx.reporting(events), wanted.service).await?;
        let request = Request {
            url: wanted.url,
            authorization: plaintext.as_deref(),
            known: known.as_ref().map_or(&nothing, |known| &known.validators),
            dial: service_host.host.as_ref().map(|host| host.dial.clone()),
            egress: cx.egress,
        };
        let folder = self.temp_dir().await?;
        let content = folder.path().join("content");
        let answer = service_host.during(self.ports.http.fetch(request, &content, events)).await?;
        let Answer::Fetched(fetched) = answer else {
            let known = known.ok_or_else(|| Fault::bug("a server said that nothing changed that was not here"))?;
            return Ok((place(known.digest, known.snapshot), false));
        };
        let Fetched { validators, digest, modified } = fetched;
        let snapshot = self
            .blocking(move |ops| {
                let _folder = folder;
                keep(&*ops.ports.snapshots, &content, digest, modified)
            })
            .await?;
        let known = CachedDownload { validators, digest, snapshot };
        if !known.validators.is_empty() {
            let bytes = serde_json::to_vec(&known)
                .map_err(|e| Fault::bug("cannot write what is known of a download as JSON").caused_by(e))?;
            self.ports.index.put(Table::Facts, key, &bytes, None)?;
        }
        Ok((place(known.digest, known.snapshot), true))
    }

    /// The last download, if its snapshot is still in the store.
    fn known_download(&self, key: &Digest) -> Option<CachedDownload> {
        let known: CachedDownload = serde_json::from_slice(&self.ports.index.get(Table::Facts, key)?).ok()?;
        self.ports.snapshots.touch_if_present(&known.snapshot).then_some(known)
    }
}

fn place(digest: Sha256Digest, snapshot: Snapshot) -> TreePath {
    TreePath { fs: Fs::known(snapshot), path: AbsPath::new(&digest.hex()) }
}

/// Makes a tree of the downloaded file, with its digest as name.
fn keep(
    store: &dyn Snapshots,
    content: &PathBuf,
    digest: Sha256Digest,
    modified: Option<SystemTime>,
) -> Result<Snapshot> {
    let mut file = File::open(content).attempt(|| "read what was downloaded".into())?;
    let name = digest.hex();
    change(store, &Snapshot::empty(), |root| {
        copy::plain_file(&mut file, root.0.as_fd(), name.as_ref(), 0o600)?;
        let seconds = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
        let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
        match seconds {
            Some(seconds) => edit::apply(&Edit::Timestamps { path: AbsPath::new(&name), seconds }, root),
            None => Ok(()),
        }
    })
}

/// An address without the parts that may be secret: user, password and query.
fn without_secrets(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        let check = |url: &str, want: &str| assert_eq!(without_secrets(url), want);
        check("http://user:hunter2@h.example/a?token=hunter2", "http://h.example/a");
        check("https://h.example", "https://h.example");
        check("https://h.example/a@b#c", "https://h.example/a@b");
    }
}
