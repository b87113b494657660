//! Callers whose calls start processes that act as a module.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_query::Caller;
use rondel_session::client;

use crate::caller::with_client;
use crate::module::loaded_module::{Module, Provider};

/// The caller while an SDK or an entrypoint works for `module`: the processes that its calls start act as the module.
///
/// # Errors
/// When the caller was not made by an engine.
pub(crate) fn acting_as(caller: &Arc<Caller>, module: &Module) -> Result<Arc<Caller>> {
    caller_acting_as(caller, Some(module))
}

/// The caller, whose calls start processes that act as `module`. `None`: each is a client of its own.
pub(crate) fn caller_acting_as(caller: &Arc<Caller>, module: Option<&Module>) -> Result<Arc<Caller>> {
    // IDENTITY: follows from the module. An SDK is given nothing of other modules, so all that it brings serves this one. An
    // entrypoint is given the arguments of users, which stay what they are.
    let adopts = module.is_some_and(|module| !matches!(module.provider, Provider::Entrypoint(_)));
    // IDENTITY: an SDK sees a module as it is before its types are known, whatever it is asked for and whenever.
    let module = module.map(|module| Arc::new(module.partial()).acting_module());
    let me = client(caller)?.with_children_acting_as(module, adopts);
    let child_identity = me.scope.as_ref().map(|scope| scope.child_identity()).unwrap_or_default();
    Ok(Arc::new(with_client(caller, me).with_child_identity(child_identity)))
}
