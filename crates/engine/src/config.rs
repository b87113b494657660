//! The configuration file.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_ports::cache::{Policy, Size};
use rondel_ports::egress::Cidr;
use rondel_session::Grants;
use serde::Deserialize;

use crate::config_error::not_understood;

/// The configuration. Every key has a default. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Mirrors in which images are looked up before their registry, in order.
    pub mirrors: Vec<Mirror>,
    /// Registries that the engine connects to without TLS.
    pub insecure_registries: Vec<String>,
    /// Never use the network to find images.
    pub offline: bool,
    /// Seconds without clients after which the engine ends. Zero is never.
    pub idle_seconds: u64,
    /// Whether types of modules come from their source where it decides them. Otherwise the code of
    /// every module runs.
    pub types_from_source: bool,
    /// How many results are cached in memory.
    pub remembered_results: usize,
    /// The engine's name. `None` is the name of the machine.
    pub name: Option<String>,
    /// The loopback address that serves metrics for monitoring. `None` serves them on the engine's
    /// socket only.
    pub metrics: Option<SocketAddr>,
    /// How much disk space the cache may use.
    pub cache: CacheConfig,
    /// Resource limits of each container.
    pub limits: LimitsConfig,
    /// Permissions of processes in containers.
    pub security: SecurityConfig,
    /// Entitlements that modules and processes in containers may ask for, as `NAME` or
    /// `NAME=MODULE`. A module is a directory, relative to that of the configuration file, or a
    /// repository.
    pub allow: Vec<String>,
    /// `allow`, parsed.
    #[serde(skip)]
    pub grants: Grants,
}

/// Permissions of processes in containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SecurityConfig {
    /// Addresses of this machine or its link that containers may reach, by themselves and by
    /// `http`, `git` and images.
    pub egress: Vec<Cidr>,
}

/// Resource limits of each container. An absent limit follows from the machine.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct LimitsConfig {
    /// Memory: bytes, or a share of the machine's memory.
    pub memory: Option<Size>,
    /// The number of processes and threads.
    pub processes: Option<NonZeroU64>,
    /// The share of processor time when processors are busy: 1 to 10,000. The default of other
    /// processes is 100.
    pub cpu_weight: Option<Weight>,
    /// The share of disk time, likewise.
    pub io_weight: Option<Weight>,
}

/// A weight of control groups: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;

    fn try_from(number: u16) -> std::result::Result<Self, String> {
        if (1..=10_000).contains(&number) {
            return Ok(Self(number));
        }
        Err(format!("the weight {number} is not between 1 and 10000"))
    }
}

/// How much disk space the cache may use. The names in camel case are those of configurations of
/// Dagger and BuildKit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CacheConfig {
    /// The most disk space that the cache may use.
    #[serde(alias = "maxUsedSpace")]
    pub max_used: Size,
    /// Disk space that the cache may always use, however full the disk is.
    #[serde(alias = "reservedSpace", alias = "keepBytes")]
    pub reserved: Size,
    /// Disk space that stays free.
    #[serde(alias = "minFreeSpace")]
    pub min_free: Size,
    /// How much the cache uses after pruning.
    #[serde(alias = "targetSpace")]
    pub target: Size,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            max_used: Size::Percent(75.0),
            reserved: Size::Percent(10.0),
            min_free: Size::Percent(5.0),
            target: Size::Percent(60.0),
        }
    }
}

impl CacheConfig {
    /// The policy in bytes, on a disk of `disk` bytes.
    pub fn policy(&self, disk: u64) -> Policy {
        Policy {
            max_used: self.max_used.bytes(disk),
            reserved: self.reserved.bytes(disk),
            min_free: self.min_free.bytes(disk),
            target: self.target.bytes(disk),
        }
    }
}

/// A mirror of registries.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "MirrorKeys")]
pub struct Mirror {
    /// The registry that it mirrors, such as `docker.io`. `None` mirrors every registry.
    pub registry: Option<String>,
    /// An OCI layout directory. A relative path is relative to the configuration file.
    pub layout: Option<PathBuf>,
    /// The address of another registry.
    pub url: Option<String>,
}

/// The keys of a mirror, before it is known that they fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MirrorKeys {
    registry: Option<String>,
    layout: Option<PathBuf>,
    url: Option<String>,
}

impl TryFrom<MirrorKeys> for Mirror {
    type Error = &'static str;

    fn try_from(keys: MirrorKeys) -> std::result::Result<Self, Self::Error> {
        let MirrorKeys { registry, layout, url } = keys;
        match layout.is_some() == url.is_some() {
            true => Err("a mirror needs either `layout` or `url`"),
            false => Ok(Self { registry, layout, url }),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            offline: false,
            idle_seconds: 600,
            types_from_source: true,
            remembered_results: 50_000,
            name: None,
            metrics: None,
            cache: CacheConfig::default(),
            limits: LimitsConfig::default(),
            security: SecurityConfig::default(),
            allow: Vec::new(),
            grants: Grants::default(),
        }
    }
}

