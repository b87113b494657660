//! Parser of `dagger-module.toml`, the format of module configuration that Dagger introduced after
//! its version v0.21.8: docs/protocol.md#module-configuration
//!
//! It returns a `ModuleConfig`, as the parser of `dagger.json` does. The field `format` tells the
//! two apart. The key `runtime` takes the place of the key `sdk`, and `entrypoint` exists only
//! here.

use rondel_fault::{Fault, Result};
use serde_json::{Map, Value as Json};

use crate::config::module_config::{ConfigFormat, EntrypointConfig, ModuleConfig, SdkConfig};
use crate::json_object::{JsonObject, StringOrObject};

/// Parses the `text` of a `dagger-module.toml`. `place` is the path of the file, for messages.
/// Unknown keys are ignored, as in `dagger.json`.
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
    // The key `sdk` of `dagger.json` is called `runtime` in this format.
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
