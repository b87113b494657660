//! What describes a module, as `dagger.json` says it, and what of it is supported.

use rondel_fault::{Fault, Result};
use serde::Serialize;
use serde_json::Value as Json;

use crate::config::dagger_module_toml::{ConfigFormat, EntrypointConfig, parse as parse_manifest};
use crate::json_object::{JsonObject, StringOrObject, object};
use crate::names::{is_graphql_name, type_name};

/// The name of the file.
pub const FILE_NAME: &str = "dagger.json";

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
    /// Reads `text` in the format `format`; `place` says where it stands.
    ///
    /// # Errors
    /// As for [`ModuleConfig::parse`].
    pub fn read(format: ConfigFormat, text: &str, place: &str) -> Result<Self> {
        match format {
            ConfigFormat::Json => Self::parse(text, place),
            ConfigFormat::Toml => parse_manifest(text, place)?.checked(place),
        }
    }

    /// Reads the `text` of a `dagger.json`; `place` says where it stands.
    ///
    /// # Errors
    /// When it is no JSON, a key has a value of the wrong type, or a path leaves its place.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let cannot = || format!("cannot read module configuration `{place}`");
        // An array would be taken for the fields in order.
        if !text.trim_start().starts_with('{') {
            return Err(Fault::user(format!("{}: it is no JSON object", cannot())));
        }
        let keys = JsonObject::parse(text).map_err(|e| Fault::user(cannot()).caused_by(e))?;
        let config = Self::of(&keys).map_err(|e| refused_version(&keys).unwrap_or_else(|| e.context(cannot())))?;
        config.checked(place)
    }

    fn checked(self, place: &str) -> Result<Self> {
        self.check_paths().map_err(|e| e.context(format!("cannot read module configuration `{place}`")))?;
        Ok(self)
    }

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

    fn check_paths(&self) -> Result<()> {
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

/// What is wrong with the version of a configuration that cannot be read: another engine may well read it.
fn refused_version(keys: &JsonObject) -> Option<Fault> {
    let version: String = keys.get("engineVersion").ok().filter(|version: &String| !version.is_empty())?;
    rondel_version::of_module(&version).err().map(|refused| Fault::user(refused.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_in_every_form() {
        let text = r#"{
            "$schema": "https://example.org/x.json", "name": "greeter", "engineVersion": "v0.21.8", "unknown": [1],
            "sdk": {"source": "python", "debug": true, "experimental": {"SELF_CALLS": true}, "config": {"a": 1}},
            "source": "src", "include": ["../x", "!y"], "exclude": ["z"],
            "dependencies": ["./dep", {"name": "other", "source": "github.com/x/y@v1", "pin": "abc", "customizations": [], "ignoreChecks": []}],
            "toolchains": [], "blueprint": {"name": "b", "source": "../b"}, "codegen": {"automaticGitignore": false},
            "clients": [{"generator": "typescript", "directory": "client"}], "disableDefaultFunctionCaching": true
        }"#;
        let config = ModuleConfig::parse(text, "x").expect("parses");
        let sdk = config.sdk.clone().unwrap_or_default();
        assert_eq!((&*sdk.source, sdk.debug, sdk.experimental.len()), ("python", true, 1));
        assert_eq!(config.dependencies[0], DependencyConfig { source: "./dep".into(), ..DependencyConfig::default() });
        assert_eq!((&*config.dependencies[1].name, &*config.dependencies[1].pin), ("other", "abc"));
        assert_eq!(config.disable_default_function_caching, Some(true));
        let refused = config.check_supported().map_err(|e| e.to_string());
        assert_eq!(refused, Err("`blueprint` in `dagger.json` of `greeter` is not supported yet".to_owned()));
        let short = ModuleConfig::parse(r#"{"name": "x", "sdk": "python"}"#, "x").expect("parses");
        assert_eq!((short.sdk.map(|s| s.source), &*short.source), (Some("python".into()), ""));
    }

    #[test]
    fn nothing_said_and_said_twice() {
        let nothing = r#"{"name": "a", "engineVersion": null, "sdk": null, "source": null, "include": null, "exclude": null,
            "dependencies": null, "toolchains": null, "blueprint": null, "codegen": null, "clients": null}"#;
        let named = ModuleConfig { name: "a".into(), ..ModuleConfig::default() };
        assert_eq!(ModuleConfig::parse(nothing, "x").map_err(|e| e.to_string()), Ok(named.clone()));
        let deeper = r#"{"name": "a", "sdk": {"source": "python", "config": null, "debug": null, "experimental": null},
            "dependencies": [{"name": null, "source": "./x", "pin": null, "customizations": null}]}"#;
        let config = ModuleConfig::parse(deeper, "x").expect("parses");
        assert_eq!(config.dependencies, [DependencyConfig { source: "./x".into(), ..DependencyConfig::default() }]);
        assert_eq!(config.sdk, Some(SdkConfig { source: "python".into(), ..SdkConfig::default() }));
        let twice = ModuleConfig::parse(r#"{"name": "x", "name": "a"}"#, "x").map_err(|e| e.to_string());
        assert_eq!(twice, Ok(named));
    }

    #[test]
    fn names() {
        let check = |name: &str, want: Option<&str>| {
            let config = ModuleConfig { name: name.into(), ..ModuleConfig::default() };
            assert_eq!(config.check_name().err().map(|e| e.to_string()).as_deref(), want);
        };
        check("my-module", None);
        check("enums-v0.18.10", None);
        check("", Some("`dagger.json` has no `name`"));
        check("12", Some("`12` in `dagger.json` is not a valid name for a module"));
        check("---", Some("`---` in `dagger.json` is not a valid name for a module"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, want: &str| {
            let got = ModuleConfig::parse(text, "/m/dagger.json").map_err(|e| e.to_string()).expect_err("is refused");
            assert!(got.starts_with("cannot read module configuration `/m/dagger.json`: "), "{got}");
            assert!(got.contains(want), "{got}");
        };
        check("{", "EOF");
        check(r#"{"name": 1}"#, "`name`: invalid type: integer `1`, expected a string");
        check(r#"{"sdk": 7}"#, "`sdk`: invalid type: a number, expected a string or an object");
        check(r#"{"sdk": {"source": "s", "config": ["a"]}}"#, "`sdk.config`: invalid type: sequence, expected a map");
        check(r#"{"sdk": {"source": "s", "debug": "yes"}}"#, "`sdk.debug`: invalid type");
        check(r#"{"dependencies": {}}"#, "`dependencies`: invalid type: an object, expected a list");
        check(r#"{"dependencies": [7]}"#, "`dependencies`: invalid type: a number, expected a string or an object");
        check(r#"{"dependencies": [{"name": 7}]}"#, "`dependencies.name`: invalid type");
        check("[]", "it is no JSON object");
        check("", "it is no JSON object");
        check(r#"{"source": "../x"}"#, "source path \"../x\" contains parent directory components");
        check(r#"{"source": ".."}"#, "source path \"..\" contains parent directory components");
        check(r#"{"source": "/x"}"#, "source path \"/x\" is absolute");
    }
}
