//! Registry configuration, and the variables of the host that matter here. Plain data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rondel_model::image::ImageRef;
use rondel_web::{Limits, ProxyEnvironment};
use serde::{Deserialize, Serialize};

/// The configured sources of images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// Asked in this order, before the registry itself.
    pub mirrors: Vec<Mirror>,
    /// Registries (`host` or `host:port`) that may be spoken to without TLS. Loopback addresses
    /// always may.
    pub insecure: Vec<String>,
    /// Ask no registry over the network: only layout folders serve.
    pub offline: bool,
}

/// A place that has copies of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirror {
    /// Which images it serves: `docker.io`, `*.example.com`, `docker.io/library`,
    /// `ghcr.io/owner/image`; everything when missing or `*`.
    #[serde(default)]
    pub registry: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub location: MirrorLocation,
}

/// Where a mirror is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorLocation {
    /// Another registry: `https://host[:port][/prefix]`, or without scheme as in an image
    /// reference.
    Url(String),
    /// An OCI layout folder.
    Layout(PathBuf),
}

impl Mirror {
    /// Whether it serves the image.
    pub fn serves(&self, reference: &ImageRef) -> bool {
        let Some(pattern) = self.registry.as_deref().filter(|p| *p != "*" && !p.is_empty()) else {
            return true;
        };
        let (host, path) = pattern.split_once('/').map_or((pattern, ""), |(h, p)| (h, p.trim_end_matches('/')));
        let host_matches = match host.strip_prefix("*.") {
            Some(domain) => reference.registry.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => host == reference.registry,
        };
        let rest = reference.repository.strip_prefix(path);
        host_matches && (path.is_empty() || rest.is_some_and(|r| r.is_empty() || r.starts_with('/')))
    }

    /// Whether it serves only the repository of `reference`, so that a bare tag says enough.
    pub(crate) fn serves_only(&self, reference: &ImageRef) -> bool {
        self.registry.as_deref() == Some(reference.name().as_str())
    }
}

/// How long to wait. The defaults are for the open internet.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte.
    pub idle: Duration,
    /// Before the first repetition; doubled for each further one.
    pub pause: Duration,
}

impl Timeouts {
    /// For one request.
    pub(crate) fn limits(&self) -> Limits {
        Limits { connect: self.connect, idle: self.idle }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), idle: Duration::from_secs(60), pause: Duration::from_millis(300) }
    }
}

/// The environment variables that the registry client needs. `None` means unset.
#[derive(Debug, Clone, Default)]
pub struct RegistryEnvironment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the folder of `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// The folders of `PATH`, where credential helpers are found.
    pub path: Vec<PathBuf>,
    /// Trust and proxies.
    pub web: ProxyEnvironment,
}

impl RegistryEnvironment {
    /// Takes what is needed from the variables that `get` knows; `std::env::var_os` for the
    /// process' own.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| get(name).filter(|v| !v.is_empty());
        let folder = |name: &str| value(name).map(PathBuf::from);
        Self {
            home: folder("HOME"),
            docker_config: folder("DOCKER_CONFIG"),
            registry_auth_file: folder("REGISTRY_AUTH_FILE"),
            runtime_dir: folder("XDG_RUNTIME_DIR"),
            config_home: folder("XDG_CONFIG_HOME"),
            path: value("PATH").map(|v| std::env::split_paths(&v).collect()).unwrap_or_default(),
            web: ProxyEnvironment::from_variables(&get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_serve_by_prefix() {
        let check = |pattern: Option<&str>, reference: &str, want: bool| {
            let mirror =
                Mirror { registry: pattern.map(Into::into), location: MirrorLocation::Layout("/images".into()) };
            let reference: ImageRef = reference.parse().unwrap();
            assert_eq!(mirror.serves(&reference), want, "{pattern:?} {reference}");
        };
        check(None, "alpine", true);
        check(Some("*"), "ghcr.io/a/b", true);
        check(Some("docker.io"), "alpine", true);
        check(Some("docker.io"), "ghcr.io/a/b", false);
        check(Some("docker.io/library"), "alpine", true);
        check(Some("docker.io/library/alp"), "alpine", false);
        check(Some("docker.io/library/alpine"), "alpine:3", true);
        check(Some("*.example.com"), "r.example.com/x", true);
        check(Some("*.example.com"), "rexample.com/x", false);
        check(Some("*.example.com"), "example.com/x", false);
    }

    #[test]
    fn configuration_is_read_from_data() {
        let text = r#"{"mirrors":[{"registry":"docker.io","layout":"/images"},{"url":"http://localhost:5000"}],"offline":true}"#;
        let config: RegistryConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.mirrors[0].location, MirrorLocation::Layout("/images".into()));
        assert_eq!(config.mirrors[1].location, MirrorLocation::Url("http://localhost:5000".into()));
        assert!(config.offline && config.mirrors[1].registry.is_none());
    }

    #[test]
    fn the_environment_is_read() {
        let environment = RegistryEnvironment::from_variables(|name| match name {
            "HTTPS_PROXY" => Some("http://b:1".into()),
            "PATH" => Some("/a:/b".into()),
            _ => None,
        });
        assert_eq!(environment.web.https_proxy.as_deref(), Some("http://b:1"));
        assert_eq!(environment.path, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
