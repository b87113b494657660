//! Copies of callers with another client.

use std::sync::Arc;

use rondel_session::{Caller, Client, client};

/// A copy of `caller` with the client `me`.
pub(crate) fn with_client(caller: &Caller, me: Client) -> Caller {
    let (session, id, events) = (caller.session.clone(), caller.client.clone(), caller.events.clone());
    let is_nested_client = me.is_nested_client();
    Caller::new(session, id, caller.view, caller.schema(), events, Arc::new(me)).with_nested_client(is_nested_client)
}

/// Returns a copy of the caller whose work is reported as internal: the user did not write it.
pub(crate) fn internal(caller: &Caller) -> Arc<Caller> {
    caller.reporting(caller.events.internal())
}

/// Returns a copy of the caller that evaluates what another client asked for.
pub fn without_client_access(caller: &Arc<Caller>) -> Arc<Caller> {
    let me = client(caller);
    if me.without_client_access {
        return caller.clone();
    }
    Arc::new(with_client(caller, me.without_client_access()).with_child_identity(caller.child_identity.clone()))
}
