//! How a module's types are found out: one seam for every way in which an SDK can register them.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_query::{Caller, Evaluator};
use rondel_session::FunctionCall;

use crate::call::run;
use crate::module::{Module, ModuleValue};
use crate::typedef::ModuleTypes;

/// A way in which an SDK registers a module's types. All of them give the same data, which is checked the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeSource {
    /// The runtime is run with an empty function name and answers with the ID of a module.
    EmptyCall,
}

/// The types of `module`, registered in the way of `source` under the module's own view.
///
/// # Errors
/// When the SDK breaks the contract, or the module's code fails.
pub async fn register(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
    source: TypeSource,
) -> Result<ModuleTypes> {
    match source {
        TypeSource::EmptyCall => empty_call(evaluator, caller, module).await,
    }
}

async fn empty_call(evaluator: &Arc<Evaluator>, caller: &Arc<Caller>, module: &Arc<Module>) -> Result<ModuleTypes> {
    let call = FunctionCall::new(String::new(), String::new(), "null".to_owned(), Vec::new());
    let doing = || format!("find out the types of module `{}`", module.name());
    let text = run(evaluator, caller, module, call).await.map_err(|e| e.context(doing()))?;
    let sdk = module.source.config.sdk.as_ref().map(|sdk| sdk.source.as_str()).unwrap_or_default();
    let broken = |what: &str| {
        Fault::user(format!("the SDK `{sdk}` registered the types of module `{}` with {what}", module.name()))
            .with_hint("it must call `returnValue` with the JSON text of the ID of a `Module`")
    };
    let id: String = serde_json::from_str(&text).map_err(|_| broken("something that is no ID"))?;
    let node = evaluator.load_id(caller, &id, None).await.map_err(|e| e.context(doing()))?;
    match node.value.get::<ModuleValue>() {
        Some(value) => Ok(value.types.as_ref().clone()),
        None => Err(broken(&format!("the ID of a `{}`", node.type_name()))),
    }
}
