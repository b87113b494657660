//! A module's configuration as data, independent of the file format, and the checks of what is
//! supported.

use rondel_fault::{Fault, Result};
use rondel_version::View;
use serde::Serialize;
use serde_json::Value as Json;

use crate::json_object::{JsonObject, StringOrObject, object};
use crate::names::{is_graphql_name, type_name};

/// File name of the configuration format that every version has.
pub const DAGGER_JSON: &str = "dagger.json";
/// File name of the configuration format of versions after v0.21.8.
pub const DAGGER_MODULE_TOML: &str = "dagger-module.toml";

/// Whether modules that were written for the version `view` have the results of their functions
/// cached across sessions by default.
pub(crate) fn caches_by_default(view: View) -> bool {
    view >= View::new(0, 19, 4)
}

/// A module's configuration. Unknown keys of the file are ignored, as in every version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleConfig {
    /// The name of the module.
    pub name: String,
    /// The API version that the module was written for.
    pub engine_version: String,
    /// The SDK that makes the module's runtime.
    pub sdk: Option<SdkConfig>,
    /// The folder of the code, relative to the file.
    pub source: String,
    /// Patterns of further files of the module, relative to the file. `!` excludes.
    pub include: Vec<String>,
    /// Patterns of files that are excluded.
    pub exclude: Vec<String>,
    /// The modules that it depends on.
    pub dependencies: Vec<DependencyConfig>,
    /// The modules that are served beside it.
    pub toolchains: Vec<DependencyConfig>,
    /// The module that it takes its implementation from.
    pub blueprint: Option<DependencyConfig>,
    /// Settings of code generation.
    pub codegen: Option<serde_json::Value>,
    /// The clients to generate.
    pub clients: Vec<GeneratedClient>,
    /// Whether results of functions are cached across sessions by default.
    pub disable_default_function_caching: Option<bool>,
    /// The module that registers its types and serves its functions. Only `dagger-module.toml` has
    /// it.
    pub entrypoint: Option<EntrypointConfig>,
    /// The format of the file.
    pub format: ConfigFormat,
}

/// The format of a configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigFormat {
    /// `dagger.json`. It takes precedence when a folder has both files.
    #[default]
    Json,
    /// `dagger-module.toml`.
    Toml,
}

impl ConfigFormat {
    /// All formats, in order of precedence.
    pub const ALL: [ConfigFormat; 2] = [ConfigFormat::Json, ConfigFormat::Toml];

    /// The name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            ConfigFormat::Json => DAGGER_JSON,
            ConfigFormat::Toml => DAGGER_MODULE_TOML,
        }
    }
}

/// The entrypoint in a configuration: it registers a module's types and serves its functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntrypointConfig {
    /// The kind of the entrypoint.
    pub kind: String,
    /// The address of its directory: a path relative to the file, or a git address.
    pub source: String,
}

/// The SDK in a configuration: it makes the module's runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkConfig {
    /// A built-in name or a reference to a module.
    pub source: String,
    /// The configuration of the SDK.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Disables the cache for the module's functions.
    pub debug: bool,
    /// Experimental features.
    pub experimental: serde_json::Map<String, serde_json::Value>,
    /// The pinned commit. Only `dagger-module.toml` has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pin: String,
}

/// A dependency in a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DependencyConfig {
    /// The name that the module gives it. Empty when it goes by its own name.
    pub name: String,
    /// The path or address of its source.
    pub source: String,
    /// The pinned commit.
    pub pin: String,
    /// Changes to the defaults of its arguments.
    pub customizations: Vec<serde_json::Value>,
}

/// A generated client in a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneratedClient {
    /// The module that generates it.
    pub generator: String,
    /// The output directory.
    pub directory: String,
}

impl SdkConfig {
    /// Reads the value at `place` of a configuration.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(place: &str, value: &Json) -> Result<Self> {
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

    /// An SDK without a name counts as absent.
    pub fn is_named(&self) -> bool {
        !self.source.is_empty()
    }
}

impl EntrypointConfig {
    /// Reads the value at `place` of a configuration.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(place: &str, value: &Json) -> Result<Self> {
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

    /// The name that the module gives it, or its source when it goes by its own name.
    pub fn called(&self) -> &str {
        if self.name.is_empty() { &self.source } else { &self.name }
    }
}

impl ModuleConfig {
    /// Reads the keys that both formats have.
    pub fn of(keys: &JsonObject) -> Result<Self> {
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

    /// Whether generated files are added to `.gitattributes` and `.gitignore`.
    pub fn generates_ignores(&self) -> bool {
        let said = self.codegen.as_ref().and_then(|codegen| codegen.get("automaticGitignore"));
        said.and_then(serde_json::Value::as_bool).unwrap_or(true)
    }

    /// The folder of the code, relative to the file. The default is `.`.
    pub fn source_subpath(&self) -> &str {
        if self.source.is_empty() { "." } else { &self.source }
    }

    /// Checks that the paths stay inside of the context directory.
    ///
    /// # Errors
    /// When a path is absolute or leaves it.
    pub fn check_paths(&self) -> Result<()> {
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

    /// Checks that a module with a folder of code has an SDK.
    ///
    /// # Errors
    /// When it has none. While a configuration is edited, the SDK may follow.
    pub fn check_sdk_of_source(&self) -> Result<()> {
        match self.source.as_str() {
            // Users match on this text; see docs/protocol.md#module-configuration.
            source if !self.has_functions() && !matches!(source, "" | ".") => {
                Err(Fault::user(format!("source path \"{source}\" specified without sdk"))
                    .with_hint("`rondel develop --sdk SDK` adds an SDK to a module without `source`"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the module can be served under its name.
    ///
    /// # Errors
    /// When the name is empty or not valid.
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

    /// Checks that the configuration uses only supported features.
    ///
    /// # Errors
    /// When it uses an unsupported one.
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
