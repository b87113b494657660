//! Callers as the engine makes them: their client, and the context of operations for them.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_ops::{OpContext, Ops};
use rondel_session::client::op_cx;
use rondel_session::{Caller, Client, ResolverContext, client};

/// A copy of `caller` with the client `me`.
pub(crate) fn with_client(caller: &Caller, me: Client) -> Caller {
    let (session, id, events) = (caller.session.clone(), caller.client.clone(), caller.events.clone());
    let is_nested_client = me.is_nested_client();
    Caller::new(session, id, caller.view, caller.schema(), events, Arc::new(me)).with_nested_client(is_nested_client)
}

/// The operations, and the context in which they run for the caller of `cx`.
///
/// # Errors
/// When the caller was not made by an engine.
pub(crate) fn op_context(cx: &ResolverContext) -> Result<(Arc<Ops>, OpContext)> {
    Ok((client(&cx.caller).services.ops.clone(), op_cx(cx)))
}

/// Returns a copy of the caller that evaluates what another client asked for.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn without_client_access(caller: &Arc<Caller>) -> Result<Arc<Caller>> {
    let me = client(caller);
    match me.without_client_access {
        true => Ok(caller.clone()),
        false => Ok(Arc::new(
            with_client(caller, me.without_client_access()).with_child_identity(caller.child_identity.clone()),
        )),
    }
}
