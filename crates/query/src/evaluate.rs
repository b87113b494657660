//! Evaluates selections and recipes. The identity of every call is decided in this file.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, Literal, NESTED_CLIENT};
use rondel_events::{Outcome, Work};
use rondel_fault::{Fault, Kind, Result, lock};
use rondel_gql::Value as Constant;
use rondel_gql::types::{FieldDef, Name, Schema, TypeDef, TypeKind, TypeRef};
use rondel_version::ENGINE;

use crate::args::Args;
use crate::caller::Caller;
use crate::context::ResolverContext;
use crate::evaluator::Evaluator;
use crate::node::{Node, literal_of_constant};
use crate::resolver::{CacheScope, Resolver};

impl<C: Send + Sync + 'static> Evaluator<C> {
    /// Selects `field` on `receiver` with the arguments that a document gave.
    ///
    /// # Errors
    /// Those of the field, and when an argument is not an ID of the expected type.
    pub async fn select(
        self: &Arc<Self>,
        caller: &Arc<Caller<C>>,
        receiver: &Node,
        field: &Arc<FieldDef>,
        args: &[(Name, Constant)],
    ) -> Result<Node> {
        let of_module = resolver::<C>(field)?.module.is_some();
        let mut literals = Vec::with_capacity(args.len());
        for def in &field.args {
            let Some((_, value)) = args.iter().find(|(name, _)| *name == def.name) else { continue };
            // IDENTITY: an argument equal to its default is the same call as no argument. To the
            // engine's own fields null means the default as well. The code of a module receives the
            // null.
            let means_default = matches!(value, Constant::Null) && !of_module;
            if means_default || def.default.as_ref() == Some(value) {
                continue;
            }
            literals.push((def.name.clone(), self.argument(caller, &caller.schema(), &def.ty, value)?));
        }
        self.invoke(caller, receiver, field, literals, caller.view).await
    }

    /// Selects the field `name` with literals, as the engine itself: under the newest view, hidden
    /// fields included.
    ///
    /// # Errors
    /// When there is no such field, or it fails.
    pub async fn internal(
        self: &Arc<Self>,
        caller: &Arc<Caller<C>>,
        receiver: &Node,
        name: &str,
        args: Vec<(Arc<str>, Literal)>,
    ) -> Result<Node> {
        let mut spec = CallSpec::new("", name);
        spec.args = args;
        let field = self.field(caller, receiver.type_name(), &spec).await?;
        self.invoke(caller, receiver, &field, spec.args, ENGINE).await
    }

    /// Selects `field` on `receiver` with literals, under `view` where its meaning depends on the
    /// view.
    ///
    /// # Errors
    /// Those of the field.
    pub async fn invoke(
        self: &Arc<Self>,
        caller: &Arc<Caller<C>>,
        receiver: &Node,
        field: &Arc<FieldDef>,
        args: Vec<(Arc<str>, Literal)>,
        view: rondel_version::View,
    ) -> Result<Node> {
        let resolver = resolver(field)?;
        let mut spec = CallSpec::new(field.ty.base().clone(), field.name.clone());
        spec.args = args;
        // IDENTITY: the view counts only where the field's meaning depends on it.
        spec.view = resolver.versioned.then(|| view.to_string().into());
        spec.module = resolver.module.clone();
        spec.implicit = implicit(resolver, caller);
        if spec.starts_process() {
            spec.act_as(caller.child_identity.used());
        }
        let mut caller = caller.clone();
        // IDENTITY: a field that depends on the client is another call for a nested client than for
        // the user's.
        if resolver.depends_on_client
            && (caller.is_nested_client || receiver.call.as_ref().is_some_and(|call| call.from_nested_client()))
        {
            spec.args.push((NESTED_CLIENT.into(), Literal::Bool(true)));
            if !caller.is_nested_client {
                caller = self.fields.without_client_access(&caller)?;
            }
        }
        if let Some(prepare) = &resolver.prepare {
            let call = Call::new(receiver.call.clone(), spec.clone());
            let cx = ResolverContext { evaluator: self.clone(), caller: caller.clone(), call, view };
            spec.args = prepare(&cx, spec.args).await?;
        }
        let call = Call::new(receiver.call.clone(), spec);
        self.run(&caller, receiver.clone(), call, field, resolver).await
    }

    async fn run(
        self: &Arc<Self>,
        caller: &Arc<Caller<C>>,
        receiver: Node,
        call: Arc<Call>,
        field: &Arc<FieldDef>,
        resolver: &Resolver<C>,
    ) -> Result<Node> {
        let view = call.view().and_then(|v| v.parse().ok()).unwrap_or(ENGINE);
        let cx = ResolverContext { evaluator: self.clone(), caller: caller.clone(), call: call.clone(), view };
        let args = Args::new(cx.clone(), field.clone());
        let handler = resolver.handler.clone();
        let (key, labelled, call_is_session_scoped) = (call.digest(), call.clone(), call.is_session_scoped());
        let work = async move {
            let outcome = handler(cx, receiver, args).await?;
            let value = outcome.value.sharing_name(call.returns());
            Ok(Node { call: Some(outcome.rebind.unwrap_or(call)), value })
        };
        match resolver.cache_scope {
            CacheScope::SideEffect | CacheScope::Uncached => work.await,
            _ => {
                let session_scoped = call_is_session_scoped.then(|| caller.session.clone());
                let start = || {
                    if let Some(session) = session_scoped {
                        let mut session_scoped = lock(&self.session_scoped);
                        session_scoped.entry(session).or_default().push(key);
                    }
                    work
                };
                let joined = |label: &str| {
                    let span = caller.events.span(Work::Other, label);
                    let waiting = span.emitter().wait("another client, which does the same");
                    (span, waiting)
                };
                let label = || label(&labelled);
                let (result, waited) = self.graph.evaluate_for(&caller.session, key, joined, label, start).await;
                if let Some((span, waiting)) = waited {
                    drop(waiting);
                    span.end(match &result {
                        Ok(_) => Outcome::Cached,
                        Err(fault) if fault.kind() == Kind::Cancelled => Outcome::Cancelled,
                        Err(fault) => Outcome::Failed(fault.summary()),
                    });
                }
                result
            }
        }
    }

    /// The object that `call` gives. Its processes act as the module that the call records, not as
    /// the caller's module.
    ///
    /// # Errors
    /// Those of the calls of the recipe.
    pub async fn load(self: &Arc<Self>, caller: &Arc<Caller<C>>, call: &Arc<Call>) -> Result<Node> {
        let mut missing = Vec::new();
        let mut next = Some(call.clone());
        let mut node = Node::root();
        while let Some(call) = next {
            if let Some(found) = self.graph.get(&whole(&call).digest()) {
                node = pick(found, &call)?;
                break;
            }
            next = call.receiver().cloned();
            missing.push(call);
        }
        while let Some(recorded) = missing.pop() {
            node = self.replay(caller, &node, &recorded).await?;
        }
        Ok(node)
    }

    async fn replay(self: &Arc<Self>, caller: &Arc<Caller<C>>, receiver: &Node, recorded: &Arc<Call>) -> Result<Node> {
        let field = self.field(caller, receiver.type_name(), &recorded.spec()).await?;
        let resolver = resolver(&field)?;
        let mut spec = recorded.spec();
        spec.nth = 0;
        // IDENTITY: inputs of another client or session are replaced by those of this caller.
        spec.implicit = implicit(resolver, caller);
        spec.module = resolver.module.clone();
        // IDENTITY: a call that was selected as a module is evaluated as that module, under the
        // digest that it had.
        let actor = if spec.starts_process() { self.actor(caller, recorded).await? } else { caller.clone() };
        // The call depends on the machine of the nested client that selected it, which may have
        // ended. The client that loads it now is another one.
        let actor = if spec.from_nested_client() { self.fields.without_client_access(&actor)? } else { actor };
        let call = Call::new(receiver.call.clone(), spec);
        let node = self.run(&actor, receiver.clone(), call, &field, resolver).await?;
        pick(node, recorded)
    }

    /// The caller that evaluates `recorded`: its processes act as the module that the call records.
    async fn actor(self: &Arc<Self>, caller: &Arc<Caller<C>>, recorded: &Arc<Call>) -> Result<Arc<Caller<C>>> {
        let identity = recorded.identity();
        if caller.child_identity.used() == identity {
            return Ok(caller.clone());
        }
        self.fields.acting_as(self, caller, identity).await
    }

    /// The call that a recipe of the caller means, from an ID or as the result of a function. For a
    /// caller that adopts recipes (an SDK at work for a module) its processes act as that module.
    // IDENTITY: the work that an SDK does for a module is done as that module, wherever a recipe
    // was kept meanwhile. Every other recipe keeps the identity that it records.
    pub fn received(&self, caller: &Caller<C>, call: &Arc<Call>) -> Arc<Call> {
        if !call.starts_processes() {
            return call.clone();
        }
        match caller.child_identity.adopted() {
            None => call.clone(),
            adopted => call.acting_as(adopted),
        }
    }

    /// The object that `call` gives. It must be of the type `expected` or implement it.
    ///
    /// # Errors
    /// When it is of another type, or a call of the recipe fails.
    pub async fn load_as(
        self: &Arc<Self>,
        caller: &Arc<Caller<C>>,
        call: &Arc<Call>,
        expected: Option<&str>,
    ) -> Result<Node> {
        let node = self.load(caller, call).await?;
        match expected {
            Some(expected) if !self.is_a(caller, &node, expected) => {
                let got = node.type_name();
                // Clients match on this text; see docs/protocol.md#ids.
                Err(Fault::user(format!("load {expected}: expected {expected}, got {got}")))
            }
            _ => Ok(node),
        }
    }

    /// The object of a wire ID. It must be of the type `expected`, if that is given, or implement
    /// it.
    ///
    /// # Errors
    /// When this engine did not write the ID, and as for [`Evaluator::load_as`].
    pub async fn load_id(self: &Arc<Self>, caller: &Arc<Caller<C>>, id: &str, expected: Option<&str>) -> Result<Node> {
        self.load_as(caller, &self.received(caller, &self.decode(id)?), expected).await
    }

    fn argument(&self, caller: &Caller<C>, schema: &Schema, ty: &TypeRef, value: &Constant) -> Result<Literal> {
        if let (Some(element), Constant::List(items)) = (ty.element(), value) {
            let items = items.iter().map(|item| self.argument(caller, schema, element, item));
            return Ok(Literal::List(items.collect::<Result<_>>()?));
        }
        let base = schema.types.get(ty.base()).map(|t| &t.kind);
        match (base, value) {
            (Some(TypeKind::Scalar), Constant::String(id)) if is_id(ty.base()) => match &**id {
                "" => Ok(Literal::Null),
                id => Ok(Literal::Call(self.received(caller, &self.decode(id)?))),
            },
            (Some(TypeKind::Input(fields)), Constant::Object(given)) => {
                let field = |(name, value): &(Name, Constant)| {
                    let def = fields.iter().find(|f| f.name == *name);
                    let def = def.ok_or_else(|| Fault::user(format!("`{}` has no field `{name}`", ty.base())))?;
                    Ok((name.clone(), self.argument(caller, schema, &def.ty, value)?))
                };
                Ok(Literal::Object(given.iter().map(field).collect::<Result<_>>()?))
            }
            _ => Ok(literal_of_constant(value)),
        }
    }

    /// The type of the object as the caller is served it, or else as the module that made it has
    /// it.
    pub fn type_of(&self, caller: &Arc<Caller<C>>, node: &Node) -> Option<Arc<TypeDef>> {
        let shown = caller.schema().types.get(node.type_name()).cloned();
        shown.or_else(|| self.fields.type_of(caller, node))
    }

    /// Whether the object is of the type `expected` or implements it.
    pub fn is_a(&self, caller: &Arc<Caller<C>>, node: &Node, expected: &str) -> bool {
        let implements =
            |ty: &TypeDef| ty.fields().is_some_and(|fields| fields.interfaces.iter().any(|i| **i == *expected));
        expected == node.type_name()
            || expected == "Node"
            || self.type_of(caller, node).is_some_and(|ty| implements(&ty))
    }

    async fn field(&self, caller: &Arc<Caller<C>>, parent: &str, spec: &CallSpec) -> Result<Arc<FieldDef>> {
        let found = self.fields.find(caller, parent, spec).await?;
        found.ok_or_else(|| Fault::user(format!("type `{parent}` has no field `{}`", spec.field)))
    }
}

