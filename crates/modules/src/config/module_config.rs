//! What describes a module, as `dagger.json` says it, and what of it is supported.

use rondel_fault::{Fault, Result};
use serde::Serialize;
use serde_json::Value as Json;

use crate::json_object::{JsonObject, StringOrObject, object};
use crate::names::{is_graphql_name, type_name};

/// The name of the configuration file that every version has.
pub const DAGGER_JSON: &str = "dagger.json";
/// The name of the configuration file of versions after v0.21.8.
pub const DAGGER_MODULE_TOML: &str = "dagger-module.toml";

/// What the file says. Unknown keys are ignored, as every version did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleConfig {
    /// The module's name.
    pub name: String,
    /// The API version it was written for.
    pub engine_version: String,
    /// What turns its source into a runtime.
    pub sdk: Option<SdkConfig>,
    /// Where its code is, relative to the file.
    pub source: String,
    /// What else belongs to it, relative to the file; `!` excludes.
    pub include: Vec<String>,
    /// What does not belong to it.
    pub exclude: Vec<String>,
    /// What it uses.
    pub dependencies: Vec<DependencyConfig>,
    /// What is served beside it.
    pub toolchains: Vec<DependencyConfig>,
    /// What it takes its implementation from.
    pub blueprint: Option<DependencyConfig>,
    /// How code is generated.
    pub codegen: Option<serde_json::Value>,
    /// What clients are generated.
    pub clients: Vec<GeneratedClient>,
    /// Whether results of functions are kept across sessions unless they say otherwise.
    pub disable_default_function_caching: Option<bool>,
    /// What registers its types and serves its functions; only the later format has it.
    pub entrypoint: Option<EntrypointConfig>,
    /// The file that it stands in.
    pub format: ConfigFormat,
}

/// The file that a configuration stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigFormat {
    /// `dagger.json`; it wins where both are.
    #[default]
    Json,
    /// `dagger-module.toml`.
    Toml,
}

impl ConfigFormat {
    /// All of them, the one that wins first.
    pub const ALL: [ConfigFormat; 2] = [ConfigFormat::Json, ConfigFormat::Toml];

    /// The name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            ConfigFormat::Json => DAGGER_JSON,
            ConfigFormat::Toml => DAGGER_MODULE_TOML,
        }
    }
}

/// What registers a module's types and serves its functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntrypointConfig {
    /// What kind of program it is.
    pub kind: String,
    /// The address of its directory: a path relative to the file, or one in a git repository.
    pub source: String,
}

/// What turns a module's source into a runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkConfig {
    /// A built-in name or a reference to a module.
    pub source: String,
    /// Its configuration.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Nothing is cached.
    pub debug: bool,
    /// Features that may change.
    pub experimental: serde_json::Map<String, serde_json::Value>,
    /// The commit; only the later format has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pin: String,
}

/// Another module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DependencyConfig {
    /// What it is called here; empty: its own name.
    pub name: String,
    /// Where it is.
    pub source: String,
    /// The commit.
    pub pin: String,
    /// Changes to the defaults of its arguments.
    pub customizations: Vec<serde_json::Value>,
}

/// A client that is generated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneratedClient {
    /// What generates it.
    pub generator: String,
    /// Where to.
    pub directory: String,
}

impl SdkConfig {
    pub(crate) fn read(place: &str, value: &Json) -> Result<Self> {
        Ok(match StringOrObject::of(place, value)? {
            StringOrObject::String(source) => Self { source, ..Self::default() },
            StringOrObject::Object(keys) => Self {
                source: keys.get("source")?,
                config: keys.get("config")?,
                debug: keys.get("debug")?,
                experimental: keys.get("experimental")?,
                pin: String::new(),
            },
        })
    }

    /// Without a name there is none.
    pub(crate) fn is_named(&self) -> bool {
        !self.source.is_empty()
    }
}

impl EntrypointConfig {
    pub(crate) fn read(place: &str, value: &Json) -> Result<Self> {
        let keys = object(place, value, "an object")?;
        Ok(Self { kind: keys.get("kind")?, source: keys.get("source")? })
    }
}

