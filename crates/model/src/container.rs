//! Containers, directories and files as values.

use std::sync::Arc;

use crate::chain::Chain;
use crate::changes::ChangePair;
use crate::exec::{ExecOp, Mount, TerminalCommand};
use crate::history::History;
use crate::image::ImageRef;
use crate::image_config::ImageConfig;
use crate::op::{Fs, TreePath};
use crate::path::AbsPath;
use crate::platform::Platform;
use crate::secret::SecretRef;
use crate::service::{Protocol, ServiceBinding, ServicePort};
use crate::table::Table;

/// A container: a root, a configuration, mounts, and the process that made it last.
#[derive(Clone, Debug)]
pub struct Container {
    /// The platform of the root.
    pub platform: Platform,
    /// The root.
    pub rootfs: Fs,
    /// The configuration that goes into an image.
    pub config: Arc<ImageConfig>,
    /// The history of the layers of its base image.
    pub history: Option<Arc<History>>,
    /// Annotations of the manifest, in order.
    pub annotations: Table<Arc<str>>,
    /// Metadata of exposed ports that images do not carry, by the port's text in the configuration.
    pub port_notes: Table<PortNote>,
    /// The mounts, in order.
    pub mounts: Chain<Mount>,
    /// Environment variables whose values are secrets.
    pub secret_env: Table<SecretRef>,
    /// Environment variables of which only the names are part of cache keys.
    pub volatile_env: Table<Arc<str>>,
    /// Services that run as long as its processes, by alias.
    pub services: Table<ServiceBinding>,
    /// Secrets of earlier build steps. Their plaintext is redacted from all output.
    pub redact: Vec<SecretRef>,
    /// The process that ran last.
    pub last_exec: Option<Arc<ExecOp>>,
    /// The image, as long as nothing was changed after `from`.
    pub image_ref: Option<ImageRef>,
    /// Credentials for registries, by address.
    pub registry_auth: Table<RegistryAuth>,
    /// The default arguments were set by the user, not by an image or an entrypoint change.
    pub default_args_set: bool,
    /// The default command of a terminal in it.
    pub terminal: Option<Arc<TerminalCommand>>,
    /// An error to raise when it is evaluated.
    pub error: Option<Arc<str>>,
}

/// Metadata of an exposed port that images do not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortNote {
    /// For people.
    pub description: Option<Arc<str>>,
    /// A service is not waited for at this port.
    pub skip_healthcheck: bool,
}

/// Credentials for one registry.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryAuth {
    /// The registry's host, or a longer prefix of image names.
    pub address: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub secret: SecretRef,
}

/// A directory: a path in a tree.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where.
    pub place: TreePath,
    /// The platform, when the tree belongs to one.
    pub platform: Platform,
    /// An error to raise when it is evaluated.
    pub error: Option<Arc<str>>,
}

/// A file: a path in a tree.
#[derive(Clone, Debug)]
pub struct File {
    /// Where.
    pub place: TreePath,
    /// The platform, when the tree belongs to one.
    pub platform: Platform,
    /// The name of the file, if it differs from that of its path.
    pub name: Option<String>,
    /// The path as the user wrote it, for errors, if it differs from `place`.
    pub asked: Option<String>,
}

/// A comparison of two directories.
#[derive(Clone, Debug)]
pub struct Changeset {
    /// The older one.
    pub before: Directory,
    /// The newer one.
    pub after: Directory,
}

impl Changeset {
    /// The two places.
    pub fn pair(&self) -> ChangePair {
        ChangePair { before: self.before.place.clone(), after: self.after.place.clone() }
    }
}

impl Container {
    /// An empty container of a platform.
    pub fn scratch(platform: Platform) -> Self {
        Self {
            platform,
            rootfs: Fs::scratch(),
            config: Arc::default(),
            history: None,
            annotations: Table::new(),
            port_notes: Table::new(),
            mounts: Chain::new(),
            secret_env: Table::new(),
            volatile_env: Table::new(),
            services: Table::new(),
            redact: Vec::new(),
            last_exec: None,
            image_ref: None,
            registry_auth: Table::new(),
            default_args_set: false,
            terminal: None,
            error: None,
        }
    }

    /// A process in this container: it has the container's root, mounts, environment, user, working
    /// directory, secrets, platform and services.
    pub fn exec(&self, args: Vec<String>) -> ExecOp {
        ExecOp {
            mounts: self.mounts.to_vec(),
            env: self.environment(),
            secret_env: self.secret_environment(),
            volatile_env: self.volatile_environment(),
            workdir: self.workdir(),
            user: self.config.user.clone(),
            redact: self.redact.clone(),
            services: self.services.values().cloned().collect(),
            ..ExecOp::new(self.rootfs.clone(), args, self.platform.clone())
        }
    }

    /// The working directory.
    pub fn workdir(&self) -> AbsPath {
        AbsPath::new(&self.config.working_dir)
    }

    /// The environment, in order.
    pub fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.config.env.iter().flat_map(Table::values);
        entries.map(|entry| entry.split_once('=').unwrap_or((entry, "")))
    }

    /// The environment as a process gets it.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.env().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The secret variables as a process gets them.
    pub fn secret_environment(&self) -> Vec<(String, SecretRef)> {
        self.secret_env.iter().map(|(name, secret)| (name.to_owned(), secret.clone())).collect()
    }

    /// The volatile variables as a process gets them.
    pub fn volatile_environment(&self) -> Vec<(String, String)> {
        self.volatile_env.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    }

    /// The value of the variable `name`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let entry = self.config.env.as_ref()?.get(name)?;
        Some(entry.split_once('=').map_or("", |(_, value)| value))
    }

    /// The metadata of the exposed port `port`, such as `80/tcp`.
    pub fn port_note(&self, port: &str) -> Option<&PortNote> {
        self.port_notes.get(port)
    }

    /// The exposed ports as ports of a service, in order. Malformed entries of an image are
    /// skipped.
    pub fn ports(&self) -> Vec<ServicePort> {
        let port = |text: &str| {
            let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let note = self.port_note(text);
            Some(ServicePort {
                number: number.parse().ok()?,
                protocol: Protocol::of_name(protocol)?,
                description: note.and_then(|note| note.description.clone()),
                skip_health_check: note.is_some_and(|note| note.skip_healthcheck),
            })
        };
        self.config.exposed_ports.iter().flat_map(Table::iter).filter_map(|(text, _)| port(text)).collect()
    }

    /// Returns the container with a changed configuration. It no longer counts as its image.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ImageConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self.image_ref = None;
        self
    }
}

impl Directory {
    /// The root of a tree.
    pub fn root(fs: Fs, platform: Platform) -> Self {
        Self { place: TreePath { fs, path: AbsPath::root() }, platform, error: None }
    }
}
