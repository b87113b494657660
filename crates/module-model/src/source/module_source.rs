//! Module sources as data that outlive sessions: everything that loading needs.
//!
//! *Invariants.* A source is a snapshot with a configuration, never a folder that may change. Its
//! call, a selection of the internal field `_moduleSource`, contains all of it. So the ID of
//! anything that a module made can be loaded later without the host.

use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Directory, Fs, Platform, Snapshot};
use rondel_version::View;

use crate::config::module_config::ModuleConfig;
use crate::source::dependency::Unresolved;
use crate::source::git_origin::GitOrigin;

/// Where a source was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// On the host of a client.
    Local,
    /// In a directory of the API.
    Dir,
    /// In a git repository on a server.
    Git,
}

impl SourceKind {
    /// The member of `ModuleSourceKind`.
    pub fn member(self) -> &'static str {
        match self {
            SourceKind::Local => "LOCAL_SOURCE",
            SourceKind::Dir => "DIR_SOURCE",
            SourceKind::Git => "GIT_SOURCE",
        }
    }
}

/// A module's source.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// Where it was found.
    pub kind: SourceKind,
    /// The files of the module, laid out as in the context directory.
    pub snapshot: Snapshot,
    /// The context directory in `snapshot`.
    pub base: AbsPath,
    /// The folder of `dagger.json`, relative to the context directory. Empty for the context
    /// directory itself.
    pub root: String,
    /// The path of the context directory on the host. Empty for sources that are not on a host.
    pub host: String,
    /// The engine's seal of `host`, which an ID with a forged `host` lacks.
    pub host_seal: Arc<str>,
    /// The repository of a source in git.
    pub git: Option<Arc<GitOrigin>>,
    /// The text of the configuration file. Empty when there is no file.
    pub config_text: Arc<str>,
    /// The parsed configuration.
    pub config: ModuleConfig,
    /// The name that a dependent gives it.
    pub renamed: Option<String>,
    /// Its dependencies, in the order of its configuration.
    pub dependencies: Vec<Dependency>,
    /// The module that is its SDK or entrypoint. `None` for a built-in SDK, or when there is no
    /// SDK.
    pub sdk: Option<Arc<ModuleSource>>,
    /// What the module is loaded for.
    pub role: SourceRole,
}

/// A dependency of a module, in the order of its configuration.
#[derive(Clone, Debug)]
pub enum Dependency {
    /// The dependency was found.
    Found(Arc<ModuleSource>),
    /// It was not found, or its configuration cannot be read.
    Unresolved(Unresolved),
}

/// What a module is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceRole {
    /// Its own functions.
    #[default]
    Module,
    /// Making runtimes and types of other modules. Results of its functions are cached by default.
    Sdk,
}

impl ModuleSource {
    /// The resolved dependencies.
    pub fn found(&self) -> impl Iterator<Item = &Arc<ModuleSource>> {
        self.dependencies.iter().filter_map(Dependency::found)
    }

    /// The name under which it is served.
    pub fn name(&self) -> &str {
        self.renamed.as_deref().unwrap_or(&self.config.name)
    }

    /// Whether the module has a configuration file.
    pub fn config_exists(&self) -> bool {
        !self.config_text.is_empty()
    }

    /// The place of the configuration file. A new configuration is not among the files there.
    pub fn configuration_file(&self) -> TreePath {
        TreePath { path: self.root_path().join(self.config.format.file_name()), ..self.context().place }
    }

    /// The context directory.
    pub fn context(&self) -> Directory {
        let place = TreePath { fs: Fs::known(self.snapshot.clone()), path: self.base.clone() };
        Directory { place, platform: Platform::native(), error: None }
    }

    /// The context directory with all its files, as far as they are known.
    pub fn whole_context(&self) -> Directory {
        match &self.git {
            Some(git) => git.directory(),
            None => self.context(),
        }
    }

    /// The folder of `dagger.json` in `snapshot`.
    pub fn root_path(&self) -> AbsPath {
        self.base.join_inside(&self.root)
    }

    /// The source for messages: a path or a git reference.
    pub fn describe(&self) -> String {
        match self.kind {
            SourceKind::Local => AbsPath::new(&self.host).join_inside(&self.root).to_string(),
            SourceKind::Dir => format!("directory `{}`", self.root),
            SourceKind::Git => self.git.as_ref().map(|git| git.reference(&self.root)).unwrap_or_default(),
        }
    }

    /// The place for allow lists: a folder of a host, or a repository with folder and version.
    /// Empty for a source in a directory.
    pub fn place(&self) -> String {
        match self.kind {
            SourceKind::Dir => String::new(),
            SourceKind::Local | SourceKind::Git => self.describe(),
        }
    }

    /// The API version that the module sees.
    ///
    /// # Errors
    /// When the module requires an unsupported version.
    pub fn view(&self) -> Result<View> {
        rondel_version::of_module(&self.config.engine_version).map_err(|e| {
            Fault::user(e.to_string())
                .with_hint(format!("rondel is compatible with the API up to {}", rondel_version::ENGINE))
        })
    }

    /// The digest of the source's content, independent of its place. Equal sources share results.
    // IDENTITY: docs/protocol.md#identity-of-a-source.
    pub fn digest(&self) -> Digest {
        let sdk = self.config.sdk.as_ref();
        let dependencies: Vec<(&str, Digest)> = self.found().map(|d| (d.name(), d.digest())).collect();
        let content = (self.snapshot.digest(), &self.base, &*self.config_text);
        let names = (&self.config.name, &self.root, self.config.source_subpath());
        let of = self.sdk.as_ref().map(|sdk| sdk.digest());
        rondel_digest::of("module-source/v1", &(names, content, (sdk, of), dependencies))
    }

    /// The source without its place. SDKs get this, so that equal sources share their results.
    // IDENTITY: docs/protocol.md#functions-of-an-sdk.
    pub fn content(&self) -> Self {
        Self {
            kind: SourceKind::Dir,
            host: String::new(),
            host_seal: "".into(),
            git: None,
            dependencies: self.dependencies.iter().map(Dependency::content).collect(),
            sdk: self.sdk.as_ref().map(|sdk| Arc::new(sdk.content())),
            ..self.clone()
        }
    }
}

impl Dependency {
    /// The name under which it is served.
    pub fn name(&self) -> &str {
        match self {
            Dependency::Found(source) => source.name(),
            Dependency::Unresolved(missing) => &missing.name,
        }
    }

    /// The source of a resolved dependency.
    pub fn found(&self) -> Option<&Arc<ModuleSource>> {
        match self {
            Dependency::Found(source) => Some(source),
            Dependency::Unresolved(_) => None,
        }
    }

    /// The dependency without its place.
    pub fn content(&self) -> Self {
        match self {
            Dependency::Found(source) => Dependency::Found(Arc::new(source.content())),
            // Reasons contain places.
            Dependency::Unresolved(missing) => {
                Dependency::Unresolved(Unresolved { why: Fault::user("it was not found"), ..missing.clone() })
            }
        }
    }
}
