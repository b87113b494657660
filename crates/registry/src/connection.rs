//! Requests to registries: TLS, proxies, limits, repetition.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Response, StatusCode, Url};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result};

use crate::auth::Tokens;
use crate::config::{Environment, RegistryConfig, Timing};

/// A request is repeated so often when the network or the registry fails.
pub(crate) const RETRIES: u32 = 3;
const MAX_REDIRECTS: usize = 10;
const MAX_PAUSE: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 10_000;

/// Everything that requests share.
pub(crate) struct Connection {
    pub(crate) http: reqwest::Client,
    pub(crate) environment: Environment,
    pub(crate) timing: Timing,
    pub(crate) tokens: Tokens,
    insecure: HashSet<String>,
    schemes: Mutex<HashMap<String, &'static str>>,
    holders: Mutex<HashMap<(String, Sha256Digest), String>>,
}

impl Connection {
    pub(crate) fn new(config: &RegistryConfig, environment: Environment, timing: Timing) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&environment)?)
            .user_agent(concat!("rondel/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::custom(follow))
            .referer(false)
            .connect_timeout(timing.connect)
            .read_timeout(timing.idle)
            .no_proxy();
        for proxy in proxies(&environment)? {
            builder = builder.proxy(proxy);
        }
        Ok(Self {
            http: builder.build().attempt(|| "set up the HTTP client".into())?,
            environment,
            timing,
            tokens: Tokens::default(),
            insecure: config.insecure.iter().cloned().collect(),
            schemes: Mutex::default(),
            holders: Mutex::default(),
        })
    }

    /// The scheme under which `authority` is reached.
    pub(crate) async fn scheme(&self, authority: &str) -> &'static str {
        if !is_loopback(authority) && !self.insecure.contains(authority) {
            return "https";
        }
        let known = self.schemes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(authority).copied();
        if let Some(scheme) = known {
            return scheme;
        }
        let Some(scheme) = self.probe(authority).await else {
            return "http";
        };
        self.schemes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(authority.to_owned(), scheme);
        scheme
    }

    /// Finds out whether a registry that may be spoken to in the clear wants to be. `None`: nobody answers.
    async fn probe(&self, authority: &str) -> Option<&'static str> {
        match self.http.get(format!("http://{authority}/v2/")).send().await {
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
                let said = body(response, 4096).await.unwrap_or_default();
                Some(if String::from_utf8_lossy(&said).contains("HTTPS") { "https" } else { "http" })
            }
            Ok(_) => Some("http"),
            Err(_) => self.http.get(format!("https://{authority}/v2/")).send().await.ok().map(|_| "https"),
        }
    }

    /// Waits before the repetition number `attempt` (from 0), as long as the registry asks for within reason.
    pub(crate) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        let pause = asked.unwrap_or(self.timing.pause * 2u32.saturating_pow(attempt));
        tokio::time::sleep(pause.min(MAX_PAUSE)).await;
    }

    /// Remembers that a repository of the registry has the blob, so that it can be mounted from there.
    pub(crate) fn remember(&self, registry: &str, digest: Sha256Digest, repository: &str) {
        let mut holders = self.holders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if holders.len() >= MAX_REMEMBERED {
            holders.clear();
        }
        holders.insert((registry.to_owned(), digest), repository.to_owned());
    }

    /// A repository of the registry that has the blob.
    pub(crate) fn holder(&self, registry: &str, digest: Sha256Digest) -> Option<String> {
        let holders = self.holders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        holders.get(&(registry.to_owned(), digest)).cloned()
    }
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

fn tls(environment: &Environment) -> Result<rustls::ClientConfig> {
    let (file, dir) = (environment.certificate_file.as_deref(), environment.certificate_dir.as_deref());
    let found = match (file, dir) {
        (None, None) => rustls_native_certs::load_native_certs(),
        (file, dir) => rustls_native_certs::load_certs_from_paths(file, dir),
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // A host without certificates can still use layouts and loopback registries.
        for error in &found.errors {
            tracing::warn!(%error, "the trusted certificates of the host could not be read");
        }
        if let Some(named) = file.or(dir) {
            return Err(Fault::environment(format!("there are no certificates in `{}`", named.display()))
                .with_hint("Set SSL_CERT_FILE to a PEM file with the certificates to trust, or unset it"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .attempt(|| "set up TLS".into())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn proxies(environment: &Environment) -> Result<Vec<reqwest::Proxy>> {
    let user = environment.no_proxy.as_deref().unwrap_or_default();
    let direct = reqwest::NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{user}"));
    let make = |make: fn(&str) -> reqwest::Result<reqwest::Proxy>, url: &str, name: &str| {
        // The address may hold a password: it is not told.
        let proxy = make(url).map_err(|_| Fault::user(format!("{name} is not the address of a proxy")))?;
        Ok(proxy.no_proxy(direct.clone()))
    };
    let http = environment.http_proxy.as_deref().map(|url| make(|u| reqwest::Proxy::http(u), url, "HTTP_PROXY"));
    let https = environment.https_proxy.as_deref().map(|url| make(|u| reqwest::Proxy::https(u), url, "HTTPS_PROXY"));
    http.into_iter().chain(https).collect()
}

/// Whether `host` or `host:port` is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a repetition may help, and when the registry wants it.
pub(crate) fn worth_repeating(response: &Response) -> Option<Option<Duration>> {
    let status = response.status();
    let transient = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
    let seconds = || response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok();
    transient.then(|| seconds().map(Duration::from_secs))
}

/// A failure of the network, told without the address: it may hold a signature.
pub(crate) fn network(error: reqwest::Error, attempted: &str) -> Fault {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        reason = cause.to_string();
        next = cause.source();
    }
    let timeout = if error.is_timeout() { ": no answer in time" } else { "" };
    Fault::environment(format!("cannot {attempted}{timeout}")).caused_by(std::io::Error::other(reason))
}

/// The body of a response, at most `limit` bytes.
pub(crate) async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| network(e, "read the answer of the registry"))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Fault::user(format!("the answer of the registry is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Scheme, host and port.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:5000", "r.localhost:1"]
        {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["docker.io", "10.0.0.1:5000", "[fe80::1]:5000", "localhost.example", "127.0.0.1.example", ""] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn proxies_and_certificates_are_checked() {
        let with = |change: fn(&mut Environment)| {
            let mut environment = Environment::default();
            change(&mut environment);
            Connection::new(&RegistryConfig::default(), environment, Timing::default())
                .map(|_| ())
                .map_err(|e| e.to_string())
        };
        assert_eq!(with(|e| e.https_proxy = Some("http://u:pw@proxy.example:3128".into())), Ok(()));
        assert_eq!(
            with(|e| e.http_proxy = Some("http://[hunter2".into())),
            Err("HTTP_PROXY is not the address of a proxy".into())
        );
        let missing = with(|e| e.certificate_file = Some("/nonexistent/ca.pem".into()));
        assert_eq!(missing, Err("there are no certificates in `/nonexistent/ca.pem`".into()));
    }
}
