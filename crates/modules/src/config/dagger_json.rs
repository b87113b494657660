//! `dagger.json`: the configuration file that every version has.

use rondel_fault::{Fault, Result};

use crate::config::module_config::ModuleConfig;
use crate::json_object::JsonObject;

/// Reads the `text` of a `dagger.json`; `place` says where it stands.
///
/// # Errors
/// When it is no JSON, or a key has a value of the wrong type.
pub fn parse(text: &str, place: &str) -> Result<ModuleConfig> {
    let cannot = || format!("cannot read module configuration `{place}`");
    // An array would be taken for the fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(Fault::user(format!("{}: it is no JSON object", cannot())));
    }
    let keys = JsonObject::parse(text).map_err(|e| Fault::user(cannot()).caused_by(e))?;
    ModuleConfig::of(&keys).map_err(|e| refused_version(&keys).unwrap_or_else(|| e.context(cannot())))
}

/// What is wrong with the version of a configuration that cannot be read: another engine may well read it.
fn refused_version(keys: &JsonObject) -> Option<Fault> {
    let version: String = keys.get("engineVersion").ok().filter(|version: &String| !version.is_empty())?;
    rondel_version::of_module(&version).err().map(|refused| Fault::user(refused.to_string()))
}
