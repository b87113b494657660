//! `dagger-module.toml`: the format of configuration that came after v0.21.8. docs/protocol.md#module-configuration
//!
//! It is read as the same data as `dagger.json`, so that nothing behind it asks in which format a module is described.

use rondel_api::git;
use rondel_fault::{Fault, Result};
use serde_json::{Map, Value as Json};

use crate::config::module_config::{self, ModuleConfig, SdkConfig};
use crate::json_object::{JsonObject, StringOrObject, object};

/// The name of the file.
pub const FILE_NAME: &str = "dagger-module.toml";
/// The only kind of entrypoint that can be used.
pub const MODULE: &str = "module";

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
            ConfigFormat::Json => module_config::FILE_NAME,
            ConfigFormat::Toml => FILE_NAME,
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

impl EntrypointConfig {
    fn read(place: &str, value: &Json) -> Result<Self> {
        let keys = object(place, value, "an object")?;
        Ok(Self { kind: keys.get("kind")?, source: keys.get("source")? })
    }

    /// Its directory as references to modules are written: `url/path@ref` for `url#ref:path`.
    fn reference(&self) -> String {
        let path = self.source.strip_prefix("file://").unwrap_or(&self.source);
        if !path.contains('#') || path.starts_with(['.', '/']) {
            return path.to_owned();
        }
        let git::Address { url, name, path } = git::Address::parse(path);
        let path = path.map(|path| format!("/{}", path.trim_matches('/'))).unwrap_or_default();
        let name = name.map(|name| format!("@{name}")).unwrap_or_default();
        format!("{}{path}{name}", url.trim_end_matches('/'))
    }
}

/// The module that makes another one work, as its configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRef {
    /// What people call it: `SDK` or `entrypoint`.
    pub word: &'static str,
    /// As it is written.
    pub written: String,
    /// Where it is.
    pub reference: String,
    /// The commit that is pinned; empty: none.
    pub pin: String,
}

impl ProviderRef {
    /// An SDK, or what is named like one.
    pub fn sdk(reference: &str) -> Self {
        let reference = reference.to_owned();
        Self { word: "SDK", written: reference.clone(), reference, pin: String::new() }
    }
}

impl ModuleConfig {
    /// The module that makes this one work; none when nothing does, or when it is built in.
    pub fn provider_ref(&self) -> Option<ProviderRef> {
        if let Some(entrypoint) = &self.entrypoint {
            // What cannot be used is refused when the module is loaded: it can still be looked at.
            let reference = entrypoint.reference();
            let written = entrypoint.source.clone();
            let provider = ProviderRef { word: "entrypoint", written, reference, pin: String::new() };
            return self.check_entrypoint().is_ok().then_some(provider);
        }
        let sdk = self.sdk.as_ref().filter(|sdk| !rondel_sdk::is_builtin(&sdk.source))?;
        Some(ProviderRef { pin: sdk.pin.clone(), ..ProviderRef::sdk(&sdk.source) })
    }

    /// Whether something serves its functions.
    pub fn has_functions(&self) -> bool {
        self.sdk.is_some() || self.entrypoint.is_some()
    }

    /// That its entrypoint can be used, if it has one.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check_entrypoint(&self) -> Result<()> {
        let Some(EntrypointConfig { kind, source }) = &self.entrypoint else { return Ok(()) };
        let here = format!("`[entrypoint]` in `{FILE_NAME}` of `{}`", self.name);
        let hint = |fault: Fault| {
            fault.with_hint(format!("supported is `kind = \"{MODULE}\"`, with the address of a module as `source`"))
        };
        if self.sdk.is_some() {
            return Err(Fault::user(format!("{here}: there is a `[runtime]` as well"))
                .with_hint("a module has one of them: remove the other"));
        }
        match kind.as_str() {
            MODULE if source.is_empty() => Err(hint(Fault::user(format!("{here} has no `source`")))),
            MODULE => Ok(()),
            "" => Err(hint(Fault::user(format!("{here} has no `kind`")))),
            kind => {
                Err(hint(Fault::user(format!("{here}: the kind `{kind}` is not supported yet, only `{MODULE}` is"))))
            }
        }
    }
}

/// Reads `text`; `place` says where it stands. JsonObject that are not known are ignored, as in the other format.
///
/// # Errors
/// When it is no TOML, or a key has a value of the wrong type.
pub fn parse(text: &str, place: &str) -> Result<ModuleConfig> {
    let cannot = || format!("cannot read module configuration `{place}`");
    let table: Map<String, Json> = toml::from_str(text).map_err(|e| {
        let at = e.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let at = at.map(|line| format!(" at line {line}")).unwrap_or_default();
        Fault::user(format!("{}: {}{at}", cannot(), e.message()))
    })?;
    read(table).map_err(|e| e.context(cannot()))
}

