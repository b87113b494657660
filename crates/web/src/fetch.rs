//! Download of files: streamed to disk, and revalidated with `ETag` and `Last-Modified`.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Response, StatusCode, Url, redirect};
use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Kind, Result};
use rondel_ports::BoxFuture;
use rondel_ports::egress::EgressScope;
use rondel_ports::http::{Answer, Fetched, Http, Request, Validators};
use rondel_ports::secrets::Plaintext;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;

use crate::connection::{Limits, MAX_REDIRECTS, client, network, refusal, shown};
use crate::egress_client::{check, egress_checked_client};
use crate::proxy_env::ProxyEnvironment;
use crate::unix_relay::UnixRelay;

/// How often a request is repeated whose connection was reset.
const RETRIES: u32 = 3;
/// The pause before the first repetition. It doubles for each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// Fetches files from the web. Cheap to share behind an `Arc`. Keeps connections open.
pub struct Web {
    proxy_env: ProxyEnvironment,
    limits: Limits,
    client: reqwest::Client,
    /// The client for processes in containers. Made with the first request.
    outside: OnceCell<reqwest::Client>,
}

impl Web {
    /// Fetches with the proxies and certificates of `proxy_env`.
    ///
    /// # Errors
    /// As for [`client`].
    pub fn new(proxy_env: ProxyEnvironment, limits: Limits) -> Result<Self> {
        let client = client(&proxy_env, limits, redirect::Policy::limited(MAX_REDIRECTS))?;
        Ok(Self { proxy_env, limits, client, outside: OnceCell::new() })
    }

    async fn get(&self, request: Request<'_>, into: &Path, progress: &Emitter) -> Result<Answer> {
        let url = address(request.url)?;
        let what = format!("fetch `{}`", shown(&url));
        let beside = into.parent().unwrap_or(Path::new("/"));
        let relay = request.dial.map(|dial| UnixRelay::open(beside, &url, dial)).transpose()?;
        let client = match (&relay, request.egress) {
            (Some(relay), _) => relay.client(&self.proxy_env, self.limits)?,
            (None, EgressScope::Anywhere) => self.client.clone(),
            (None, EgressScope::Outside) => {
                check(&self.proxy_env.egress, &url).map_err(|fault| fault.context(format!("cannot {what}")))?;
                let make = || async { egress_checked_client(&self.proxy_env, self.limits, follow) };
                self.outside.get_or_try_init(make).await?.clone()
            }
        };
        let mut headers = HeaderMap::new();
        if let Some(plaintext) = request.authorization {
            headers.insert(AUTHORIZATION, authorization(plaintext)?);
        }
        conditions(&mut headers, request.known);
        let mut repeated = 0;
        loop {
            let call = client.get(url.clone()).headers(headers.clone());
            match once(call, &what, request.known, into, progress).await {
                Err(FetchError::Reset(fault)) if repeated < RETRIES => {
                    tracing::debug!(%fault, "repeating a request");
                    tokio::time::sleep(PAUSE * 2u32.pow(repeated)).await;
                    repeated += 1;
                }
                Err(FetchError::Reset(fault) | FetchError::Final(fault)) => return Err(fault),
                Ok(answer) => return Ok(answer),
            }
        }
    }
}

/// Follows redirects, a bounded number of times.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

impl Http for Web {
    fn fetch<'a>(
        &'a self,
        request: Request<'a>,
        into: &'a Path,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(self.get(request, into, progress))
    }
}

enum FetchError {
    /// The connection was reset.
    Reset(Fault),
    /// An error that a repetition would not cure.
    Final(Fault),
}

impl From<Fault> for FetchError {
    fn from(fault: Fault) -> Self {
        FetchError::Final(fault)
    }
}

/// Makes one request and writes the answer to `into`.
async fn once(
    call: reqwest::RequestBuilder,
    what: &str,
    known: &Validators,
    into: &Path,
    progress: &Emitter,
) -> Result<Answer, FetchError> {
    let response = call.send().await.map_err(|e| failure(e, what))?;
    if response.status() == StatusCode::NOT_MODIFIED && !known.is_empty() {
        return Ok(Answer::Unchanged);
    }
    let response = expect(response, what)?;
    let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let validators = Validators { etag: text(ETAG), last_modified: text(LAST_MODIFIED) };
    let modified = validators.last_modified.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
    let digest = write(response, what, into, progress).await?;
    Ok(Answer::Fetched(Fetched { validators, digest, modified }))
}

