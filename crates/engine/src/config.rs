//! The configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rondel_fault::{Fault, Result};
use serde::Deserialize;

/// What a configuration file can say. Everything has a default; unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Where images are looked for before their registry, in order.
    pub mirrors: Vec<Mirror>,
    /// Registries that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Never use the network to find images.
    pub offline: bool,
    /// Seconds without clients after which the engine ends; zero: never.
    pub idle_seconds: u64,
    /// How many results are remembered in memory.
    pub remembered_results: usize,
}

/// Another place for images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// Which registry it stands in for, such as `docker.io`; absent: every one.
    pub registry: Option<String>,
    /// An OCI layout folder. A relative path is relative to the configuration file.
    pub layout: Option<PathBuf>,
    /// The address of another registry.
    pub url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            offline: false,
            idle_seconds: 600,
            remembered_results: 200_000,
        }
    }
}

impl Config {
    /// Reads `path`; a file that is not there is the default configuration.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(Fault::user(format!("cannot read the configuration `{}`", path.display())).caused_by(e));
            }
        };
        let wrong = |e| Fault::user(format!("the configuration `{}` is not understood", path.display())).caused_by(e);
        let mut config: Config = toml::from_str(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        for mirror in &mut config.mirrors {
            if mirror.layout.is_some() == mirror.url.is_some() {
                return Err(Fault::user(format!("a mirror in `{}` needs either `layout` or `url`", path.display())));
            }
            mirror.layout = mirror.layout.take().map(|layout| folder.join(layout));
        }
        Ok(config)
    }

    /// How long the engine stays without clients; none: for ever.
    pub fn idle(&self) -> Option<Duration> {
        (self.idle_seconds > 0).then(|| Duration::from_secs(self.idle_seconds))
    }
}

#[cfg(test)]
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
    fn a_missing_file_is_the_default() {
        let config = Config::read(Some(Path::new("/nonexistent/config.toml")));
        assert!(config.is_ok_and(|c| c.idle() == Some(Duration::from_secs(600))));
    }
}
