//! Edits of a module's `dagger.json`.
//!
//! *Invariants.* An edit changes only what it is asked to change: unknown keys and the order of the
//! others stay. An edit without effect keeps the text as it was. Dependencies are sorted by name.

use rondel_fault::{Fault, Result};
use rondel_model::AbsPath;
use serde_json::{Map, Value as Json, json};

use crate::config::module_config::{ConfigFormat, DAGGER_JSON, ModuleConfig};
use crate::source::module_source::{Dependency, ModuleSource, SourceKind};
use crate::source::reference::inside_context;

/// The keys of `dagger.json` that edits change.
const DEPENDENCIES: &str = "dependencies";
const CLIENTS: &str = "clients";
const SDK: &str = "sdk";

impl ModuleSource {
    /// The source with `change` applied to its configuration.
    ///
    /// # Errors
    /// When `change` fails, or the result is not valid.
    pub fn with_config_edit(&self, change: impl FnOnce(&mut Map<String, Json>) -> Result<()>) -> Result<Self> {
        if self.config.format != ConfigFormat::Json {
            let file = self.config.format.file_name();
            return Err(Fault::user(format!("changing what `{file}` of `{}` says is not supported yet", self.name())));
        }
        let unreadable = |e| Fault::bug(format!("a configuration that was read cannot be read again: {e}"));
        let before: Map<String, Json> = match &*self.config_text {
            "" => Map::new(),
            text => serde_json::from_str(text).map_err(unreadable)?,
        };
        let mut after = before.clone();
        change(&mut after)?;
        if after == before && self.config_exists() {
            return Ok(self.clone());
        }
        let text = serde_json::to_string_pretty(&after).map_err(unreadable)? + "\n";
        let config = ModuleConfig::parse(&text, DAGGER_JSON)?;
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

    /// Sets the SDK, or removes it if `source` is empty. The configuration of another SDK is
    /// removed.
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
                "" => config.shift_remove(SDK),
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

    /// Adds dependencies. One with the same name and the same place stays.
    ///
    /// # Errors
    /// When another module has the name, or the module cannot be referred to from here.
    pub fn with_dependencies(&self, added: &[Self]) -> Result<Self> {
        let mut all = self.entries();
        for dependency in added {
            let name = dependency.name();
            let source = self.reference_to(dependency)?;
            match all.iter().find(|entry| entry.name == name) {
                Some(known) if known.leads_to(self, &source) => continue,
                // Users match on the first words; see docs/protocol.md#changing-dependencies.
                Some(known) => {
                    return Err(Fault::user(format!(
                        "duplicate dependency name \"{name}\": it is `{}` already, and cannot be `{source}` as well",
                        known.source
                    ))
                    .with_hint("give the new one another name with `withName`"));
                }
                None => all.push(DependencyEntry::new(
                    name,
                    source,
                    Dependency::Found(std::sync::Arc::new(dependency.clone())),
                )),
            }
        }
        self.with_entries(all)
    }

    /// Removes dependencies by name, or by a path or address that is equal or leads to the same
    /// place.
    ///
    /// # Errors
    /// When one of them is not a dependency.
    pub fn without_dependencies(&self, names: &[String]) -> Result<Self> {
        let mut all = self.entries();
        for name in names {
            let before = all.len();
            all.retain(|entry| entry.name != *name && !entry.leads_to(self, name));
            if all.len() == before {
                return Err(self.no_dependency(name, "uninstalled"));
            }
        }
        self.with_entries(all)
    }

    /// The error that there is no dependency `name`, which was to be `done`.
    pub fn no_dependency(&self, name: &str, done: &str) -> Fault {
        // Users match on this text; see docs/protocol.md#changing-dependencies.
        let fault = Fault::user(format!(
            "dependency \"{name}\" was requested to be {done}, but it is not found in the dependencies list"
        ));
        match self.dependencies.as_slice() {
            [] => fault.with_hint(format!("module `{}` has no dependencies", self.name())),
            known => {
                let known: Vec<_> = known.iter().map(|known| format!("`{}`", known.name())).collect();
                fault.with_hint(format!("there are {}", known.join(", ")))
            }
        }
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

    /// The entries of `dagger.json` for dependencies, with the sources that they lead to.
    fn entries(&self) -> Vec<DependencyEntry> {
        let texts: Map<String, Json> = serde_json::from_str(&self.config_text).unwrap_or_default();
        let texts = texts.get(DEPENDENCIES).and_then(Json::as_array).cloned().unwrap_or_default();
        let listed = self.config.dependencies.iter().zip(&self.dependencies).zip(texts);
        listed
            .map(|((config, found), text)| DependencyEntry {
                name: found.name().to_owned(),
                source: config.source.clone(),
                text: match text {
                    Json::Object(object) => object,
                    _ => dependency_json(found.name(), &config.source),
                },
                found: found.clone(),
            })
            .collect()
    }

    fn with_entries(&self, mut entries: Vec<DependencyEntry>) -> Result<Self> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let texts: Vec<Json> = entries.iter().map(|entry| Json::Object(entry.text.clone())).collect();
        let changed = self.with_config_edit(|config| {
            match texts.is_empty() {
                true => config.shift_remove(DEPENDENCIES),
                false => config.insert(DEPENDENCIES.into(), Json::Array(texts)),
            };
            Ok(())
        })?;
        Ok(Self { dependencies: entries.into_iter().map(|entry| entry.found).collect(), ..changed })
    }

    /// Whether both are in one repository at one commit.
    fn is_in_repository_of(&self, other: &Self) -> bool {
        let place = |source: &Self| source.git.as_ref().map(|git| (git.url.clone(), git.commit.clone()));
        place(self).is_some() && place(self) == place(other)
    }

    /// The reference to `other` from the `dagger.json` of this source.
    fn reference_to(&self, other: &Self) -> Result<String> {
        if let (false, Some(git)) = (self.is_in_repository_of(other), &other.git) {
            return Ok(git.reference(&other.root));
        }
        if self.kind != other.kind {
            return Err(Fault::user(format!(
                "{} cannot depend on {}: one is on a host, the other is not",
                self.describe(),
                other.describe()
            )));
        }
        if self.kind == SourceKind::Local && self.host != other.host {
            // Users match on this text; see docs/protocol.md#module-configuration.
            return Err(Fault::user(format!(
                "local module dependency context directory \"{}\" is not in parent context directory \"{}\"",
                other.host, self.host
            ))
            .with_hint(
                "a context directory is the nearest folder above with a `.git`; without one, the module's own",
            ));
        }
        Ok(relative(&self.root, &other.root))
    }
}

/// A dependency in `dagger.json` with its source.
struct DependencyEntry {
    name: String,
    source: String,
    text: Map<String, Json>,
    found: Dependency,
}

impl DependencyEntry {
    fn new(name: &str, source: String, found: Dependency) -> Self {
        Self { name: name.to_owned(), text: dependency_json(name, &source), source, found }
    }

