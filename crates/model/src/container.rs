//! Containers, directories and files as values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::exec::{ExecOp, Mount, Scope};
use crate::history::History;
use crate::image::ImageRef;
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
    /// How the layers of the image it is based on were made.
    pub history: Option<Arc<History>>,
    /// Annotations of the manifest, in order.
    pub annotations: Table<Arc<str>>,
    /// What is known of exposed ports beyond what an image says, by their form in its configuration.
    pub port_notes: Table<PortNote>,
    /// What is mounted, in order.
    pub mounts: Chain<Mount>,
    /// Environment variables whose values are secrets.
    pub secret_env: Table<SecretRef>,
    /// Environment variables of which only the names count for a key.
    pub volatile_env: Table<Arc<str>>,
    /// Services that are up as long as its processes run, by alias.
    pub services: Table<ServiceBinding>,
    /// Secrets that made it, whose plaintext is scrubbed from whatever its processes print.
    pub scrub: Vec<SecretRef>,
    /// The process that ran last.
    pub last_exec: Option<Arc<ExecOp>>,
    /// The image, as long as nothing was changed since `from`.
    pub image_ref: Option<ImageRef>,
    /// Credentials for registries, by address.
    pub registry_auth: Table<RegistryAuth>,
    /// The default arguments were set by the user, not by an image or an entrypoint change.
    pub default_args_set: bool,
    /// What runs on a terminal in it when nothing else was said.
    pub terminal: Option<Arc<TerminalCommand>>,
    /// An error to raise when it is evaluated.
    pub error: Option<Arc<str>>,
}

/// What runs on a terminal.
#[derive(Clone, Debug)]
pub struct TerminalCommand {
    /// The command line; empty: a shell.
    pub args: Vec<String>,
    /// The exec scope, with access to the API: of the client that set the command, not of the one that opens the terminal.
    /// `None`: without access.
    pub scope: Option<Scope>,
    /// All capabilities.
    pub insecure: bool,
}

/// What is known of an exposed port beyond what an image says.
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

/// The part of an image's configuration that containers carry, in the field names of the OCI image specification.
/// Unknown fields are kept, so that what other builders wrote survives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// The user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Exposed ports such as `80/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Table<serde_json::Value>>,
    /// The environment, `NAME=value` by name, in order.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::table::entries")]
    pub env: Option<Table<Arc<str>>>,
    /// The entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Table<serde_json::Value>>,
    /// Everything else.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// A directory: a place in a tree.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where.
    pub place: TreePath,
    /// The platform, when the tree belongs to one.
    pub platform: Platform,
    /// An error to raise when it is evaluated.
    pub error: Option<Arc<str>>,
}

/// A file: a place in a tree.
#[derive(Clone, Debug)]
pub struct File {
    /// Where.
    pub place: TreePath,
    /// The platform, when the tree belongs to one.
    pub platform: Platform,
    /// The name it was given instead of that of its path.
    pub name: Option<String>,
    /// Paths are named as the user wrote them in errors: what was asked for, when it differs from the place.
    pub asked: Option<String>,
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
            scrub: Vec::new(),
            last_exec: None,
            image_ref: None,
            registry_auth: Table::new(),
            default_args_set: false,
            terminal: None,
            error: None,
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

    /// The environment as a process is given it.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.env().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The secret variables as a process is given them.
    pub fn secret_environment(&self) -> Vec<(String, SecretRef)> {
        self.secret_env.iter().map(|(name, secret)| (name.to_owned(), secret.clone())).collect()
    }

    /// The volatile variables as a process is given them.
    pub fn volatile_environment(&self) -> Vec<(String, String)> {
        self.volatile_env.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    }

    /// The value of the variable `name`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let entry = self.config.env.as_ref()?.get(name)?;
        Some(entry.split_once('=').map_or("", |(_, value)| value))
    }

    /// What is known of the exposed port `port`, such as `80/tcp`, beyond what an image says.
    pub fn port_note(&self, port: &str) -> Option<&PortNote> {
        self.port_notes.get(port)
    }

    /// The exposed ports as those of a service, in order. What an image writes and nobody understands is left out.
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

    /// The same with a changed configuration. It is no longer the image it was made from.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ImageConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self.image_ref = None;
        self
    }
}

impl ImageConfig {
    /// Gives the variable `name` a value. One that is there keeps its position.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.get_or_insert_default().set(name, format!("{name}={value}").into());
    }
}

impl Directory {
    /// The root of a tree.
    pub fn root(fs: Fs, platform: Platform) -> Self {
        Self { place: TreePath { fs, path: AbsPath::root() }, platform, error: None }
    }
}
