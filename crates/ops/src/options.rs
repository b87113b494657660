//! What every process is given besides what its op says. None of it counts for any key.

use std::path::PathBuf;
use std::sync::Arc;

use rondel_ports::cache::Watch;

/// What every process is given.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Certificate authorities of the host.
    pub trust: HostTrust,
    /// Proxy variables of the engine, passed through where the user has not set them.
    pub proxies: Vec<(String, String)>,
    /// Who watches; none: nobody.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Certificate authorities that the host trusts.
#[derive(Clone, Debug, Default)]
pub struct HostTrust {
    /// A bundle of all of them, bound at [`BUNDLE_TARGET`].
    pub bundle: Option<PathBuf>,
    /// The bundle has authorities that images do not know. Else only images without a bundle of
    /// their own get it.
    pub added: bool,
    /// The folder of those that the host's administrator added, bound at [`EXTRA_TARGET`] when both it has content and
    /// the container has none there.
    pub extra_dir: Option<PathBuf>,
}

impl HostTrust {
    /// Whether every process has the bundle, whatever its image has.
    pub(crate) fn is_always_given(&self) -> bool {
        self.added && self.bundle.is_some()
    }
}

/// Where processes find the host's bundle. `/dev` is new in every container, so nothing of it is
/// ever in a layer. The bundle of a distribution is no place for it: programs that make that file
/// anew rename it, which a mount there would refuse.
pub const BUNDLE_TARGET: &str = "/dev/.rondel-ca.crt";

/// Where distributions keep a bundle of the authorities that they trust.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where processes find what the host's administrator added.
pub const EXTRA_TARGET: &str = "/usr/local/share/ca-certificates";

/// Variables that tell programs to use the host's bundle.
pub const BUNDLE_VARIABLES: [&str; 6] =
    ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"];

/// The `PATH` of a process whose environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host name of every container. Compatibility: users of the original rely on it.
pub const HOSTNAME: &str = "dagger";
