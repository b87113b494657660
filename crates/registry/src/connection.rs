//! Requests to registries: schemes, tokens, repetition.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Result, lock};
use rondel_ports::dirs::TempDir;
use rondel_ports::network::Host;
use rondel_web::{UnixRelay, is_loopback};

use crate::auth::Tokens;
use crate::config::{RegistryConfig, RegistryEnvironment, Timeouts};

/// A request is repeated so often when the network or the registry fails.
pub(crate) const RETRIES: u32 = 3;
/// Whose answers are read, in messages.
pub(crate) const REGISTRY: &str = "the registry";
const MAX_REDIRECTS: usize = 10;
const MAX_PAUSE: Duration = Duration::from_secs(30);
const MAX_BLOB_REPOSITORIES: usize = 10_000;

/// Everything that requests share.
pub(crate) struct Connection {
    http: reqwest::Client,
    /// It is a process in a container that asks.
    for_containers: bool,
    pub(crate) environment: RegistryEnvironment,
    pub(crate) timing: Timeouts,
    pub(crate) tokens: Tokens,
    insecure: HashSet<String>,
    schemes: Mutex<HashMap<String, &'static str>>,
    blob_repositories: Mutex<HashMap<(String, Sha256Digest), String>>,
    /// What all requests go through, when no name leads to the registry.
    _relay: Option<(UnixRelay, TempDir)>,
}

impl Connection {
    pub(crate) fn new(config: &RegistryConfig, environment: RegistryEnvironment, timing: Timeouts) -> Result<Self> {
        let http = rondel_web::client(&environment.web, timing.limits(), reqwest::redirect::Policy::custom(follow))?;
        Ok(Self {
            http,
            for_containers: false,
            environment,
            timing,
            tokens: Tokens::default(),
            insecure: config.insecure.iter().cloned().collect(),
            schemes: Mutex::default(),
            blob_repositories: Mutex::default(),
            _relay: None,
        })
    }

    /// Requests for a process in a container: to no registry of this machine.
    ///
    /// # Errors
    /// As for [`Connection::new`].
    pub(crate) fn for_containers(&self) -> Result<Self> {
        Ok(Self {
            http: rondel_web::egress_checked_client(&self.environment.web, self.timing.limits(), follow)?,
            for_containers: true,
            environment: self.environment.clone(),
            timing: self.timing,
            tokens: Tokens::default(),
            insecure: self.insecure.clone(),
            schemes: Mutex::default(),
            blob_repositories: Mutex::default(),
            _relay: None,
        })
    }

    /// Requests to the registry `authority` that `host` is, and to nothing else. Nothing that is
    /// known of others is true of it.
    ///
    /// # Errors
    /// When it accepts no connection.
    pub(crate) async fn via_host(&self, host: &Host, authority: &str) -> Result<Self> {
        let attempted = || format!("reach the registry `{authority}`");
        let parse = |scheme: &str| Url::parse(&format!("{scheme}://{authority}/")).attempt(attempted);
        let mut url = parse("http")?;
        if let Err(fault) = accepts(host, &url).await {
            let other = parse("https")?;
            let same = url.port().is_some() || accepts(host, &other).await.is_err();
            if same {
                return Err(fault.context(format!("cannot {}", attempted())));
            }
            url = other;
        }
        let folder = TempDir::create_in(&host.folder).attempt(attempted)?;
        let relay = UnixRelay::open(folder.path(), &url, host.dial.clone())?;
        Ok(Self {
            http: relay.client(&self.environment.web, self.timing.limits())?,
            for_containers: false,
            environment: self.environment.clone(),
            timing: self.timing,
            tokens: Tokens::default(),
            insecure: HashSet::from([authority.to_owned()]),
            schemes: Mutex::default(),
            blob_repositories: Mutex::default(),
            _relay: Some((relay, folder)),
        })
    }

    /// A request, wherever its address came from: a registry may name its token server, and where
    /// to upload to.
    ///
    /// # Errors
    /// When a process in a container may not ask there.
    pub(crate) fn request(&self, method: Method, url: Url) -> Result<RequestBuilder> {
        if self.for_containers {
            rondel_web::check(&self.environment.web.egress, &url)?;
        }
        Ok(self.http.request(method, url))
    }

    /// The scheme under which `authority` is reached.
    pub(crate) async fn scheme(&self, authority: &str) -> &'static str {
        if !is_loopback(authority) && !self.insecure.contains(authority) {
            return "https";
        }
        let known = lock(&self.schemes).get(authority).copied();
        if let Some(scheme) = known {
            return scheme;
        }
        let Some(scheme) = self.probe(authority).await else {
            return "http";
        };
        lock(&self.schemes).insert(authority.to_owned(), scheme);
        scheme
    }

    /// Finds out whether a registry that may be reached by plain HTTP is. `None` if it does not
    /// answer.
    async fn probe(&self, authority: &str) -> Option<&'static str> {
        match self.http.get(format!("http://{authority}/v2/")).send().await {
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
                let said = rondel_web::body(response, 4096, REGISTRY).await.unwrap_or_default();
                Some(if String::from_utf8_lossy(&said).contains("HTTPS") { "https" } else { "http" })
            }
            Ok(_) => Some("http"),
            Err(_) => self.http.get(format!("https://{authority}/v2/")).send().await.ok().map(|_| "https"),
        }
    }

    /// Waits before the repetition number `attempt` (from 0), as long as the registry asks for
    /// within reason.
    pub(crate) async fn back_off(&self, attempt: u32, asked: Option<Duration>) {
        let pause = asked.unwrap_or(self.timing.pause * 2u32.saturating_pow(attempt));
        tokio::time::sleep(pause.min(MAX_PAUSE)).await;
    }

    /// Remembers that a repository of the registry has the blob, so that it can be mounted from
    /// there.
    pub(crate) fn note_blob_repository(&self, registry: &str, digest: Sha256Digest, repository: &str) {
        let mut blob_repositories = lock(&self.blob_repositories);
        if blob_repositories.len() >= MAX_BLOB_REPOSITORIES {
            blob_repositories.clear();
        }
        blob_repositories.insert((registry.to_owned(), digest), repository.to_owned());
    }

    /// A repository of the registry that has the blob.
    pub(crate) fn blob_repository(&self, registry: &str, digest: Sha256Digest) -> Option<String> {
        let blob_repositories = lock(&self.blob_repositories);
        blob_repositories.get(&(registry.to_owned(), digest)).cloned()
    }
}

/// Whether the port of `url` accepts connections.
async fn accepts(host: &Host, url: &Url) -> Result<()> {
    let attempted = || format!("connect to `{}`", rondel_web::origin(url));
    let (dial, port) = (host.dial.clone(), url.port_or_known_default().unwrap_or_default());
    tokio::task::spawn_blocking(move || dial(port).map(drop)).await.attempt(attempted)?
}

/// Follows redirects, but never from TLS into the clear.
fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    let secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        return attempt.error("the registry redirects from https to http");
    }
    attempt.follow()
}

/// Whether a repetition may help, and when the registry wants it.
pub(crate) fn worth_repeating(response: &Response) -> Option<Option<Duration>> {
    let status = response.status();
    let transient = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
    let seconds = || response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok();
    transient.then(|| seconds().map(Duration::from_secs))
}