impl Config {
    /// Reads `path`. A missing file is the default configuration.
    ///
    /// # Errors
    /// When the file cannot be read, or has an unknown key or a malformed value.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(Fault::user(format!("cannot read the configuration `{}`", path.display())).caused_by(e));
            }
        };
        let mut config: Config = toml::from_str(&text).map_err(|e| not_understood(path, &text, &e))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        for mirror in &mut config.mirrors {
            mirror.layout = mirror.layout.take().map(|layout| folder.join(layout));
        }
        config.grants = Grants::parse(&config.allow, folder)
            .map_err(|fault| fault.context(format!("read `allow` in the configuration `{}`", path.display())))?;
        Ok(config)
    }

    /// How long the engine goes on without clients. `None` is without a limit.
    pub fn idle(&self) -> Option<Duration> {
        (self.idle_seconds > 0).then(|| Duration::from_secs(self.idle_seconds))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_mirrors_and_refuses_the_unknown() {
        let parse = |text: &str| toml::from_str::<Config>(text);
        let config = parse("offline = true\n[[mirrors]]\nregistry = \"docker.io\"\nlayout = \"/images\"\n");
        assert!(config.is_ok_and(|c| c.offline && c.mirrors[0].layout.as_deref() == Some(Path::new("/images"))));
        assert!(parse("ofline = true").is_err_and(|e| e.to_string().contains("ofline")));
    }

    #[test]
    fn what_containers_may_do() {
        let parse = |text: &str| toml::from_str::<Config>(text);
        let config = parse("[security]\negress = [\"127.0.0.1\", \"fd00::/8\"]\n").unwrap();
        assert!(config.security.egress[1].contains("fd00::1".parse().unwrap()));
        for wrong in ["egress = [\"localhost\"]", "allow = [\"everything\"]", "allows = []"] {
            assert!(parse(&format!("[security]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_of_the_cache() {
        let config: Config =
            toml::from_str("[cache]\nmax-used = \"1GB\"\nreservedSpace = 512\nmin-free = \"20%\"\n").unwrap();
        let policy = config.cache.policy(1000);
        assert_eq!((policy.max_used, policy.reserved, policy.min_free), (1_000_000_000, 512, 200));
        assert!(toml::from_str::<Config>("[cache]\nmax-used = \"much\"").is_err());
    }

    #[test]
    fn limits_of_containers() {
        let parse = |text: &str| toml::from_str::<Config>(&format!("[limits]\n{text}"));
        let limits = parse("memory = \"50%\"\nprocesses = 7\ncpu-weight = 10000\n").unwrap().limits;
        assert_eq!(limits.memory, Some(Size::Percent(50.0)));
        assert_eq!(
            (limits.processes.map(NonZeroU64::get), limits.cpu_weight.map(Weight::get)),
            (Some(7), Some(10_000))
        );
        assert_eq!(limits.io_weight, None);
        for wrong in ["processes = 0", "cpu-weight = 0", "io-weight = 10001", "memory = \"much\"", "cpus = 2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_line_the_key_and_what_was_meant() {
        let check = |text: &str, message: &str, hint: &str| {
            let error = toml::from_str::<Config>(text).expect_err("an error");
            let fault = not_understood(Path::new("/c.toml"), text, &error);
            assert_eq!(fault.message(), format!("the configuration `/c.toml`, line {message}"));
            assert_eq!(fault.hints().first().map(String::as_str).unwrap_or_default(), hint);
        };
        check("offline = true\n\nmirors = []\n", "3: unknown key `mirors`", "did you mean `mirrors`?");
        check(
            "[limits]\ncpus = 2\n",
            "2: unknown key `cpus`",
            "the keys here are `memory`, `processes`, `cpu-weight`, `io-weight`",
        );
        check("name = \"a\"\noffline = \"no\"\n", "2, `offline`: invalid type: string \"no\", expected a boolean", "");
        check("[limits]\ncpu-weight = 0\n", "2, `cpu-weight`: the weight 0 is not between 1 and 10000", "");
        check("[[mirrors]]\nregistry = \"docker.io\"\n", "1: a mirror needs either `layout` or `url`", "");
        check("offline\n", "1: key with no value, expected `=`", "");
    }

    #[test]
    fn a_missing_file_is_the_default() {
        let config = Config::read(Some(Path::new("/nonexistent/config.toml")));
        assert!(config.is_ok_and(|c| c.idle() == Some(Duration::from_secs(600))));
    }
}
