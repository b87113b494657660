//! Modules and sources as objects of the API.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::Value;
use rondel_module_model::config::module_config::SdkConfig;
use rondel_module_model::loaded_module::{Module, ModuleValue};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_query::Outcome;
use rondel_session::{ResolverContext, client};
use rondel_version::View;

use crate::content::file_with_content;
use crate::module::introspection::{SchemaAudience, introspection_text};

/// A loaded module as an object of the API.
pub(super) fn module_object(module: &Arc<Module>) -> Outcome {
    let value = ModuleValue { types: module.types.clone(), loaded: Some(module.clone()) };
    Outcome { value: Value::object("Module", value), rebind: Some(module.call()) }
}

pub(super) fn sdk_value(sdk: Option<&SdkConfig>) -> Value {
    sdk.map_or(Value::Null, |sdk| Value::object("SDKConfig", sdk.clone()))
}

/// A source as an object of the API. Its call contains its content.
pub(super) fn source_object(source: &Arc<ModuleSource>) -> Outcome {
    Outcome { value: Value::object("ModuleSource", source.as_ref().clone()), rebind: Some(source.call()) }
}

/// The introspection file for code generators: the API under `view` with the module's dependencies.
pub(super) async fn introspection(cx: &ResolverContext, view: View, dependencies: &[Arc<Module>]) -> Result<Outcome> {
    let text =
        introspection_text(&client(&cx.caller).services.registry, view, dependencies, SchemaAudience::ModuleCode)?;
    Ok(file_with_content(cx, "schema.json", text.into_bytes()).await?.into())
}