impl GeneratedClient {
    fn read(place: &str, value: &Json) -> Result<Self> {
        let keys = object(place, value, "an object")?;
        Ok(Self { generator: keys.get("generator")?, directory: keys.get("directory")? })
    }
}

impl DependencyConfig {
    fn read(place: &str, value: &Json) -> Result<Self> {
        Ok(match StringOrObject::of(place, value)? {
            StringOrObject::String(source) => Self { source, ..Self::default() },
            StringOrObject::Object(keys) => Self {
                name: keys.get("name")?,
                source: keys.get("source")?,
                pin: keys.get("pin")?,
                customizations: keys.get("customizations")?,
            },
        })
    }

    /// What it is called here; the place where it is, when it has only its own name.
    pub fn called(&self) -> &str {
        if self.name.is_empty() { &self.source } else { &self.name }
    }
}

impl ModuleConfig {
    /// What the keys say that both formats have.
    pub(crate) fn of(keys: &JsonObject) -> Result<Self> {
        let sdk = keys.read("sdk", |place, value| SdkConfig::read(place, value).map(Some))?;
        Ok(Self {
            name: keys.get("name")?,
            engine_version: keys.get("engineVersion")?,
            sdk: sdk.filter(SdkConfig::is_named),
            source: keys.get("source")?,
            include: keys.get("include")?,
            exclude: keys.get("exclude")?,
            dependencies: keys.list("dependencies", DependencyConfig::read)?,
            toolchains: keys.list("toolchains", DependencyConfig::read)?,
            blueprint: keys.read("blueprint", |place, value| DependencyConfig::read(place, value).map(Some))?,
            codegen: keys.get("codegen")?,
            clients: keys.list("clients", GeneratedClient::read)?,
            disable_default_function_caching: keys.get("disableDefaultFunctionCaching")?,
            entrypoint: None,
            format: ConfigFormat::Json,
        })
    }

    /// Whether generated code is noted in `.gitattributes` and `.gitignore`.
    pub fn generates_ignores(&self) -> bool {
        let said = self.codegen.as_ref().and_then(|codegen| codegen.get("automaticGitignore"));
        said.and_then(serde_json::Value::as_bool).unwrap_or(true)
    }

    /// Where the code is, relative to the file: `.` when nothing is said.
    pub fn source_subpath(&self) -> &str {
        if self.source.is_empty() { "." } else { &self.source }
    }

    pub(crate) fn check_paths(&self) -> Result<()> {
        let source = &self.source;
        if source.starts_with('/') {
            return Err(Fault::user(format!("source path \"{source}\" is absolute")));
        }
        // Users match on this text; see docs/protocol.md#module-configuration.
        if source.split('/').any(|part| part == "..") {
            return Err(Fault::user(format!("source path \"{source}\" contains parent directory components")));
        }
        Ok(())
    }

    /// That the module can be served under its name.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check_name(&self) -> Result<()> {
        let file = self.format.file_name();
        let hint = "a module's name starts with a letter and has letters, digits and `-`";
        match self.name.as_str() {
            "" => Err(Fault::user(format!("`{file}` has no `name`")).with_hint(hint)),
            name if !is_graphql_name(&type_name(name)) => {
                Err(Fault::user(format!("`{name}` in `{file}` is not a valid name for a module")).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// What the file asks for that cannot be done.
    ///
    /// # Errors
    /// When there is something.
    pub fn check_supported(&self) -> Result<()> {
        let file = self.format.file_name();
        let unsupported =
            |field: &str| Err(Fault::user(format!("`{field}` in `{file}` of `{}` is not supported yet", self.name)));
        if self.blueprint.is_some() {
            return unsupported("blueprint");
        }
        if !self.toolchains.is_empty() {
            return unsupported("toolchains");
        }
        if self.dependencies.iter().any(|dependency| !dependency.customizations.is_empty()) {
            return unsupported("dependencies.customizations");
        }
        self.check_entrypoint()
    }
}
