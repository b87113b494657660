//! From selections and recipes to values: the one place where the identity of a call is decided.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rondel_call::{Call, CallSpec, DecodeError, FOREIGN, Literal, ModuleIdentity, SealKey};
use rondel_digest::Digest;
use rondel_fault::{Code, Fault, Result, lock};
use rondel_gql::Value as Constant;
use rondel_gql::types::{FieldDef, Name, Schema, TypeDef, TypeKind, TypeRef};
use rondel_graph::Graph;
use rondel_model::Value;
use rondel_schema::IntrospectionCache;
use rondel_version::ENGINE;

use crate::args::Args;
use crate::caller::Caller;
use crate::resolver::{CacheScope, Resolver, ResolverContext};

/// A value and the call that gives it. The root of the schema has no call.
#[derive(Clone, Debug)]
pub struct Node {
    /// The call.
    pub call: Option<Arc<Call>>,
    /// The value.
    pub value: Value,
}

/// The data of the root object.
#[derive(Debug, Clone, Copy)]
pub struct Root;

impl Node {
    /// The root of the schema.
    pub fn root() -> Self {
        Self { call: None, value: Value::object("Query", Root) }
    }

    /// The element `index` (counted from zero) of a list. An object in a list of lists is there only when it holds the call
    /// that gives it: a call can stand for an element of a list, and for nothing deeper.
    pub fn element(&self, index: usize) -> Option<Node> {
        let Value::List(items) = &self.value else { return None };
        let nth = u32::try_from(index + 1).ok()?;
        let value = items.get(index)?.clone();
        let own = if let Value::Object(object) = &value { object.origin().cloned() } else { None };
        let is_inside = self.call.as_ref().is_some_and(|call| call.nth() != 0);
        if is_inside && own.is_none() && matches!(value, Value::Object(_)) {
            return None;
        }
        let call = own.or_else(|| self.call.as_ref().map(|call| call.element(nth)));
        Some(Node { call, value })
    }

    /// The data of the object.
    ///
    /// # Errors
    /// When the value is something else than a `T`.
    pub fn get<T: Send + Sync + 'static>(&self) -> Result<&T> {
        let found = self.value.get();
        found.ok_or_else(|| Fault::bug(format!("a {} does not hold the data that was expected", self.type_name())))
    }

    /// The name of the object's type; of the kind of value, for what is no object.
    pub fn type_name(&self) -> &str {
        match &self.value {
            Value::Object(object) => object.type_name(),
            Value::Null => "null",
            Value::List(_) => "list",
            _ => "scalar",
        }
    }
}

/// Finds fields that a caller's schema does not show: of modules it does not serve, of other views, internal ones.
pub trait Fields<C: Send + Sync + 'static>: Send + Sync {
    /// The field that `spec` calls on a receiver of the type `parent`, under the view that `spec` records, or the newest.
    fn find<'a>(
        &'a self,
        caller: &'a Arc<Caller<C>>,
        parent: &'a str,
        spec: &'a CallSpec,
    ) -> BoxFuture<'a, Result<Option<Arc<FieldDef>>>>;

    /// The same caller, whose calls start processes that act as `identity`; `None`: each is a client of its own.
    ///
    /// # Errors
    /// When the module cannot be loaded any more, or is another one by now.
    fn acting_as<'a>(
        &'a self,
        _evaluator: &'a Arc<Evaluator<C>>,
        _caller: &'a Arc<Caller<C>>,
        _identity: Option<&'a Arc<ModuleIdentity>>,
    ) -> BoxFuture<'a, Result<Arc<Caller<C>>>> {
        Box::pin(std::future::ready(Err(Fault::bug("there are no modules here as which to act"))))
    }

    /// The same caller, without its machine, its environment and its credentials: to evaluate what another client asked for.
    ///
    /// # Errors
    /// When the caller was not made by an engine.
    fn stranger(&self, _caller: &Arc<Caller<C>>) -> Result<Arc<Caller<C>>> {
        Err(Fault::bug("there are no clients here"))
    }

    /// The type of `node`, an object of a module that the caller is not served: with the interfaces of the caller's schema
    /// to which it conforms.
    fn type_of(&self, _caller: &Arc<Caller<C>>, _node: &Node) -> Option<Arc<TypeDef>> {
        None
    }
}

