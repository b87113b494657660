//! Locating the SDK or entrypoint of a module.

use rondel_fault::{Fault, Result};

use crate::config::module_config::{DAGGER_JSON, DAGGER_MODULE_TOML};
use crate::config::provider_ref::ProviderRef;
use crate::source::reference::{ReferenceKind, classify, inside_context};

/// The context of an error while the provider is resolved.
pub fn resolving_provider(module: &str, sdk: &ProviderRef) -> String {
    format!("find the {} `{}` of module `{module}`", sdk.word, sdk.written)
}

/// The error that the provider does not exist.
pub fn provider_not_found(module: &str, sdk: &ProviderRef) -> Fault {
    let ProviderRef { word, written: sdk, .. } = sdk;
    if *word != ProviderRef::sdk("").word {
        return Fault::user(format!("the {word} `{sdk}` of module `{module}` is no folder with a module"))
            .with_hint(format!("it has a `{DAGGER_JSON}` or a `{}` of its own", DAGGER_MODULE_TOML));
    }
    // Users match on the first words; see docs/protocol.md#functions-of-an-sdk.
    Fault::user(format!(
        "invalid SDK: \"{sdk}\" of module `{module}` is neither built in nor a folder with a `{DAGGER_JSON}`"
    ))
    .with_hint(format!("{}; a path is relative to the folder of the module's `{DAGGER_JSON}`", rondel_sdk::hint(sdk)))
}

/// Whether a reference is a remote address, in a place where folders cannot be checked.
pub fn is_remote(reference: &str, pin: &str) -> bool {
    match classify(reference, pin) {
        ReferenceKind::Git => true,
        ReferenceKind::Either => reference.split_once('/').is_some_and(|(host, _)| host.contains('.')),
        ReferenceKind::Local => false,
    }
}

/// The location of a module that another one refers to.
pub enum ReferenceLocation {
    /// A folder of the same context directory.
    Inside(String),
    /// A git repository.
    Remote,
}

/// The location of the provider of a module in the folder `root`.
pub fn locate_provider(module: &str, sdk: &ProviderRef, root: &str) -> Result<ReferenceLocation> {
    let ProviderRef { word, written, reference, pin } = sdk;
    if reference.starts_with('/') {
        return Err(Fault::user(format!("the path of the {word} `{written}` of module `{module}` is absolute"))
            .with_hint("write it relative to the folder of the module's configuration"));
    }
    if is_remote(reference, pin) {
        return Ok(ReferenceLocation::Remote);
    }
    let outside = || {
        Fault::user(format!("the {word} `{written}` of module `{module}` is outside of the module's context directory"))
            .with_hint("that is the nearest folder above with a `.git`; without one, the module's own folder")
    };
    inside_context(root, reference).map(ReferenceLocation::Inside).ok_or_else(outside)
}
