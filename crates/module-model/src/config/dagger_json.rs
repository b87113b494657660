//! Parser of `dagger.json`, the configuration file that every version has.

use rondel_fault::{Fault, Result};

use crate::config::module_config::ModuleConfig;
use crate::json_object::JsonObject;

/// Parses the `text` of a `dagger.json`. `place` is the path of the file, for messages.
///
/// # Errors
/// When it is no JSON object, or a key has a value of the wrong type.
pub fn parse(text: &str, place: &str) -> Result<ModuleConfig> {
    let cannot = || format!("cannot read module configuration `{place}`");
    // An array is refused: serde would take its items for the fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(Fault::user(format!("{}: it is no JSON object", cannot())));
    }
    let keys = JsonObject::parse(text).map_err(|e| Fault::user(cannot()).caused_by(e))?;
    ModuleConfig::of(&keys).map_err(|e| refused_version(&keys).unwrap_or_else(|| e.context(cannot())))
}

/// The error for an unsupported `engineVersion` in a configuration that cannot be parsed: another
/// engine may be able to.
fn refused_version(keys: &JsonObject) -> Option<Fault> {
    let version: String = keys.get("engineVersion").ok().filter(|version: &String| !version.is_empty())?;
    rondel_version::of_module(&version).err().map(|refused| Fault::user(refused.to_string()))
}
