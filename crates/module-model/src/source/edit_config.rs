//! Edits of a module's configuration file.
//!
//! *Invariants.* An edit changes only what it is asked to change: unknown keys and the text of the
//! others stay. An edit without effect keeps the text as it was.

use rondel_fault::{Fault, Result};
use rondel_version::View;
use serde_json::{Map, Value as Json, json};

use crate::config::edit_text::{Keys, SDK};
use crate::config::module_config::{ModuleConfig, caches_by_default};
use crate::source::module_source::ModuleSource;
use crate::source::reference::inside_context;

const CLIENTS: &str = "clients";

impl ModuleSource {
    /// The source with `change` applied to its configuration.
    ///
    /// # Errors
    /// When `change` fails, or the result is not valid.
    pub fn with_config_edit(&self, change: impl FnOnce(&mut Keys) -> Result<()>) -> Result<Self> {
        let format = self.config.format;
        let before = format.keys(&self.config_text)?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before && self.config_exists() {
            return Ok(self.clone());
        }
        let text = format.edited(&self.config_text, &before, &after)?;
        let config = ModuleConfig::read(format, &text, format.file_name())?;
        Ok(Self { config, config_text: text.into(), ..self.clone() })
    }

    /// Sets the name. A module without a name gets it in its configuration, any other is served
    /// under it.
    ///
    /// # Errors
    /// When it is not a valid name.
    pub fn with_name(&self, name: &str) -> Result<Self> {
        ModuleConfig { name: name.to_owned(), ..ModuleConfig::default() }.check_name()?;
        if !self.config.name.is_empty() {
            return Ok(Self { renamed: Some(name.to_owned()), ..self.clone() });
        }
        self.with_config_edit(|config| set(config, "name", name))
    }

    /// Sets the folder of the code, relative to the folder of `dagger.json`.
    ///
    /// # Errors
    /// When the path leaves that folder.
    pub fn with_source(&self, path: &str) -> Result<Self> {
        let inside = if path.starts_with('/') { None } else { inside_context("", path) };
        // Users match on this text; see docs/protocol.md#module-configuration.
        let inside = inside.ok_or_else(|| Fault::user(format!("source subpath \"{path}\" escapes source root")))?;
        self.with_config_edit(|config| set(config, "source", if inside.is_empty() { "." } else { &inside }))
    }

    /// Sets the engine version. With `was_read`, the configuration was read from a file. Then the
    /// functions of a module that was written for a version without caching across sessions stay
    /// without it.
    ///
    /// # Errors
    /// When the configuration becomes invalid.
    pub fn with_engine_version(&self, version: View, was_read: bool) -> Result<Self> {
        let now = rondel_version::of_module(&self.config.engine_version).ok();
        let stays_without = was_read
            && self.config.disable_default_function_caching.is_none()
            && caches_by_default(version)
            && now.is_some_and(|now| !caches_by_default(now));
        self.with_config_edit(|config| {
            if stays_without {
                config.insert("disableDefaultFunctionCaching".into(), Json::Bool(true));
            }
            set(config, "engineVersion", &version.to_string())
        })
    }

    /// Adds patterns of included files.
    ///
    /// # Errors
    /// When the configuration becomes invalid.
    pub fn with_includes(&self, patterns: &[String]) -> Result<Self> {
        self.with_config_edit(|config| {
            let mut all = self.config.include.clone();
            all.extend(patterns.iter().filter(|pattern| !self.config.include.contains(pattern)).cloned());
            config.insert("include".into(), json!(all));
            Ok(())
        })
    }

    /// Sets the SDK, or removes it and the folder of its code if `source` is empty. The
    /// configuration of another SDK is removed.
    ///
    /// # Errors
    /// When the configuration becomes invalid.
    pub fn with_sdk(&self, source: &str) -> Result<Self> {
        let now = self.config.sdk.as_ref().map_or("", |sdk| &sdk.source);
        if now == source {
            return Ok(self.clone());
        }
        let changed = self.with_config_edit(|config| {
            match source {
                "" => {
                    config.shift_remove(SDK);
                    config.shift_remove("source")
                }
                _ => config.insert(SDK.into(), json!({"source": source})),
            };
            Ok(())
        })?;
        Ok(Self { sdk: None, ..changed })
    }

