//! The built-in SDKs, by name.

use std::sync::Arc;

use rondel_fault::{Fault, Result, nearest};

use crate::go::Go;
use crate::python::Python;
use crate::sdk::Sdk;

/// The names of the available built-in SDKs.
pub const BUILTIN: &[&str] = &["go", "python"];
/// Reserved names: SDKs that are or will be built in.
const KNOWN: &[&str] = &["go", "python", "typescript", "dang", "php", "java", "elixir", "rust"];

/// Whether `name` is reserved for a built-in SDK. Any other name refers to a module.
pub fn is_builtin(name: &str) -> bool {
    KNOWN.contains(&name.split_once('@').map_or(name, |(base, _)| base))
}

/// The built-in SDK `name`.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<Arc<dyn Sdk>> {
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    if let (Some(_), "go" | "python" | "typescript" | "dang") = (version, base) {
        // Users match on this text; see docs/protocol.md#functions-of-an-sdk.
        return Err(Fault::user(format!("the {base} sdk does not currently support selecting a specific version")));
    }
    match base {
        "go" => Ok(Arc::new(Go)),
        "python" => Ok(Arc::new(Python)),
        _ if KNOWN.contains(&base) => Err(Fault::user(format!("the SDK `{base}` is not supported yet")).with_hint(
            format!("available: {}, and SDKs that are modules, by their path or git reference", BUILTIN.join(", ")),
        )),
        _ => Err(Fault::user(format!("invalid SDK: \"{name}\"")).with_hint(hint(name))),
    }
}

/// The hint for an SDK that does not exist: a similar name, and what can be named.
pub fn hint(name: &str) -> String {
    let base = name.split_once('@').map_or(name, |(base, _)| base);
    let near = nearest(base, KNOWN.iter().copied());
    let near = near.map(|known| format!("did you mean `{known}`? ")).unwrap_or_default();
    format!(
        "{near}built in: {}; anything else is the path or git reference of a module that is an SDK",
        BUILTIN.join(", ")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn unknown_names() {
        let check = |name: &str, want: Option<&str>| {
            assert_eq!(super::find(name).err().map(|e| e.to_string()).as_deref(), want);
        };
        check("python", None);
        check("foo-bar", Some("invalid SDK: \"foo-bar\""));
        check("python@v1", Some("the python sdk does not currently support selecting a specific version"));
        check("go", None);
        check("php", Some("the SDK `php` is not supported yet"));
        assert!(super::hint("pyton").starts_with("did you mean `python`? built in: go, python"));
        assert!(super::hint("foo-bar").starts_with("built in: go, python;"));
        assert!(super::is_builtin("go") && super::is_builtin("python@v1") && !super::is_builtin("./python"));
    }
}
