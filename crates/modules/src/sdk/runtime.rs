//! Runtimes: the container that serves a module's function calls, made when the first call needs
//! it.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::Container;
use rondel_module_model::loaded_module::{Module, Provider};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::reference::inside_context;
use rondel_session::{Caller, Evaluator, Services, client};
use rondel_surface::git::client_settings;
use rondel_version::View;

use crate::caller::internal;
use crate::module::acting_as::acting_as;
use crate::module::introspection::schemas_for_code;
use crate::sdk::sdk_module;

/// The runtime of `module`.
///
/// # Errors
/// When the module has no SDK, or its SDK fails.
pub async fn runtime(evaluator: &Arc<Evaluator>, caller: &Arc<Caller>, module: &Arc<Module>) -> Result<Container> {
    let make = async || match &module.provider {
        Provider::None => Err(Fault::user(format!("module `{}` has no SDK, and so no functions", module.name()))),
        Provider::Builtin(sdk) => {
            let me = client(caller);
            let mut cx = me.op_cx.clone();
            cx.events = caller.events.clone();
            let mut source = sdk_source(&module.source, module.view, &me.services, &module.dependencies);
            if sdk.uses_client_git(&source) {
                let git = client_settings(me).await?;
                (source.git_rewrites, source.ssh_agent) = (git.rewrites, git.agent);
            }
            sdk.runtime(&me.services.ops, &cx, &source).await
        }
        Provider::Entrypoint(entrypoint) => Err(Fault::user(format!(
            "module `{}` has no runtime: its functions are served by the entrypoint `{}`",
            module.name(),
            entrypoint.name
        ))),
        Provider::Module(sdk) => {
            sdk_module::runtime(sdk, evaluator, &acting_as(&internal(caller), module), module).await
        }
    };
    module.runtime.get_or_try_init(make).await.cloned()
}

/// What made the runtime of `module`, for messages.
pub fn runtime_provider(module: &Module) -> String {
    let function = if let Provider::Module(_) = module.provider { "`moduleRuntime` of " } else { "" };
    format!("{function}the SDK `{}`", module.sdk_name())
}

/// A module's source as its SDK gets it, with the API in `view` and the types of `dependencies`.
pub(crate) fn sdk_source(
    source: &ModuleSource,
    view: View,
    services: &Services,
    dependencies: &[Arc<Module>],
) -> rondel_sdk::SdkSource {
    let (core, schema) = schemas_for_code(&services.registry, view, dependencies);
    rondel_sdk::SdkSource {
        name: source.config.name.clone(),
        context: source.context(),
        root: source.root.clone(),
        source: inside_context(&source.root, source.config.source_subpath()).unwrap_or_default(),
        view,
        is_new: false,
        core,
        schema,
        config: source.config.sdk.as_ref().and_then(|sdk| sdk.config.clone()).unwrap_or_default(),
        build_variables: services.build_variables.clone(),
        git_rewrites: Vec::new(),
        ssh_agent: None,
    }
}
