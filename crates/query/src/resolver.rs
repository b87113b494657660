//! Resolvers: how a field is evaluated and who may reuse its result.
//!
//! A resolver has a handler, the scope in which its results are cached, and what they depend on
//! beyond the arguments: the view or the client. It may rewrite arguments before they become part
//! of the call, for example to keep plaintext out of it.
//!
//! *Invariants.* What a result depends on is declared here, so that the call records it. A call
//! that depends on a nested client is never evaluated with the rights of another client.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_call::{Call, Literal, ModuleRef};
use rondel_fault::Result;
use rondel_gql::types;
use rondel_model::Value;

use crate::args::Args;
use crate::context::ResolverContext;
use crate::node::Node;

/// Evaluates a field.
pub type Handler<C> =
    Arc<dyn Fn(ResolverContext<C>, Node, Args<C>) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>;

/// Rewrites arguments before they become part of a call, for example to keep plaintext out of it.
pub type Prepare<C> = Arc<
    dyn Fn(&ResolverContext<C>, Vec<(Arc<str>, Literal)>) -> BoxFuture<'static, Result<Vec<(Arc<str>, Literal)>>>
        + Send
        + Sync,
>;

/// Who may reuse a cached result.
// IDENTITY: each scope except `Global` and `Uncached` adds an implicit input to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Every caller that makes the same call.
    Global,
    /// Every caller, but the result is not cached: it follows from the receiver's call alone.
    Uncached,
    /// Clients of the same session.
    Session,
    /// The same client.
    Client,
    /// No other selection: each one is evaluated and is a call of its own.
    PerCall,
    /// As `PerCall`, and the result is not cached: the field has a side effect.
    SideEffect,
}

/// How a field is evaluated.
pub struct Resolver<C: Send + Sync + 'static> {
    /// The function.
    pub handler: Handler<C>,
    /// Who may reuse its results.
    pub cache_scope: CacheScope,
    /// Whether its meaning depends on the view, which the call then records.
    pub versioned: bool,
    /// Whether its result depends on the client that selects it: on its machine, its environment or
    /// its credentials. A call that a nested client selected records that and is never evaluated
    /// with the rights of another client.
    pub depends_on_client: bool,
    /// Rewrites arguments before they become part of the call.
    pub prepare: Option<Prepare<C>>,
    /// The module that provides it. `None` for fields of the core API.
    pub module: Option<ModuleRef>,
}

impl<C: Send + Sync + 'static> Clone for Resolver<C> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            cache_scope: self.cache_scope,
            versioned: self.versioned,
            depends_on_client: self.depends_on_client,
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
            depends_on_client: false,
            prepare: None,
            module: None,
        }
    }

    /// Returns the resolver with another cache scope.
    #[must_use]
    pub fn cache_scope(mut self, cache_scope: CacheScope) -> Self {
        self.cache_scope = cache_scope;
        self
    }

    /// The resolver in the type-erased form in which a schema carries it.
    pub fn erased(self) -> types::FieldResolver {
        types::FieldResolver(Arc::new(self))
    }

    /// The resolver that a schema carries, or `None` if it is for another type of context.
    pub fn of(erased: &types::FieldResolver) -> Option<&Self> {
        erased.0.downcast_ref()
    }
}

/// The result of a handler.
pub struct Outcome {
    /// The value.
    pub value: Value,
    /// A call that gives the same object and depends on its content alone. It replaces the call
    /// that was made. `None` keeps that call.
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
