//! The API as code generators see it: schemas and introspection files with the dependencies of a
//! module.

use std::sync::Arc;

use rondel_call::Call;
use rondel_fault::{Fault, Result};
use rondel_gql::types::Schema;
use rondel_module_model::loaded_module::Module;
use rondel_schema::Registry;
use rondel_session::{Caller, Evaluator, ResolverContext, client};
use rondel_version::View;

use crate::content::file_with_content;
use crate::module::module_schema::{ModuleSchema, SchemaPart, extension};

/// The introspection file of the schema that the code of `module` sees. Its call depends on the
/// content alone.
///
/// # Errors
/// When it cannot be stored.
pub async fn introspection(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
) -> Result<Arc<Call>> {
    let registry = client(caller).services.registry.clone();
    let own = Some(module).filter(|module| module.calls_itself());
    let seen: Vec<_> = module.dependencies.iter().chain(own).cloned().collect();
    let text = introspection_text(&registry, module.view, &seen, SchemaAudience::ModuleCode)?;
    introspection_file(evaluator, caller, module, text).await
}

/// The introspection file of the schema for a client of `module`: the API, the module, and its
/// dependencies.
///
/// # Errors
/// When it cannot be stored.
pub async fn client_introspection(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
) -> Result<Arc<Call>> {
    let registry = client(caller).services.registry.clone();
    let all: Vec<_> = module.dependencies.iter().chain([module]).cloned().collect();
    let text = introspection_text(&registry, module.view, &all, SchemaAudience::Clients)?;
    introspection_file(evaluator, caller, module, text).await
}

async fn introspection_file(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
    text: String,
) -> Result<Arc<Call>> {
    let call = module.source.content().call();
    let cx = ResolverContext { evaluator: evaluator.clone(), caller: caller.clone(), call, view: module.view };
    let file = file_with_content(&cx, "schema.json", text.into_bytes()).await?;
    file.call.ok_or_else(|| Fault::bug("a file of the API has no call"))
}

/// Types that give access to the machine of a client. Code of modules does not see them.
const HIDDEN_FROM_CODE: &[&str] = &["Host", "Engine", "EngineCache", "EngineCacheEntry", "EngineCacheEntrySet"];

/// The readers of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaAudience {
    /// The code of a module. It sees no type that gives access to the machine of a client.
    ModuleCode,
    /// Clients.
    Clients,
}

/// The introspection JSON of the API under `view` with `dependencies`, for code generators:
/// docs/protocol.md#the-api-that-code-generators-see.
///
/// # Errors
/// When it cannot be serialized.
pub fn introspection_text(
    registry: &Registry,
    view: View,
    dependencies: &[Arc<Module>],
    audience: SchemaAudience,
) -> Result<String> {
    let hidden = if audience == SchemaAudience::Clients { &[] } else { HIDDEN_FROM_CODE };
    rondel_schema::schema_json(&with_modules(&registry.project(view), view, dependencies), view, hidden)
}

/// The API under `view` as the code of a module sees it: without and with `dependencies`.
pub(crate) fn schemas_for_code(
    registry: &Registry,
    view: View,
    dependencies: &[Arc<Module>],
) -> (Arc<Schema>, Arc<Schema>) {
    let base = registry.project(view);
    let core = Arc::new(rondel_schema::without(&base, HIDDEN_FROM_CODE));
    let all = with_modules(&base, view, dependencies);
    let all =
        if Arc::ptr_eq(&all, &base) { core.clone() } else { Arc::new(rondel_schema::without(&all, HIDDEN_FROM_CODE)) };
    (core, all)
}

/// `base` extended with the schemas of `dependencies`.
fn with_modules(base: &Arc<Schema>, view: View, dependencies: &[Arc<Module>]) -> Arc<Schema> {
    let part =
        |module: &Arc<Module>| SchemaPart { schema: ModuleSchema::shape(module), constructor: true, entrypoint: false };
    let mut list: Vec<_> = dependencies.iter().map(part).collect();
    // The order of dependencies in a configuration has no meaning for readers.
    list.sort_by(|one, other| one.schema.module.name().cmp(other.schema.module.name()));
    if list.is_empty() {
        return base.clone();
    }
    Arc::new(rondel_schema::extend(base, view, extension(base, &list)))
}