    /// Whether `reference`, seen from `from`, leads to the same place.
    fn leads_to(&self, from: &ModuleSource, reference: &str) -> bool {
        let place = |text: &str| match text.strip_prefix('/') {
            Some(_) => Some(AbsPath::new(text).to_string()),
            None => {
                inside_context(&from.root, text).map(|inside| AbsPath::new(&from.host).join_inside(&inside).to_string())
            }
        };
        self.source == reference || place(&self.source).is_some_and(|mine| place(reference) == Some(mine))
    }
}

fn dependency_json(name: &str, source: &str) -> Map<String, Json> {
    Map::from_iter([("name".to_owned(), json!(name)), ("source".to_owned(), json!(source))])
}

fn set(config: &mut Map<String, Json>, key: &str, value: &str) -> Result<()> {
    config.insert(key.to_owned(), json!(value));
    Ok(())
}

fn same_folder(one: &str, other: &str) -> bool {
    inside_context("", one).is_some_and(|one| inside_context("", other) == Some(one))
}

/// The relative path from the folder `from` to the folder `to`, both relative to one context
/// directory.
fn relative(from: &str, to: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(from), parts(to));
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    let way: Vec<_> = up.chain(to[shared..].iter().cloned()).collect();
    if way.is_empty() { ".".to_owned() } else { way.join("/") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn source(root: &str, text: &str) -> ModuleSource {
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

    fn named(root: &str, name: &str) -> ModuleSource {
        source(root, &format!(r#"{{"name": "{name}", "engineVersion": "v0.21.8"}}"#))
    }

    fn json_of(source: &ModuleSource) -> Json {
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
        assert!(without.config.sdk.is_none() && without.config_exists());
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
    fn dependencies() {
        let it = named("app", "app");
        let with = it.with_dependencies(&[named("lib/z", "z"), named("app/in", "b")]).expect("works");
        let want = json!([{"name": "b", "source": "in"}, {"name": "z", "source": "../lib/z"}]);
        assert_eq!(json_of(&with)["dependencies"], want);
        assert_eq!(with.dependencies.iter().map(|d| d.name()).collect::<Vec<_>>(), ["b", "z"]);
        let again = with.with_dependencies(&[named("lib/z", "z")]).expect("works");
        assert_eq!(again.config_text, with.config_text);
        let fault = |result: Result<ModuleSource>| result.expect_err("is refused").to_string();
        let twice = fault(with.with_dependencies(&[named("elsewhere", "z")]));
        assert!(twice.starts_with("duplicate dependency name \"z\""), "{twice}");
        for gone in ["z", "../lib/z", "../lib/./z/", "/repository/lib/z"] {
            let without = with.without_dependencies(&[gone.into()]).expect(gone);
            assert_eq!(without.dependencies.len(), 1, "{gone}");
        }
        let none = fault(with.without_dependencies(&["y".into()]));
        assert_eq!(
            none,
            "dependency \"y\" was requested to be uninstalled, but it is not found in the dependencies list"
        );
        let mut far = named("x", "x");
        far.host = "/outside".into();
        let far = fault(it.with_dependencies(&[far]));
        assert_eq!(
            far,
            "local module dependency context directory \"/outside\" is not in parent context directory \"/repository\""
        );
    }

    #[test]
    fn what_a_dependency_says_besides_stays() {
        let mut it =
            source("", r#"{"name": "a", "dependencies": [{"name": "n", "source": "./d", "ignoreChecks": ["x"]}]}"#);
        let renamed = ModuleSource { renamed: Some("n".into()), ..named("d", "d") };
        it.dependencies = vec![Dependency::Found(Arc::new(renamed))];
        let with = it.with_dependencies(&[named("c", "c")]).expect("works");
        let want = json!([{"name": "c", "source": "c"}, {"name": "n", "source": "./d", "ignoreChecks": ["x"]}]);
        assert_eq!(json_of(&with)["dependencies"], want);
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
    fn paths() {
        let check = |from: &str, to: &str, want: &str| assert_eq!(relative(from, to), want);
        check("a", "b", "../b");
        check("", "b/c", "b/c");
        check("a/b", "a", "..");
        check("a", "a", ".");
        let escapes = named("", "a").with_source("../..").map_err(|e| e.to_string()).err();
        assert_eq!(escapes.as_deref(), Some("source subpath \"../..\" escapes source root"));
    }
}
