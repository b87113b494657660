//! What a handler receives beside receiver and arguments.

use std::sync::Arc;

use rondel_call::Call;
use rondel_version::View;

use crate::caller::Caller;
use crate::evaluator::Evaluator;

/// The context of a handler, beside receiver and arguments.
pub struct ResolverContext<C: Send + Sync + 'static> {
    /// Evaluates further calls.
    pub evaluator: Arc<Evaluator<C>>,
    /// The client that selected the field.
    pub caller: Arc<Caller<C>>,
    /// The call being evaluated.
    pub call: Arc<Call>,
    /// The API version that decides the field's meaning: the recorded one for a versioned field,
    /// else the newest.
    pub view: View,
}

impl<C: Send + Sync + 'static> Clone for ResolverContext<C> {
    fn clone(&self) -> Self {
        Self {
            evaluator: self.evaluator.clone(),
            caller: self.caller.clone(),
            call: self.call.clone(),
            view: self.view,
        }
    }
}