/// Evaluates calls, each once.
pub struct Evaluator<C: Send + Sync + 'static> {
    graph: Graph<Node>,
    /// Results that nobody asks for when a session is over, by session.
    passing: Mutex<HashMap<Arc<str>, Vec<Digest>>>,
    fields: Arc<dyn Fields<C>>,
    introspection: IntrospectionCache,
    seal: SealKey,
}

impl<C: Send + Sync + 'static> Evaluator<C> {
    /// An evaluator that remembers about `capacity` results. Its IDs are sealed with `seal`.
    pub fn new(fields: Arc<dyn Fields<C>>, capacity: usize, seal: SealKey) -> Arc<Self> {
        Arc::new(Self {
            graph: Graph::new(capacity),
            passing: Mutex::default(),
            fields,
            introspection: IntrospectionCache::default(),
            seal,
        })
    }

    /// The wire ID of the object that `call` gives.
    pub fn encode(&self, call: &Arc<Call>) -> String {
        rondel_call::encode(call, &self.seal)
    }

    /// The call behind a wire ID.
    ///
    /// # Errors
    /// When it is not an ID of ours, or was changed.
    pub fn decode(&self, id: &str) -> Result<Arc<Call>> {
        rondel_call::decode(id, &self.seal).map_err(|e| {
            let unsealed = e == DecodeError::Unsealed;
            let fault = Fault::user("cannot load an object").with_code(Code::InvalidId).caused_by(e);
            if !unsealed {
                return fault;
            }
            fault.with_hint("such an ID holds for the engine that gave it, for as long as its state folder is kept: ask for the object again")
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

    /// Answers to introspection, remembered per schema.
    pub fn introspection(&self) -> &IntrospectionCache {
        &self.introspection
    }

    /// The remembered results and evaluations under way.
    pub fn graph(&self) -> &Graph<Node> {
        &self.graph
    }

    /// Forgets what only `session` could ask for: it is over.
    pub fn end_session(&self, session: &str) {
        let passing = lock(&self.passing).remove(session);
        self.graph.remove(&passing.unwrap_or_default());
    }

    /// Selects `field` on `receiver` with the arguments that a document gave.
    ///
    /// # Errors
    /// What the field fails with, or an argument that is no ID of the expected type.
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
            // IDENTITY: a value equal to the default is the same call as none. To the engine's own fields null means the
            // default as well; the code of a module is told of it.
            let means_default = matches!(value, Constant::Null) && !of_module;
            if means_default || def.default.as_ref() == Some(value) {
                continue;
            }
            literals.push((def.name.clone(), self.argument(caller, &caller.schema(), &def.ty, value)?));
        }
        self.invoke(caller, receiver, field, literals, caller.view).await
    }

    /// Selects the field called `name` with literals, as the engine itself: newest definitions, hidden fields included.
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

    /// Selects `field` on `receiver` with literals, under `view` where its meaning depends on that.
    ///
    /// # Errors
    /// What the field fails with.
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
        if spec.starts_speaker() {
            spec.act_as(caller.child_identity.used());
        }
        let mut caller = caller.clone();
        // IDENTITY: what depends on who asks is another call for a process in a container than for the user.
        if resolver.personal && (caller.is_foreign || receiver.call.as_ref().is_some_and(|call| call.is_foreign())) {
            spec.args.push((FOREIGN.into(), Literal::Bool(true)));
            if !caller.is_foreign {
                caller = self.fields.stranger(&caller)?;
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
        let (key, labelled, call_is_passing) = (call.digest(), call.clone(), call.is_passing());
        let work = async move {
            let outcome = handler(cx, receiver, args).await?;
            let value = outcome.value.sharing_name(call.returns());
            Ok(Node { call: Some(outcome.rebind.unwrap_or(call)), value })
        };
        match resolver.cache_scope {
            CacheScope::SideEffect | CacheScope::Uncached => work.await,
            _ => {
                let passing = call_is_passing.then(|| caller.session.clone());
                let start = || {
                    if let Some(session) = passing {
                        let mut passing = lock(&self.passing);
                        passing.entry(session).or_default().push(key);
                    }
                    work
                };
                self.graph.evaluate(key, || label(&labelled), start).await
            }
        }
    }

    /// The object that `call` gives. Its processes act as it records, not as the caller's do.
    ///
    /// # Errors
    /// What a call of the recipe fails with.
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
        // IDENTITY: what was another client's or session's is asked anew for this one.
        spec.implicit = implicit(resolver, caller);
        spec.module = resolver.module.clone();
        // IDENTITY: what was asked as a module is evaluated as that module, and has the digest that it had.
        let actor = if spec.starts_speaker() { self.actor(caller, recorded).await? } else { caller.clone() };
        // Whose machine it depends on asked for it then, and may be gone. Whoever loads it now is another client.
        let actor = if spec.is_foreign() { self.fields.stranger(&actor)? } else { actor };
        let call = Call::new(receiver.call.clone(), spec);
        let node = self.run(&actor, receiver.clone(), call, &field, resolver).await?;
        pick(node, recorded)
    }

    /// The caller as it evaluates `recorded`, whose processes act as that records.
    async fn actor(self: &Arc<Self>, caller: &Arc<Caller<C>>, recorded: &Arc<Call>) -> Result<Arc<Caller<C>>> {
        let identity = recorded.identity();
        if caller.child_identity.used() == identity {
            return Ok(caller.clone());
        }
        self.fields.acting_as(self, caller, identity).await
    }

    /// A recipe that the caller brings, from an ID or as the result of a function.
    // IDENTITY: the work that an SDK does for a module is done as that module, wherever a recipe was kept meanwhile.
    // Everything else stays what it was when it was asked for.
    pub fn received(&self, caller: &Caller<C>, call: &Arc<Call>) -> Arc<Call> {
        if !call.starts_speakers() {
            return call.clone();
        }
        match caller.child_identity.adopted() {
            None => call.clone(),
            adopted => call.acting_as(adopted),
        }
    }

    /// The object that `call` gives, which must be of the type `expected` or implement it.
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

    /// The object behind a wire ID that the caller brings, which must be of the type `expected`, when there is one.
    ///
    /// # Errors
    /// When the ID is none of ours, or as for [`Evaluator::load_as`].
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

    /// The type of the object: as the caller is served it, else as the module has it that made the object.
    pub fn type_of(&self, caller: &Arc<Caller<C>>, node: &Node) -> Option<Arc<TypeDef>> {
        let shown = caller.schema().types.get(node.type_name()).cloned();
        shown.or_else(|| self.fields.type_of(caller, node))
    }

    /// Whether the object can stand where `expected` is wanted.
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

/// How a running evaluation is listed: the type of the receiver and the field, such as `Container.withExec`.
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

// IDENTITY: the only inputs of a call that no argument shows.
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

/// The literal of a constant; strings stay strings.
pub fn literal_of_constant(value: &Constant) -> Literal {
    match value {
        Constant::Null => Literal::Null,
        Constant::Bool(b) => Literal::Bool(*b),
        Constant::Int(i) => Literal::Int(*i),
        Constant::Float(x) => Literal::Float(*x),
        Constant::String(s) => Literal::String(s.clone()),
        Constant::Enum(s) => Literal::Enum(s.clone()),
        Constant::List(items) => Literal::List(items.iter().map(literal_of_constant).collect()),
        Constant::Object(fields) => {
            Literal::Object(fields.iter().map(|(name, value)| (name.clone(), literal_of_constant(value))).collect())
        }
    }
}
