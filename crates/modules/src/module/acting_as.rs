//! Callers whose calls start processes that act as a module.

use std::sync::Arc;

use rondel_module_model::loaded_module::{Module, Provider};
use rondel_session::{ActingModule, Caller, client};

use crate::caller::with_client;

/// Returns a copy of the caller that acts as `module`. Used while an SDK or an entrypoint works for
/// that module: processes that its calls start act as the module.
pub(crate) fn acting_as(caller: &Arc<Caller>, module: &Module) -> Arc<Caller> {
    caller_acting_as(caller, Some(module))
}

/// Returns a copy of the caller whose calls start processes that act as `module`, or as clients of
/// their own for `None`.
pub(crate) fn caller_acting_as(caller: &Arc<Caller>, module: Option<&Module>) -> Arc<Caller> {
    // IDENTITY: determined by the module. An SDK gets nothing of other modules, so every call that
    // it brings is evaluated as this one. An entrypoint gets arguments of users, which keep their
    // identity.
    let adopts = module.is_some_and(|module| !matches!(module.provider, Provider::Entrypoint(_)));
    // IDENTITY: an SDK always sees a module without its types, whichever function is called and
    // whenever.
    let module = module.map(|module| ActingModule::new(Arc::new(module.partial())));
    let me = client(caller).with_children_acting_as(module, adopts);
    let child_identity = me.scope.as_ref().map(|scope| scope.child_identity()).unwrap_or_default();
    Arc::new(with_client(caller, me).with_child_identity(child_identity))
}