async fn write(
    mut response: Response,
    what: &str,
    into: &Path,
    progress: &Emitter,
) -> Result<Sha256Digest, FetchError> {
    let attempted = || format!("write `{}`", into.display());
    let total = response.content_length().unwrap_or(0);
    let mut file = tokio::fs::File::create(into).await.attempt(attempted)?;
    let (mut hash, mut size) = (sha2::Sha256::new(), 0u64);
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(e, what, size, total))? {
        hash.update(&chunk);
        file.write_all(&chunk).await.attempt(attempted)?;
        size += chunk.len() as u64;
        progress.bytes(size, total);
    }
    file.flush().await.attempt(attempted)?;
    Ok(Sha256Digest::from_bytes(hash.finalize().into()))
}

/// Returns an error unless the status is a success.
fn expect(response: Response, what: &str) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
        status if status.is_client_error() => Kind::User,
        _ => Kind::Environment,
    };
    // Clients match on `invalid response status` and the number.
    let fault = Fault::new(kind, format!("cannot {what}: invalid response status {status}"));
    Err(if kind == Kind::Denied { fault.with_hint("set `authHeader`, or check the one that is set") } else { fault })
}

fn failure(error: reqwest::Error, what: &str) -> FetchError {
    let reset = is_reset(&error);
    let fault = if error.is_redirect() && refusal(&error).is_none() {
        Fault::user(format!("cannot {what}: it redirects more than {MAX_REDIRECTS} times"))
    } else {
        network(error, what)
    };
    if reset { FetchError::Reset(fault) } else { FetchError::Final(fault) }
}

fn broken(error: reqwest::Error, what: &str, size: u64, total: u64) -> FetchError {
    if is_reset(&error) {
        return FetchError::Reset(network(error, what));
    }
    let timeout = error.is_timeout();
    let fault = network(error, what);
    FetchError::Final(match (timeout, total) {
        (true, _) => fault,
        (false, 0) => fault.context(format!("cannot {what}: the answer is truncated: it ended after {size} bytes")),
        (false, _) => fault.context(format!("cannot {what}: the answer is truncated: it has {size} of {total} bytes")),
    })
}

/// Whether the server broke the connection, so that a repetition may help.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let unanswered = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let reset = cause.downcast_ref::<io::Error>().is_some_and(|e| {
            matches!(
                e.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
            )
        });
        if unanswered || reset {
            return true;
        }
        next = cause.source();
    }
    false
}

fn address(text: &str) -> Result<Url> {
    // The text may hold a password, so the error does not show it.
    let url = Url::parse(text).map_err(|e| Fault::user("cannot fetch a file: its address is no URL").caused_by(e))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => {
            Err(Fault::user(format!("cannot fetch `{other}:…`: only http and https addresses are files of the web")))
        }
    }
}

fn authorization(plaintext: &Plaintext) -> Result<HeaderValue> {
    // Files of secrets usually end with a line break.
    let mut header = HeaderValue::from_bytes(plaintext.bytes().trim_ascii())
        .map_err(|_| Fault::user("the secret of `authHeader` has characters that no header can carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn conditions(headers: &mut HeaderMap, known: &Validators) {
    let mut add = |name: HeaderName, value: &Option<String>| {
        if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    };
    add(IF_NONE_MATCH, &known.etag);
    add(IF_MODIFIED_SINCE, &known.last_modified);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_no_files_of_the_web() {
        let check = |text: &str, want: &str| {
            let message = address(text).expect_err("is refused").to_string();
            assert!(message.contains(want) && !message.contains("hunter2"), "{message}");
        };
        check("hunter2", "no URL");
        check("ftp://u:hunter2@h/x", "only http and https");
        check("file:///etc/hunter2", "only http and https");
        assert!(address("https://h.example/x?y").is_ok());
    }

    #[test]
    fn secrets_become_headers() {
        let header = |text: &[u8]| authorization(&Plaintext::new(text.to_vec()));
        assert!(header(b"Bearer x\n").is_ok_and(|h| h == "Bearer x" && h.is_sensitive()));
        assert!(header(b"a\nb").is_err_and(|e| !e.to_string().contains("a\nb")));
    }
}
