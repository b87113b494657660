//! `dagger.json`: what it may say, and what of it is supported.

use rondel_fault::{Fault, Result};
use serde::{Deserialize, Serialize};

use crate::names::{is_graphql_name, type_name};

/// The name of the file.
pub const FILE_NAME: &str = "dagger.json";

/// What `dagger.json` says. Unknown keys are ignored, as every version did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
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
    pub dependencies: Vec<Dependency>,
    /// What is served beside it.
    pub toolchains: Vec<Dependency>,
    /// What it takes its implementation from.
    pub blueprint: Option<Dependency>,
    /// How code is generated.
    pub codegen: Option<serde_json::Value>,
    /// What clients are generated.
    pub clients: Vec<GeneratedClient>,
    /// Whether results of functions are kept across sessions unless they say otherwise.
    pub disable_default_function_caching: Option<bool>,
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
}

/// Another module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GeneratedClient {
    /// What generates it.
    pub generator: String,
    /// Where to.
    pub directory: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOr<T> {
    Text(String),
    Full(T),
}

impl<'de> Deserialize<'de> for SdkConfig {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Full {
            source: String,
            config: Option<serde_json::Map<String, serde_json::Value>>,
            debug: bool,
            experimental: serde_json::Map<String, serde_json::Value>,
        }
        Ok(match TextOr::<Full>::deserialize(d)? {
            TextOr::Text(source) => Self { source, ..Self::default() },
            TextOr::Full(Full { source, config, debug, experimental }) => Self { source, config, debug, experimental },
        })
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Full {
            name: String,
            source: String,
            pin: String,
            customizations: Vec<serde_json::Value>,
        }
        Ok(match TextOr::<Full>::deserialize(d)? {
            TextOr::Text(source) => Self { source, ..Self::default() },
            TextOr::Full(Full { name, source, pin, customizations }) => Self { name, source, pin, customizations },
        })
    }
}

impl Dependency {
    /// What it is called here; the place where it is, when it has only its own name.
    pub fn called(&self) -> &str {
        if self.name.is_empty() { &self.source } else { &self.name }
    }
}

impl Config {
    /// Reads `text`; `place` says where it stands.
    ///
    /// # Errors
    /// When it is no JSON, a key has a value of the wrong type, or a path leaves its place.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let cannot = || format!("cannot read module configuration `{place}`");
        // An array would be taken for the fields in order.
        if !text.trim_start().starts_with('{') {
            return Err(Fault::user(format!("{}: it is no JSON object", cannot())));
        }
        let mut config: Config = serde_json::from_str(text)
            .map_err(|e| refused_version(text).unwrap_or_else(|| Fault::user(cannot()).caused_by(e)))?;
        if config.sdk.as_ref().is_some_and(|sdk| sdk.source.is_empty()) {
            config.sdk = None;
        }
        config.check_paths().map_err(|e| e.context(cannot()))?;
        Ok(config)
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
        // Users match on this text; see spec/behaviours.md CFG-002.
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
        let hint = "a module's name starts with a letter and has letters, digits and `-`";
        match self.name.as_str() {
            "" => Err(Fault::user(format!("`{FILE_NAME}` has no `name`")).with_hint(hint)),
            name if !is_graphql_name(&type_name(name)) => {
                Err(Fault::user(format!("`{name}` in `{FILE_NAME}` is not a valid name for a module")).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// What the file asks for that cannot be done.
    ///
    /// # Errors
    /// When there is something.
    pub fn check_supported(&self) -> Result<()> {
        let unsupported = |field: &str| {
            Err(Fault::user(format!("`{field}` in `{FILE_NAME}` of `{}` is not supported yet", self.name)))
        };
        if self.blueprint.is_some() {
            return unsupported("blueprint");
        }
        if !self.toolchains.is_empty() {
            return unsupported("toolchains");
        }
        if self.dependencies.iter().any(|dependency| !dependency.customizations.is_empty()) {
            return unsupported("dependencies.customizations");
        }
        Ok(())
    }
}

/// What is wrong with the version of a configuration that cannot be read: another engine may well read it.
fn refused_version(text: &str) -> Option<Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        engine_version: String,
    }
    let versioned: Versioned = serde_json::from_str(text).ok()?;
    rondel_version::of_module(&versioned.engine_version).err().map(|refused| Fault::user(refused.to_string()))
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
        let config = Config::parse(text, "x").expect("parses");
        let sdk = config.sdk.clone().unwrap_or_default();
        assert_eq!((&*sdk.source, sdk.debug, sdk.experimental.len()), ("python", true, 1));
        assert_eq!(config.dependencies[0], Dependency { source: "./dep".into(), ..Dependency::default() });
        assert_eq!((&*config.dependencies[1].name, &*config.dependencies[1].pin), ("other", "abc"));
        assert_eq!(config.disable_default_function_caching, Some(true));
        let refused = config.check_supported().map_err(|e| e.to_string());
        assert_eq!(refused, Err("`blueprint` in `dagger.json` of `greeter` is not supported yet".to_owned()));
        let short = Config::parse(r#"{"name": "x", "sdk": "python"}"#, "x").expect("parses");
        assert_eq!((short.sdk.map(|s| s.source), &*short.source), (Some("python".into()), ""));
    }

    #[test]
    fn names() {
        let check = |name: &str, want: Option<&str>| {
            let config = Config { name: name.into(), ..Config::default() };
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
            let got = Config::parse(text, "/m/dagger.json").map_err(|e| e.to_string()).expect_err("is refused");
            assert!(got.starts_with("cannot read module configuration `/m/dagger.json`: "), "{got}");
            assert!(got.contains(want), "{got}");
        };
        check("{", "EOF");
        check(r#"{"name": 1}"#, "invalid type");
        check("[]", "it is no JSON object");
        check("", "it is no JSON object");
        check(r#"{"source": "../x"}"#, "source path \"../x\" contains parent directory components");
        check(r#"{"source": ".."}"#, "source path \"..\" contains parent directory components");
        check(r#"{"source": "/x"}"#, "source path \"/x\" is absolute");
    }
}
