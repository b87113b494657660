//! Name conflicts between modules that are served side by side.

use std::sync::Arc;

use rondel_fault::{Fault, Result};

use crate::config::module_config::DAGGER_JSON;
use crate::loaded_module::Module;

/// Checks that `module` can be served beside `others`. Returns whether it is one of them.
///
/// # Errors
/// When another module has its name, or a name of one of its types.
pub fn check<'a>(module: &Module, others: impl Iterator<Item = &'a Arc<Module>>) -> Result<bool> {
    for other in others {
        if other.name() != module.name() {
            if let Some(shared) = shared(other, module) {
                let (one, two) = (other.name(), module.name());
                let message = format!("the modules `{one}` and `{two}` cannot be served together: both have {shared}");
                let hint = format!("give one of them another `name` under `dependencies` in `{DAGGER_JSON}`");
                return Err(Fault::user(message).with_hint(hint));
            }
        } else if other.implementation == module.implementation {
            return Ok(true);
        } else {
            // Users match on this text; see docs/protocol.md#serving-modules.
            let (name, one, two) = (module.name(), module.source.describe(), other.source.describe());
            return Err(Fault::user(format!(
                "module {name} (source: {one}) already exists with different source {two}"
            )));
        }
    }
    Ok(false)
}

/// Checks that the dependencies of a module can be served together.
///
/// # Errors
/// As for [`check`].
pub fn among(dependencies: &[Arc<Module>]) -> Result<()> {
    for (at, module) in dependencies.iter().enumerate() {
        check(module, dependencies[..at].iter())?;
    }
    Ok(())
}

/// A name that both add to a schema, with its kind.
fn shared(one: &Module, other: &Module) -> Option<String> {
    let has = |name: &str| {
        let types = &other.types;
        types.object(name).is_some() || types.interface(name).is_some() || types.enumeration(name).is_some()
    };
    let types = &one.types;
    let objects = types.objects.iter().map(|def| &def.name);
    let rest = types.interfaces.iter().map(|def| &def.name).chain(types.enums.iter().map(|def| &def.name));
    match objects.chain(rest).find(|name| has(name)) {
        Some(name) => Some(format!("the type `{name}`")),
        None => (one.constructor_name() == other.constructor_name())
            .then(|| format!("the constructor `{}`", one.constructor_name())),
    }
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_model::{AbsPath, Snapshot};

    use super::*;
    use crate::config::module_config::ModuleConfig;
    use crate::loaded_module::Provider;
    use crate::source::module_source::{ModuleSource, SourceKind, SourceRole};

    fn module(implementation: &[u8]) -> Arc<Module> {
        let text = "{\"name\": \"bar\"}";
        let source = ModuleSource {
            kind: SourceKind::Dir,
            snapshot: Snapshot::empty(),
            base: AbsPath::root(),
            root: String::new(),
            host: String::new(),
            host_seal: "".into(),
            git: None,
            config: ModuleConfig::parse(text, "x").expect("parses"),
            config_text: text.into(),
            renamed: None,
            dependencies: Vec::new(),
            sdk: None,
            role: SourceRole::Module,
        };
        Arc::new(Module {
            implementation: Digest::of_bytes(implementation),
            source: Arc::new(source),
            view: rondel_version::ENGINE,
            types: Arc::default(),
            dependencies: Vec::new(),
            broken: Vec::new(),
            provider: Provider::None,
            runtime: Arc::default(),
        })
    }

    #[test]
    fn the_same_name_twice() {
        let served = [module(b"one")];
        assert_eq!(check(&served[0], served.iter()).ok(), Some(true));
        let error = check(&module(b"other"), served.iter()).map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("module bar (source: directory ``) already exists with different source directory ``".into())
        );
    }
}
