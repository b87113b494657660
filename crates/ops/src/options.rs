//! What every process gets in addition to its op: certificate authorities and proxies. Nothing here
//! is part of a cache key.

use std::path::PathBuf;
use std::sync::Arc;

use rondel_ports::cache::Watch;

/// What every process gets in addition to its op.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Certificate authorities of the host.
    pub trust: HostTrust,
    /// Proxy variables of the engine, passed on unless the user set them.
    pub proxies: Vec<(String, String)>,
    /// Tracks uses for garbage collection and records cache misses. `None`: neither is done.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Certificate authorities that the host trusts.
#[derive(Clone, Debug, Default)]
pub struct HostTrust {
    /// A CA bundle of all of them, mounted at [`BUNDLE_TARGET`].
    pub bundle: Option<PathBuf>,
    /// Whether the bundle has authorities that images do not know. Otherwise only images without
    /// their own bundle get it.
    pub added: bool,
    /// The directory of authorities that the host's administrator added. Mounted at
    /// [`EXTRA_TARGET`] if it has content and the container has none there.
    pub extra_dir: Option<PathBuf>,
}

impl HostTrust {
    /// Whether every process gets the bundle, also in images with their own.
    pub(crate) fn is_always_given(&self) -> bool {
        self.added && self.bundle.is_some()
    }
}

/// Where processes find the host's bundle. `/dev` is new in every container, so the mount point
/// never gets into a layer. Mounting over the distribution's bundle would break programs that
/// replace that file by a rename.
pub const BUNDLE_TARGET: &str = "/dev/.rondel-ca.crt";

/// Where distributions have their CA bundle.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where processes find the authorities that the host's administrator added.
pub const EXTRA_TARGET: &str = "/usr/local/share/ca-certificates";

/// Variables that tell programs to use the host's bundle.
pub const BUNDLE_VARIABLES: [&str; 6] =
    ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"];

/// The `PATH` of a process whose environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host name of every container. Compatibility: users of the original rely on it.
pub const HOSTNAME: &str = "dagger";
