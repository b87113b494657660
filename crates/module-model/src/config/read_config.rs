//! Reading a configuration file in either format, with the checks that both share.

use rondel_fault::Result;

use crate::config::module_config::{ConfigFormat, ModuleConfig};
use crate::config::{dagger_json, dagger_module_toml};

impl ModuleConfig {
    /// Reads `text` in `format`. `place` is the path of the file, for messages.
    ///
    /// # Errors
    /// When it is no JSON or TOML, a key has a value of the wrong type, or a path leaves the folder
    /// of the file.
    pub fn read(format: ConfigFormat, text: &str, place: &str) -> Result<Self> {
        let config = match format {
            ConfigFormat::Json => dagger_json::parse(text, place)?,
            ConfigFormat::Toml => dagger_module_toml::parse(text, place)?,
        };
        config.check_paths().map_err(|e| e.context(format!("cannot read module configuration `{place}`")))?;
        Ok(config)
    }

    /// Reads the `text` of a `dagger.json`. `place` is the path of the file, for messages.
    ///
    /// # Errors
    /// As for [`ModuleConfig::read`].
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        Self::read(ConfigFormat::Json, text, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::module_config::{DependencyConfig, SdkConfig};

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
