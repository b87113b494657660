//! The evaluator: cached results, the seal of IDs, and where fields come from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rondel_call::{Call, CallSpec, DecodeError, ModuleIdentity, SealKey};
use rondel_digest::Digest;
use rondel_fault::{Code, Fault, Result, lock};
use rondel_gql::types::{FieldDef, TypeDef};
use rondel_graph::Graph;
use rondel_schema::IntrospectionCache;

use crate::caller::Caller;
use crate::node::Node;

/// Finds fields that the caller's schema does not show: of modules that it does not serve, of other
/// views, and internal fields. Makes callers with other rights.
pub trait Fields<C: Send + Sync + 'static>: Send + Sync {
    /// The field that `spec` calls on a receiver of the type `parent`, under the view that `spec`
    /// records, or under the newest view if it records none. `None` if there is no such field.
    fn find<'a>(
        &'a self,
        caller: &'a Arc<Caller<C>>,
        parent: &'a str,
        spec: &'a CallSpec,
    ) -> BoxFuture<'a, Result<Option<Arc<FieldDef>>>>;

    /// Returns a copy of the caller whose calls start processes that act as `identity`. With `None`
    /// each process is a client of its own.
    ///
    /// # Errors
    /// When the module cannot be loaded any more, or has changed since.
    fn acting_as<'a>(
        &'a self,
        _evaluator: &'a Arc<Evaluator<C>>,
        _caller: &'a Arc<Caller<C>>,
        _identity: Option<&'a Arc<ModuleIdentity>>,
    ) -> BoxFuture<'a, Result<Arc<Caller<C>>>> {
        Box::pin(std::future::ready(Err(Fault::bug("there are no modules here as which to act"))))
    }

    /// Returns a copy of the caller without its machine, its environment and its credentials. It
    /// evaluates calls that another client selected.
    ///
    /// # Errors
    /// When the caller was not made by an engine.
    fn without_client_access(&self, _caller: &Arc<Caller<C>>) -> Result<Arc<Caller<C>>> {
        Err(Fault::bug("there are no clients here"))
    }

    /// The type of `node`, an object of a module that the caller is not served, with the interfaces
    /// of the caller's schema to which it conforms.
    fn type_of(&self, _caller: &Arc<Caller<C>>, _node: &Node) -> Option<Arc<TypeDef>> {
        None
    }
}

/// Evaluates calls, each once, and seals their IDs.
pub struct Evaluator<C: Send + Sync + 'static> {
    pub(crate) graph: Graph<Node>,
    /// Keys of results that no call can ask for after their session, by session.
    pub(crate) session_scoped: Mutex<HashMap<Arc<str>, Vec<Digest>>>,
    pub(crate) fields: Arc<dyn Fields<C>>,
    introspection: IntrospectionCache,
    seal: SealKey,
}

impl<C: Send + Sync + 'static> Evaluator<C> {
    /// An evaluator that caches about `capacity` results. Its IDs are sealed with `seal`.
    pub fn new(fields: Arc<dyn Fields<C>>, capacity: usize, seal: SealKey) -> Arc<Self> {
        Arc::new(Self {
            graph: Graph::new(capacity),
            session_scoped: Mutex::default(),
            fields,
            introspection: IntrospectionCache::default(),
            seal,
        })
    }

    /// The wire ID of the object that `call` gives.
    pub fn encode(&self, call: &Arc<Call>) -> String {
        rondel_call::encode(call, &self.seal)
    }

    /// The call of a wire ID.
    ///
    /// # Errors
    /// When this engine did not write the ID, or it was changed.
    pub fn decode(&self, id: &str) -> Result<Arc<Call>> {
        rondel_call::decode(id, &self.seal).map_err(|e| {
            let unsealed = e == DecodeError::Unsealed;
            let fault = Fault::user("cannot load an object").with_code(Code::InvalidId).caused_by(e);
            if !unsealed {
                return fault;
            }
            fault.with_hint(
                "such an ID holds for the engine that gave it, for as long as its state directory is kept: ask for the \
                 object again",
            )
        })
    }

    /// The wire ID of `node`.
    ///
    /// # Errors
    /// When it is the root of the API.
    pub fn id_of(&self, node: &Node) -> Result<String> {
        let call = node.call.as_ref().ok_or_else(|| Fault::user("the root of the API has no ID"))?;
        Ok(self.encode(call))
    }

    /// Results of introspection, cached per schema.
    pub fn introspection(&self) -> &IntrospectionCache {
        &self.introspection
    }

    /// The cached results and the evaluations under way.
    pub fn graph(&self) -> &Graph<Node> {
        &self.graph
    }

    /// Removes the results that only the ended `session` could ask for.
    pub fn end_session(&self, session: &str) {
        let session_scoped = lock(&self.session_scoped).remove(session);
        self.graph.remove(&session_scoped.unwrap_or_default());
    }
}
