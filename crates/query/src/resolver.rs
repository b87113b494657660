//! What evaluates a field, and what its result depends on beyond its arguments.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_call::{Call, Literal, ModuleRef};
use rondel_fault::Result;
use rondel_gql::types;
use rondel_model::Value;
use rondel_version::View;

use crate::args::Args;
use crate::caller::Caller;
use crate::evaluate::{Evaluator, Node};

/// Evaluates a field.
pub type Handler<C> =
    Arc<dyn Fn(ResolverContext<C>, Node, Args<C>) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>;

/// Rewrites arguments before they become part of a call, so that what must not enter a call does not.
pub type Prepare<C> = Arc<
    dyn Fn(&ResolverContext<C>, Vec<(Arc<str>, Literal)>) -> BoxFuture<'static, Result<Vec<(Arc<str>, Literal)>>>
        + Send
        + Sync,
>;

/// For whom a result may be used again.
// IDENTITY: anything but `Anyone` adds an implicit input to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Whoever asks the same.
    Global,
    /// Whoever asks the same, but it is not remembered: it follows from the receiver's call alone.
    Uncached,
    /// Clients of the same session.
    Session,
    /// The same client.
    Client,
    /// Nobody: every selection is evaluated, and is a call of its own.
    PerCall,
    /// PerCall, and the result is not remembered: the field has an effect.
    SideEffect,
}

/// What evaluates a field.
pub struct Resolver<C: Send + Sync + 'static> {
    /// The function.
    pub handler: Handler<C>,
    /// For whom its results may be used again.
    pub cache_scope: CacheScope,
    /// Its meaning depends on the view, which is therefore recorded in the call.
    pub versioned: bool,
    /// What it gives depends on the client that asks: on its machine, its environment or its credentials. A call that a
    /// process in a container asked for records that, and is never evaluated with the rights of another client.
    pub personal: bool,
    /// Rewrites arguments before they become part of the call.
    pub prepare: Option<Prepare<C>>,
    /// The module that provides it.
    pub module: Option<ModuleRef>,
}

impl<C: Send + Sync + 'static> Clone for Resolver<C> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            cache_scope: self.cache_scope,
            versioned: self.versioned,
            personal: self.personal,
            prepare: self.prepare.clone(),
            module: self.module.clone(),
        }
    }
}

impl<C: Send + Sync + 'static> Resolver<C> {
    /// A resolver with `handler`: results are cached globally, in every view.
    pub fn new<F, Fut>(handler: F) -> Self
    where
        F: Fn(ResolverContext<C>, Node, Args<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome>> + Send + 'static,
    {
        let handler: Handler<C> = Arc::new(move |cx, node, args| Box::pin(handler(cx, node, args)));
        Self {
            handler,
            cache_scope: CacheScope::Global,
            versioned: false,
            personal: false,
            prepare: None,
            module: None,
        }
    }

    /// The same, for use again as `reuse` says.
    #[must_use]
    pub fn cache_scope(mut self, cache_scope: CacheScope) -> Self {
        self.cache_scope = cache_scope;
        self
    }

    /// In the form in which a schema carries it.
    pub fn erased(self) -> types::FieldResolver {
        types::FieldResolver(Arc::new(self))
    }

    /// The resolver that a schema carries, or `None` if it is for another type of context.
    pub fn of(erased: &types::FieldResolver) -> Option<&Self> {
        erased.0.downcast_ref()
    }
}

/// What a handler is given beside receiver and arguments.
pub struct ResolverContext<C: Send + Sync + 'static> {
    /// Evaluates further calls.
    pub evaluator: Arc<Evaluator<C>>,
    /// Who asks.
    pub caller: Arc<Caller<C>>,
    /// The call being evaluated.
    pub call: Arc<Call>,
    /// The API version that decides the field's meaning: the recorded one of a versioned field, else the newest.
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

/// What a handler gives.
pub struct Outcome {
    /// The value.
    pub value: Value,
    /// A call that gives the same object and depends on its content alone; it takes the place of the call that was made.
    pub rebind: Option<Arc<Call>>,
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self { value, rebind: None }
    }
}

impl From<Node> for Outcome {
    fn from(node: Node) -> Self {
        Self { value: node.value, rebind: node.call }
    }
}