/// The label of a running evaluation: receiver type and field, such as `Container.withExec`.
fn label(call: &Call) -> Arc<str> {
    let parent = call.receiver().map_or("Query", |receiver| receiver.returns());
    format!("{parent}.{}", call.field()).into()
}

fn whole(call: &Arc<Call>) -> Arc<Call> {
    if call.nth() == 0 { call.clone() } else { call.element(0) }
}

fn pick(node: Node, call: &Call) -> Result<Node> {
    match call.nth() {
        0 => Ok(node),
        nth => {
            let found = node.element(nth as usize - 1);
            found.ok_or_else(|| Fault::user(format!("`{}` has no element {nth}", call.field())))
        }
    }
}

fn resolver<C: Send + Sync + 'static>(field: &FieldDef) -> Result<&Resolver<C>> {
    Resolver::of(&field.resolver).ok_or_else(|| Fault::bug(format!("field `{}` has no resolver", field.name)))
}

// IDENTITY: the only inputs of a call that are no arguments.
fn implicit<C: Send + Sync + 'static>(resolver: &Resolver<C>, caller: &Caller<C>) -> Vec<(Arc<str>, Arc<str>)> {
    match resolver.cache_scope {
        CacheScope::Global | CacheScope::Uncached => Vec::new(),
        CacheScope::Session => vec![("session".into(), caller.session.clone())],
        CacheScope::Client => {
            vec![("session".into(), caller.session.clone()), ("client".into(), caller.client.clone())]
        }
        CacheScope::PerCall | CacheScope::SideEffect => {
            vec![("nonce".into(), format!("{:032x}", rand::random::<u128>()).into())]
        }
    }
}

fn is_id(scalar: &str) -> bool {
    scalar.ends_with("ID")
}
