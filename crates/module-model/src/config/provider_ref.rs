//! References to providers: the SDK or entrypoint of a module, as a configuration names it.

use rondel_fault::{Fault, Result};
use rondel_model::git_address as git;

use crate::config::module_config::{DAGGER_MODULE_TOML, EntrypointConfig, ModuleConfig};

/// The only supported kind of entrypoint.
pub const MODULE: &str = "module";

/// A reference to the module that is another module's SDK or entrypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRef {
    /// The word for it in messages: `SDK` or `entrypoint`.
    pub word: &'static str,
    /// The reference as the configuration has it.
    pub written: String,
    /// The reference to a module source.
    pub reference: String,
    /// The pinned commit. Empty when there is none.
    pub pin: String,
}

impl ProviderRef {
    /// A reference to an SDK, or to a module that is found like one.
    pub fn sdk(reference: &str) -> Self {
        let reference = reference.to_owned();
        Self { word: "SDK", written: reference.clone(), reference, pin: String::new() }
    }
}

impl EntrypointConfig {
    /// The address of its directory as a module reference: `url/path@ref` for `url#ref:path`.
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

impl ModuleConfig {
    /// The module that provides this one's runtime. `None` for a built-in SDK, or when there is no
    /// SDK.
    pub fn provider_ref(&self) -> Option<ProviderRef> {
        if let Some(entrypoint) = &self.entrypoint {
            // An unsupported entrypoint is refused when the module is loaded. Its source can still
            // be inspected.
            let reference = entrypoint.reference();
            let written = entrypoint.source.clone();
            let provider = ProviderRef { word: "entrypoint", written, reference, pin: String::new() };
            return self.check_entrypoint().is_ok().then_some(provider);
        }
        let sdk = self.sdk.as_ref().filter(|sdk| !rondel_sdk::is_builtin(&sdk.source))?;
        Some(ProviderRef { pin: sdk.pin.clone(), ..ProviderRef::sdk(&sdk.source) })
    }

    /// Whether the module has an SDK or an entrypoint.
    pub fn has_functions(&self) -> bool {
        self.sdk.is_some() || self.entrypoint.is_some()
    }

    /// Checks that the entrypoint is supported, if there is one.
    ///
    /// # Errors
    /// When it is not supported.
    pub fn check_entrypoint(&self) -> Result<()> {
        let Some(EntrypointConfig { kind, source }) = &self.entrypoint else { return Ok(()) };
        let here = format!("`[entrypoint]` in `{DAGGER_MODULE_TOML}` of `{}`", self.name);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