    /// Adds or removes experimental features of the SDK.
    ///
    /// # Errors
    /// When there is no SDK.
    pub fn with_features(&self, features: &[String], on: bool) -> Result<Self> {
        let sdk = self.config.sdk.as_ref().ok_or_else(|| {
            Fault::user(format!("module `{}` has no SDK, and experimental features are those of an SDK", self.name()))
        })?;
        let mut experimental = sdk.experimental.clone();
        for feature in features {
            match on {
                true => experimental.insert(feature.clone(), Json::Bool(true)),
                false => experimental.shift_remove(feature),
            };
        }
        self.with_config_edit(|config| {
            let mut object = match config.get(SDK) {
                Some(Json::Object(object)) => object.clone(),
                _ => Map::from_iter([("source".to_owned(), json!(sdk.source))]),
            };
            match experimental.is_empty() {
                true => object.shift_remove("experimental"),
                false => object.insert("experimental".into(), Json::Object(experimental)),
            };
            config.insert(SDK.into(), Json::Object(object));
            Ok(())
        })
    }

    /// Adds a client that `generator` generates in `directory`.
    ///
    /// # Errors
    /// When the directory is outside of the module's folder, or has a client already.
    pub fn with_client(&self, generator: &str, directory: &str) -> Result<Self> {
        let inside = inside_context("", directory).filter(|_| !directory.starts_with('/')).ok_or_else(|| {
            Fault::user(format!("the folder `{directory}` of a generated client is outside of the module's folder"))
        })?;
        let directory = if inside.is_empty() { ".".to_owned() } else { inside };
        if let Some(known) = self.config.clients.iter().find(|client| same_folder(&client.directory, &directory)) {
            if known.generator == generator {
                return Ok(self.clone());
            }
            return Err(Fault::user(format!(
                "there is a client in `{directory}` already, generated by `{}`",
                known.generator
            ))
            .with_hint("remove it with `withoutClient`, or choose another folder"));
        }
        self.change_clients(|clients| clients.push(json!({"generator": generator, "directory": directory})))
    }

    /// Removes the client in `directory`.
    ///
    /// # Errors
    /// When there is none.
    pub fn without_client(&self, directory: &str) -> Result<Self> {
        if !self.config.clients.iter().any(|client| same_folder(&client.directory, directory)) {
            return Err(Fault::user(format!("there is no generated client in `{directory}`")));
        }
        let here = |client: &Json| client["directory"].as_str().is_some_and(|known| same_folder(known, directory));
        self.change_clients(|clients| clients.retain(|client| !here(client)))
    }

    fn change_clients(&self, change: impl FnOnce(&mut Vec<Json>)) -> Result<Self> {
        self.with_config_edit(|config| {
            let mut clients = match config.get(CLIENTS) {
                Some(Json::Array(clients)) => clients.clone(),
                _ => Vec::new(),
            };
            change(&mut clients);
            match clients.is_empty() {
                true => config.shift_remove(CLIENTS),
                false => config.insert(CLIENTS.into(), Json::Array(clients)),
            };
            Ok(())
        })
    }
}

fn set(config: &mut Keys, key: &str, value: &str) -> Result<()> {
    config.insert(key.to_owned(), json!(value));
    Ok(())
}

fn same_folder(one: &str, other: &str) -> bool {
    inside_context("", one).is_some_and(|one| inside_context("", other) == Some(one))
}

#[cfg(test)]
pub(super) mod tests {
    use rondel_model::AbsPath;

    use super::*;
    use crate::config::module_config::ConfigFormat;
    use crate::source::module_source::SourceKind;

    pub(in crate::source) fn source(root: &str, text: &str) -> ModuleSource {
        let config =
            if text.is_empty() { ModuleConfig::default() } else { ModuleConfig::parse(text, "x").expect("parses") };
        ModuleSource {
            kind: SourceKind::Local,
            snapshot: rondel_model::Snapshot::empty(),
            base: AbsPath::root(),
            root: root.into(),
            host: "/repository".into(),
            host_seal: "".into(),
            git: None,
            config_text: text.into(),
            config,
            renamed: None,
            dependencies: Vec::new(),
            sdk: None,
            role: crate::source::module_source::SourceRole::Module,
        }
    }

