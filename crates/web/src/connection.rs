//! HTTP clients with the host's certificates and proxies, and errors of their requests.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, Url, redirect};
use rondel_fault::{Attempt as _, Fault, Result};

use crate::proxy_env::ProxyEnvironment;

/// How many redirects are followed.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// Timeouts of a client. The defaults are for the open internet.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For making a connection.
    pub connect: Duration,
    /// For the next byte.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), idle: Duration::from_secs(60) }
    }
}

/// A client that trusts the host's certificates and uses its proxies. `policy` decides about
/// redirects.
///
/// # Errors
/// When none of the named certificates can be read, or a proxy is no URL.
pub fn client(proxy_env: &ProxyEnvironment, limits: Limits, policy: redirect::Policy) -> Result<reqwest::Client> {
    client_with(proxy_env, limits, policy, |builder| builder)
}

/// A [`client`] whose builder is changed by `more`.
pub(crate) fn client_with(
    proxy_env: &ProxyEnvironment,
    limits: Limits,
    policy: redirect::Policy,
    more: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(proxy_env)?)
        .user_agent(concat!("rondel/", env!("CARGO_PKG_VERSION")))
        .redirect(policy)
        .referer(false)
        .connect_timeout(limits.connect)
        .read_timeout(limits.idle)
        .no_proxy();
    for proxy in proxies(proxy_env)? {
        builder = builder.proxy(proxy);
    }
    more(builder).build().attempt(|| "set up the HTTP client".into())
}

fn tls(proxy_env: &ProxyEnvironment) -> Result<rustls::ClientConfig> {
    let (file, dir) = (proxy_env.certificate_file.as_deref(), proxy_env.certificate_dir.as_deref());
    let found = match (file, dir) {
        (None, None) => rustls_native_certs::load_native_certs(),
        (file, dir) => rustls_native_certs::load_certs_from_paths(file, dir),
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        // Without certificates, plain HTTP still works.
        for error in &found.errors {
            tracing::warn!(%error, "the trusted certificates of the host could not be read");
        }
        if let Some(named) = file.or(dir) {
            return Err(Fault::environment(format!("there are no certificates in `{}`", named.display()))
                .with_hint("set SSL_CERT_FILE to a PEM file with the certificates to trust, or unset it"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .attempt(|| "set up TLS".into())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn proxies(proxy_env: &ProxyEnvironment) -> Result<Vec<reqwest::Proxy>> {
    let user = proxy_env.no_proxy.as_deref().unwrap_or_default();
    let direct = reqwest::NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{user}"));
    let make = |make: fn(&str) -> reqwest::Result<reqwest::Proxy>, url: &str, name: &str| {
        // The address may hold a password, so the error does not show it.
        let proxy = make(url).map_err(|_| Fault::user(format!("{name} is not the address of a proxy")))?;
        Ok(proxy.no_proxy(direct.clone()))
    };
    let http = proxy_env.http_proxy.as_deref().map(|url| make(|u| reqwest::Proxy::http(u), url, "HTTP_PROXY"));
    let https = proxy_env.https_proxy.as_deref().map(|url| make(|u| reqwest::Proxy::https(u), url, "HTTPS_PROXY"));
    http.into_iter().chain(https).collect()
}

/// Whether `host` or `host:port` is this machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An error of the network, without the address, which may hold a signature.
pub fn network(error: reqwest::Error, attempted: &str) -> Fault {
    let error = error.without_url();
    if let Some(fault) = refusal(&error) {
        return fault.context(format!("cannot {attempted}"));
    }
    let mut reason = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        reason = cause.to_string();
        next = cause.source();
    }
    let timeout = if error.is_timeout() { ": no answer in time" } else { "" };
    Fault::environment(format!("cannot {attempted}{timeout}")).caused_by(std::io::Error::other(reason))
}

/// The egress rules' refusal, if that is why a request failed, else `None`.
pub(crate) fn refusal(error: &reqwest::Error) -> Option<Fault> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Some(fault.clone());
        }
        next = cause.source();
    }
    None
}

/// Reads the body of a response from the server `whom`, at most `limit` bytes.
///
/// # Errors
/// When it is larger, or the connection breaks.
pub async fn body(mut response: Response, limit: u64, whom: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| network(e, &format!("read the answer of {whom}")))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Fault::user(format!("the answer of {whom} is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Scheme, host and port of a URL.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A URL for messages, without the parts that may be secret.
pub fn shown(url: &Url) -> String {
    let mut text = format!("{}{}", origin(url), url.path());
    if url.query().is_some() {
        text.push_str("?…");
    }
    text
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
        let with = |change: fn(&mut ProxyEnvironment)| {
            let mut proxy_env = ProxyEnvironment::default();
            change(&mut proxy_env);
            client(&proxy_env, Limits::default(), redirect::Policy::none()).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(with(|s| s.https_proxy = Some("http://u:pw@proxy.example:3128".into())), Ok(()));
        assert_eq!(
            with(|s| s.http_proxy = Some("http://[hunter2".into())),
            Err("HTTP_PROXY is not the address of a proxy".into())
        );
        let missing = with(|s| s.certificate_file = Some("/nonexistent/ca.pem".into()));
        assert_eq!(missing, Err("there are no certificates in `/nonexistent/ca.pem`".into()));
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        let check = |url: &str, want: &str| assert_eq!(shown(&url.parse().expect("an address")), want);
        check("http://user:hunter2@h.example:81/a/b?token=hunter2#x", "http://h.example:81/a/b?…");
        check("https://h.example", "https://h.example/");
    }
}
