//! SDKs: what turns a module's source into a container whose entrypoint serves the module's functions.
//!
//! *Invariants.* A runtime is a pure function of the module's content: no session, client or host path enters
//! it, so that equal sources share it. Nothing runs here; a runtime is deferred work inside a value. One file
//! per SDK.

pub mod bindings;
pub mod python;
mod python_names;
mod python_project;
mod python_version;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_fault::{Fault, Result};
use rondel_gql::types::Schema;
use rondel_model::{Container, Directory};
use rondel_ops::{OpContext, Ops};
use rondel_version::View;

/// A module's source, as an SDK needs it.
pub struct Source {
    /// The module's name in `dagger.json`.
    pub name: String,
    /// The files that belong to it, laid out as in the context directory.
    pub context: Directory,
    /// The folder of `dagger.json`, relative to the context directory.
    pub root: String,
    /// The folder of the code, relative to the context directory.
    pub source: String,
    /// The API version that the module sees.
    pub view: View,
    /// The API as the module's code sees it, without other modules.
    pub core: Arc<Schema>,
    /// The same with the modules that it uses.
    pub schema: Arc<Schema>,
}

/// Turns module source into runtimes.
pub trait Sdk: Send + Sync {
    /// What decides the runtime beside the source; part of every module's identity.
    fn version(&self) -> &'static str;

    /// The container whose entrypoint serves the module's functions.
    ///
    /// # Errors
    /// When the project's own configuration is wrong, or the base image is not found.
    fn runtime<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a Source,
    ) -> BoxFuture<'a, Result<Container>>;
}

/// The names of the built-in SDKs that exist so far.
pub const BUILTIN: &[&str] = &["python"];
/// Names that will be built in, or whose versions cannot be chosen.
const KNOWN: &[&str] = &["go", "python", "typescript", "dang", "php", "java", "elixir", "rust"];

/// Whether `name` is a built-in one, or will be; anything else refers to a module.
pub fn is_builtin(name: &str) -> bool {
    KNOWN.contains(&name.split_once('@').map_or(name, |(base, _)| base))
}

/// The built-in SDK called `name`.
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
        "python" => Ok(Arc::new(python::Python)),
        _ if KNOWN.contains(&base) => Err(Fault::user(format!("the SDK `{base}` is not supported yet"))
            .with_hint(format!("available: {}", BUILTIN.join(", ")))),
        _ => Err(Fault::user(format!("invalid SDK: \"{name}\"")).with_hint(format!(
            "built in: {}; anything else is the path of a module that is an SDK",
            BUILTIN.join(", ")
        ))),
    }
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
        check("go", Some("the SDK `go` is not supported yet"));
        assert!(super::is_builtin("go") && super::is_builtin("python@v1") && !super::is_builtin("./python"));
    }
}