fn read(mut table: Map<String, Json>) -> Result<ModuleConfig> {
    // What the other format calls `sdk` is called `runtime` here.
    table.remove("sdk");
    let keys = JsonObject::of(table);
    let entrypoint = keys.read("entrypoint", |place, value| EntrypointConfig::read(place, value).map(Some))?;
    let sdk = keys.read("runtime", |place, value| {
        let pin = match StringOrObject::of(place, value)? {
            StringOrObject::String(_) => String::new(),
            StringOrObject::Object(keys) => keys.get("pin")?,
        };
        Ok(Some(SdkConfig { pin, ..SdkConfig::read(place, value)? }))
    })?;
    Ok(ModuleConfig {
        format: ConfigFormat::Toml,
        entrypoint,
        sdk: sdk.filter(SdkConfig::is_named),
        ..ModuleConfig::of(&keys)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ModuleConfig {
        ModuleConfig::read(ConfigFormat::Toml, text, "x").expect("parses")
    }

    #[test]
    fn every_field() {
        let read = config(
            r#"
            name = "demo"
            engineVersion = "v0.18.10"
            source = "src"
            include = ["../x"]
            exclude = ["y"]
            disableDefaultFunctionCaching = true
            dependencies = ["../dep", {name = "other", source = "https://h/r.git/m", pin = "c0"}]
            unknown = 1979-05-27
            [codegen]
            automaticGitignore = false
            [entrypoint]
            kind = "module"
            source = "./entry"
            "#,
        );
        assert_eq!((&*read.name, &*read.engine_version, &*read.source), ("demo", "v0.18.10", "src"));
        assert_eq!((&*read.include, &*read.exclude), (&["../x".to_owned()][..], &["y".to_owned()][..]));
        assert_eq!((&*read.dependencies[0].source, &*read.dependencies[1].pin), ("../dep", "c0"));
        assert_eq!((read.disable_default_function_caching, read.generates_ignores()), (Some(true), false));
        assert_eq!(
            read.provider_ref().map(|provider| (provider.word, provider.reference)),
            Some(("entrypoint", "./entry".into()))
        );
        assert_eq!(
            (read.format, read.sdk.is_none(), read.check_entrypoint().is_ok()),
            (ConfigFormat::Toml, true, true)
        );
    }

    #[test]
    fn a_runtime_is_an_sdk() {
        let read = config("name = \"demo\"\n[runtime]\nsource = \"https://h/r.git/sdk\"\npin = \"c0\"\n");
        let provider = read.provider_ref().expect("a module");
        assert_eq!((provider.word, &*provider.reference, &*provider.pin), ("SDK", "https://h/r.git/sdk", "c0"));
        let built_in = config("name = \"demo\"\nruntime = \"python\"\nsdk = \"ignored\"\n");
        assert_eq!((built_in.sdk.as_ref().map(|sdk| &*sdk.source), built_in.provider_ref()), (Some("python"), None));
    }

    #[test]
    fn what_cannot_be_used() {
        let check = |text: &str, want: &str| {
            let refused = config(&format!("name = \"demo\"\n{text}")).check_supported().expect_err("is refused");
            assert_eq!(refused.to_string(), format!("`[entrypoint]` in `dagger-module.toml` of `demo`{want}"));
        };
        let dang = "[entrypoint]\nkind = \"dang\"\nsource = \".\"";
        check(dang, ": the kind `dang` is not supported yet, only `module` is");
        assert_eq!(config(dang).provider_ref(), None);
        check("[entrypoint]\nsource = \".\"", " has no `kind`");
        check("[entrypoint]\nkind = \"module\"", " has no `source`");
        let both = "runtime = \"python\"\n[entrypoint]\nkind = \"module\"\nsource = \".\"";
        check(both, ": there is a `[runtime]` as well");
    }

    #[test]
    fn addresses_of_entrypoints() {
        let check = |source: &str, want: &str| {
            let entrypoint = EntrypointConfig { kind: MODULE.into(), source: source.into() };
            assert_eq!(entrypoint.reference(), want);
        };
        check("./entry", "./entry");
        check("entry", "entry");
        check("./with#sign", "./with#sign");
        check("https://h/r.git#main:a/b", "https://h/r.git/a/b@main");
        check("https://h/r.git#v1", "https://h/r.git@v1");
        check("git@h:o/r.git#:a", "git@h:o/r.git/a");
        check("github.com/o/r/entry@v1.2", "github.com/o/r/entry@v1.2");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, want: &str| {
            let got = ModuleConfig::read(ConfigFormat::Toml, text, "/m/dagger-module.toml")
                .expect_err("is refused")
                .to_string();
            assert!(got.starts_with("cannot read module configuration `/m/dagger-module.toml`: "), "{got}");
            assert!(got.contains(want), "{got}");
        };
        check("name = ", "line 1");
        check("name = 1", "invalid type");
        check("entrypoint = \"x\"", "invalid type");
        check("source = \"../x\"", "source path \"../x\" contains parent directory components");
    }
}
