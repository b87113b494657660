//! Collects the resolvers of API fields and attaches them to a registry.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_call::{Call, CallSpec, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_query::{CacheScope, Node, Outcome};
use rondel_schema::{FieldInfo, LegacyLoad, RegistryBuilder, Scope};
use rondel_session::{Args, Handler, Prepare, Resolver, ResolverContext};

/// The arguments of a call, by name.
pub type Arguments = Vec<(Arc<str>, Literal)>;

/// Arguments that are being rewritten.
pub type Rewriting = BoxFuture<'static, Result<Arguments>>;

/// The handlers of API fields, by type and field.
/// The schema text, not this type, decides the cache scope of a field and whether the view counts.
#[derive(Default)]
pub struct Surface {
    fields: BTreeMap<(String, String), Entry>,
}

struct Entry {
    handler: Handler,
    prepare: Option<Prepare>,
    depends_on_client: bool,
}

impl Surface {
    /// A surface without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the handler of `type_name.field`, for all its variants. A later registration
    /// replaces an earlier one.
    pub fn field<F, Fut>(&mut self, type_name: &str, field: &str, handler: F) -> &mut Self
    where
        F: Fn(ResolverContext, Node, Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |cx, node, args| Box::pin(handler(cx, node, args)));
        self.fields.insert(
            (type_name.to_owned(), field.to_owned()),
            Entry { handler, prepare: None, depends_on_client: false },
        );
        self
    }

    /// Registers a handler of `type_name.field` that uses the receiver's data and the arguments
    /// alone.
    pub fn plain<T, F>(&mut self, type_name: &str, field: &str, handler: F) -> &mut Self
    where
        T: Send + Sync + 'static,
        F: Fn(&T, &Args) -> Result<Value> + Send + Sync + 'static,
    {
        self.field(type_name, field, move |_, node, args| {
            let value = node.get::<T>().and_then(|data| handler(data, &args));
            std::future::ready(value.map(Outcome::from))
        })
    }

    /// Registers `prepare`, which rewrites the arguments of the registered field `type_name.field`
    /// before they become part of a call. It has no effect on a field that was not registered. An
    /// earlier registration runs after `prepare` and sees its result, so that a seal covers all
    /// arguments.
    pub fn prepare<F>(&mut self, type_name: &str, field: &str, prepare: F) -> &mut Self
    where
        F: Fn(ResolverContext, Arguments) -> Rewriting + Send + Sync + 'static,
    {
        if let Some(entry) = self.fields.get_mut(&(type_name.to_owned(), field.to_owned())) {
            let earlier = entry.prepare.take();
            entry.prepare = Some(Arc::new(move |cx: &ResolverContext, args| {
                let prepared = prepare(cx.clone(), args);
                let Some(earlier) = earlier.clone() else { return prepared };
                let cx = cx.clone();
                Box::pin(async move {
                    let args = prepared.await?;
                    let spec = CallSpec { args: args.clone(), ..cx.call.spec() };
                    let call = Call::new(cx.call.receiver().cloned(), spec);
                    earlier(&ResolverContext { call, ..cx }, args).await
                })
            }));
        }
        self
    }

    /// Marks the registered fields `names` of `type_name` as dependent on the client that selects
    /// them: on its machine, its environment or its credentials.
    pub fn depends_on_client(&mut self, type_name: &str, names: &[&str]) -> &mut Self {
        for name in names {
            if let Some(entry) = self.fields.get_mut(&(type_name.to_owned(), (*name).to_owned())) {
                entry.depends_on_client = true;
            }
        }
        self
    }

    /// Whether `type_name.field` was registered.
    pub fn has(&self, type_name: &str, field: &str) -> bool {
        self.fields.contains_key(&(type_name.to_owned(), field.to_owned()))
    }

    /// Every registered field, as `Type.field`, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.fields.keys().map(|(type_name, field)| format!("{type_name}.{field}"))
    }

    /// The resolver of a field, with the cache scope of its line in the schema text. `id` is the
    /// same for every type. A field that was not registered fails with an error that names it.
    pub fn resolver(&self, info: &FieldInfo<'_>) -> Resolver {
        let entry = self.fields.get(&(info.type_name.to_owned(), info.field.to_owned()));
        let mut resolver = match entry {
            Some(entry) => Resolver {
                handler: entry.handler.clone(),
                cache_scope: cache_scope(info.scope),
                versioned: false,
                depends_on_client: entry.depends_on_client,
                prepare: entry.prepare.clone(),
                module: None,
            },
            None if info.field == "id" => Resolver::new(id).cache_scope(CacheScope::Uncached),
            None => unsupported(info.type_name, info.field),
        };
        resolver.versioned = info.versioned;
        resolver
    }

    /// Attaches everything to `builder`.
    ///
    /// # Errors
    /// When a registered field is not in the schema text.
    pub fn attach(&self, builder: &mut RegistryBuilder) -> Result<()> {
        let mut unknown: Vec<&(String, String)> = self.fields.keys().collect();
        builder.attach_with(|info| {
            unknown.retain(|(type_name, field)| type_name != info.type_name || field != info.field);
            Some(self.resolver(&info).erased())
        });
        match unknown.first() {
            None => Ok(()),
            Some((type_name, field)) => {
                Err(Fault::bug(format!("cannot register `{type_name}.{field}`: the schema text has no such field")))
            }
        }
    }
}

// IDENTITY: the schema text decides which callers share a call.
fn cache_scope(scope: Option<Scope>) -> CacheScope {
    match scope {
        None => CacheScope::Global,
        Some(Scope::Session) => CacheScope::Session,
        Some(Scope::Client) => CacheScope::Client,
        Some(Scope::Call) => CacheScope::PerCall,
        Some(Scope::Never) => CacheScope::SideEffect,
    }
}

/// The `id` of any object.
pub async fn id(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

/// Returns the receiver: the handler of fields that have no effect any more.
pub async fn same(_: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    Ok(node.into())
}

fn unsupported(type_name: &str, field: &str) -> Resolver {
    let name = format!("{type_name}.{field}");
    Resolver::new(move |_, _, _| {
        let fault = Fault::user(format!("`{name}` is not supported by this engine yet"));
        std::future::ready(Err::<Outcome, _>(fault))
    })
    .cache_scope(CacheScope::SideEffect)
}

/// The resolver of `loadFooFromID`, for every `Foo`.
pub fn legacy_load() -> LegacyLoad {
    Arc::new(|type_name: &str| {
        let expected: Arc<str> = type_name.into();
        let handler = move |cx: ResolverContext, _: Node, args: Args| {
            let expected = expected.clone();
            async move { load(&cx, &args, Some(&expected)).await }
        };
        Resolver::new(handler).erased()
    })
}

/// The object of the argument `id`.
///
/// # Errors
/// When it is null, of another type, or cannot be evaluated.
pub async fn load(cx: &ResolverContext, args: &Args, expected: Option<&str>) -> Result<Outcome> {
    match args.literal("id") {
        Literal::Call(call) => Ok(cx.evaluator.load_as(&cx.caller, &call, expected).await?.into()),
        Literal::String(id) => Ok(cx.evaluator.load_id(&cx.caller, &id, expected).await?.into()),
        _ => Err(Fault::user("cannot load an object: the ID is null")),
    }
}
