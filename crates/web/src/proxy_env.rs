//! The proxy and certificate variables of the host, as plain data. The only place where they are
//! read.

use std::ffi::OsString;
use std::path::PathBuf;

use rondel_ports::egress::Egress;

/// Proxies and certificates from the user's environment. `None` for variables that are not set.
#[derive(Debug, Clone, Default)]
pub struct ProxyEnvironment {
    /// `SSL_CERT_FILE`: the trusted certificates, instead of the host's.
    pub certificate_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: a directory of trusted certificates, instead of the host's.
    pub certificate_dir: Option<PathBuf>,
    /// `HTTP_PROXY` or `http_proxy`.
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY` or `https_proxy`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY` or `no_proxy`. Loopback addresses never go through a proxy.
    pub no_proxy: Option<String>,
    /// What work for a process in a container may connect to.
    pub egress: Egress,
}

impl ProxyEnvironment {
    /// Reads the variables through `get`, which is `std::env::var_os` for the process's own.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| get(name).filter(|v| !v.is_empty());
        let text = |upper: &str| {
            let found = value(&upper.to_ascii_lowercase()).or_else(|| value(upper));
            found.and_then(|v| v.into_string().ok())
        };
        Self {
            certificate_file: value("SSL_CERT_FILE").map(PathBuf::from),
            certificate_dir: value("SSL_CERT_DIR").map(PathBuf::from),
            http_proxy: text("HTTP_PROXY"),
            https_proxy: text("HTTPS_PROXY"),
            no_proxy: text("NO_PROXY"),
            egress: Egress::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_proxies_win() {
        let proxy_env = ProxyEnvironment::from_variables(|name| match name {
            "https_proxy" => Some("http://a:1".into()),
            "HTTPS_PROXY" => Some("http://b:1".into()),
            "NO_PROXY" => Some("x".into()),
            _ => None,
        });
        assert_eq!(proxy_env.https_proxy.as_deref(), Some("http://a:1"));
        assert_eq!(proxy_env.no_proxy.as_deref(), Some("x"));
    }
}