    pub(in crate::source) fn named(root: &str, name: &str) -> ModuleSource {
        source(root, &format!(r#"{{"name": "{name}", "engineVersion": "v0.21.8"}}"#))
    }

    pub(in crate::source) fn json_of(source: &ModuleSource) -> Json {
        serde_json::from_str(&source.config_text).expect("is JSON")
    }

    #[test]
    fn a_module_from_nothing() {
        let made = source("app", "").with_name("app").and_then(|it| it.with_sdk("python"));
        let made = made.and_then(|it| it.with_source("./src/")).expect("works");
        assert_eq!(json_of(&made), json!({"name": "app", "sdk": {"source": "python"}, "source": "src"}));
        assert_eq!((made.name(), made.config.source_subpath()), ("app", "src"));
        let renamed = made.with_name("other").expect("works");
        assert_eq!((renamed.name(), &*renamed.config.name), ("other", "app"));
        let without = made.with_sdk("").expect("works");
        assert_eq!(json_of(&without), json!({"name": "app"}));
    }

    #[test]
    fn only_what_changes_is_written() {
        let text = r#"{"$schema": "x",   "name": "a", "zzz": {"k": 1}, "sdk": "python"}"#;
        let it = source("", text);
        assert_eq!(&*it.with_sdk("python").expect("works").config_text, text);
        let changed = it.with_includes(&["../x".into(), "!y".into()]).expect("works");
        let changed = changed.with_includes(&["../x".into()]).expect("works");
        let keys: Vec<_> = json_of(&changed).as_object().expect("object").keys().cloned().collect();
        assert_eq!(keys, ["$schema", "name", "zzz", "sdk", "include"]);
        assert_eq!(changed.config.include, ["../x", "!y"]);
    }

    #[test]
    fn features() {
        let it = source("", r#"{"name": "a", "sdk": "python"}"#);
        let with = it.with_features(&["SELF_CALLS".into()], true).expect("works");
        assert_eq!(json_of(&with)["sdk"], json!({"source": "python", "experimental": {"SELF_CALLS": true}}));
        let without = with.with_features(&["SELF_CALLS".into()], false).expect("works");
        assert_eq!(json_of(&without)["sdk"], json!({"source": "python"}));
        assert!(named("", "a").with_features(&[], true).is_err());
    }

    #[test]
    fn clients() {
        let it = named("", "a");
        let with = it.with_client("../gen", "./client/").expect("works");
        assert_eq!(json_of(&with)["clients"], json!([{"generator": "../gen", "directory": "client"}]));
        assert_eq!(with.with_client("../gen", "client").expect("works").config_text, with.config_text);
        assert!(with.with_client("other", "client").is_err() && with.without_client("x").is_err());
        assert!(it.with_client("g", "../x").is_err());
        assert_eq!(json_of(&with.without_client("client/").expect("works")), json_of(&it));
    }

    #[test]
    fn a_source_stays_inside() {
        let escapes = named("", "a").with_source("../..").map_err(|e| e.to_string()).err();
        assert_eq!(escapes.as_deref(), Some("source subpath \"../..\" escapes source root"));
    }

    #[test]
    fn an_older_module_stays_without_caching() {
        let check = |text: &str, was_read: bool, want: Json| {
            let to = |it: ModuleSource| it.with_engine_version(View::new(0, 21, 8), was_read).expect("works");
            assert_eq!(json_of(&to(source("", text)))["disableDefaultFunctionCaching"], want, "{text}");
        };
        check(r#"{"name": "a", "engineVersion": "v0.19.3"}"#, true, json!(true));
        check(r#"{"name": "a"}"#, true, json!(true));
        check(r#"{"name": "a"}"#, false, Json::Null);
        check(r#"{"name": "a", "engineVersion": "v0.19.4"}"#, true, Json::Null);
        check(
            r#"{"name": "a", "engineVersion": "v0.19.3", "disableDefaultFunctionCaching": false}"#,
            true,
            json!(false),
        );
    }

    #[test]
    fn the_other_format_is_edited_too() {
        let text = "name = \"a\" # mine\n\n[runtime]\nsource = \"python\"\n";
        let it = source("", "");
        let config = ModuleConfig::read(ConfigFormat::Toml, text, "x").expect("parses");
        let it = ModuleSource { config, config_text: text.into(), ..it };
        let with = it.with_features(&["SELF_CALLS".into()], true).expect("works");
        let want = "name = \"a\" # mine\n\n[runtime]\nsource = \"python\"\nexperimental = { SELF_CALLS = true }\n";
        assert_eq!(&*with.config_text, want);
        let without = with.with_sdk("").expect("works");
        assert_eq!(&*without.config_text, "name = \"a\" # mine\n");
    }
}
