//! Loading modules: from references to sources, from sources to types, and what is remembered of both.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, join_all};
use rondel_call::{Call, CallSpec, ModuleIdentity, ModuleRef};
use rondel_digest::Digest;
use rondel_events::{Outcome as Ended, Work};
use rondel_fault::{Fault, Kind, Result};
use rondel_gql::types::{FieldDef, Schema, TypeDef};
use rondel_model::Value;
use rondel_model::op::TreePath;
use rondel_ports::index::Table;
use rondel_query::{Caller, Evaluator, Node, ResolverContext};
use rondel_schema::Registry;
use rondel_session::{Client, client};
use rondel_version::View;
use tokio::sync::OnceCell;

use crate::config::module_config::FILE_NAME;
use crate::load::register_types::register;
use crate::module::interface_conformance::surroundings;
use crate::module::load_report::{self, LoadReport, WorkRecorder};
use crate::module::loaded_module::{Module, ModuleObject, Provider};
use crate::module::module_schema::{ModuleSchema, ServedModule, check_served, extension};
use crate::module::name_conflicts;
use crate::sdk::sdk_module::{self, SdkModule};
use crate::source::dependency::Dependency;
use crate::source::module_source::ModuleSource;
use crate::source::resolve_source::ResolveOptions;
use crate::typedef::external_types;
use crate::typedef::link_types::{LinkContext, link_types};
use crate::typedef::type_def::ModuleTypes;

/// How many loaded modules and schemas are remembered.
const MAX_CACHED: usize = 512;

/// Finds, loads and serves modules, and remembers what it loaded. One per engine.
#[derive(Default)]
pub struct Modules {
    /// By the digest of the call that gives the source.
    loaded: Mutex<HashMap<Digest, Arc<ModuleSchema>>>,
    /// By view and what is served.
    schemas: Mutex<HashMap<Digest, Arc<Schema>>>,
    /// Configurations by the digest of the snapshot that holds them.
    pub(crate) configs: Mutex<HashMap<Digest, Arc<str>>>,
    /// How each came to be loaded, by the digest of the call that gives the source.
    reports: Mutex<HashMap<Digest, Arc<LoadReport>>>,
    /// The modules as which processes acted that calls started, by their identity.
    acted_as: Mutex<HashMap<Digest, Arc<Module>>>,
}

impl Modules {
    /// A loader that remembers nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The files of the modules that are loaded.
    pub fn snapshots(&self) -> Vec<rondel_model::Snapshot> {
        lock(&self.loaded).values().map(|schema| schema.module.source.snapshot.clone()).collect()
    }

    /// Forgets loaded modules whose files are gone according to `here`. Sessions keep those that they are served.
    pub fn retain(&self, here: &dyn Fn(&rondel_model::Snapshot) -> bool) {
        lock(&self.loaded).retain(|_, schema| here(&schema.module.source.snapshot));
    }

    /// Loads the module that `reference` means to the caller: a path, or the name of a dependency of the module there.
    ///
    /// # Errors
    /// When there is none, its configuration asks for what is not supported, or its types cannot be found out.
    pub async fn load_ref(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        reference: &str,
    ) -> Result<Arc<Module>> {
        let source = self.resolve(caller, reference, ResolveOptions::default()).await?;
        self.load(Some(evaluator), caller, &source).await
    }

    /// The module that `source` is. Without an evaluator its types must be known already.
    ///
    /// # Errors
    /// When the configuration asks for what is not supported, or the types cannot be found out or are refused.
    pub fn load<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a Arc<ModuleSource>,
    ) -> BoxFuture<'a, Result<Arc<Module>>> {
        Box::pin(async move { Ok(self.load_schema(evaluator, caller, source).await?.module.clone()) })
    }

    fn load_schema<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a Arc<ModuleSource>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSchema>>> {
        Box::pin(async move {
            let key = source.call().digest();
            if let Some(known) = lock(&self.loaded).get(&key) {
                if let Some(report) = lock(&self.reports).get(&key) {
                    report.reuse();
                }
                return Ok(known.clone());
            }
            let span = caller.events.span(Work::Load, format!("load module {}", source.name()));
            let seen = Arc::new(WorkRecorder::default());
            let caller = caller.reporting(span.emitter().also(seen.clone()));
            match self.find_out(evaluator, &caller, source).await {
                Ok((module, ran)) => {
                    let changes = if ran { load_report::compared(&caller, &module).await? } else { Vec::new() };
                    cache_bounded(&self.reports, key, Arc::new(LoadReport::new(ran, changes, &seen)));
                    let schema = ModuleSchema::of(&Arc::new(module));
                    cache_bounded(&self.loaded, key, schema.clone());
                    span.end(if ran { Ended::Done } else { Ended::Cached });
                    Ok(schema)
                }
                Err(fault) => {
                    span.end(Ended::Failed(fault.full_message()));
                    Err(fault)
                }
            }
        })
    }

    async fn find_out(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &Arc<ModuleSource>,
    ) -> Result<(Module, bool)> {
        let doing = |e: Fault| e.context(format!("load module `{}`", source.name()));
        let mut module = self.untyped(evaluator, caller, source).await?;
        name_conflicts::among(&module.dependencies).map_err(doing)?;
        let me = client(caller)?;
        let (raw, ran) = match &module.provider {
            Provider::None => (stub(source.name()), false),
            _ => self.types(evaluator, caller, me, &mut module).await?,
        };
        let core = me.services.registry.project(module.view);
        let owner = |name: &str| external_types::find(&module.dependencies, &core, name);
        let names = LinkContext { original: &source.config.name, name: source.name(), owner: &owner };
        let types = link_types(&raw, &names).map_err(|e| match &module.provider {
            Provider::Module(_) | Provider::Entrypoint(_) => {
                let blamed =
                    doing(e.context(format!("types from {} ({})", module.provider_label(), module.contract())));
                sdk_module::with_guide(blamed)
            }
            _ => doing(e),
        })?;
        module.types = Arc::new(types);
        Ok((module, ran))
    }

    /// The module without its types: what it uses is loaded, and its SDK.
    ///
    /// # Errors
    /// When the configuration asks for what is not supported, or its SDK cannot be loaded.
    pub async fn untyped(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &Arc<ModuleSource>,
    ) -> Result<Module> {
        let doing = |e: Fault| e.context(format!("load module `{}`", source.name()));
        if !source.config_exists() {
            return Err(Fault::user(format!("no `{FILE_NAME}` in {}", source.describe()))
                .with_hint("name the folder of a module with `-m`"));
        }
        source.config.check_name()?;
        source.config.check_supported()?;
        let view = source.view()?;
        let provider = self.provider(evaluator, caller, source).await.map_err(doing)?;
        let (dependencies, broken) = self.dependencies(evaluator, caller, source).await?;
        let missing: Vec<&String> = broken.iter().map(|(name, _)| name).collect();
        // IDENTITY: the runtime that an SDK makes is part of what a module is, and so are dependencies that are not there:
        // it is made without them.
        let implementation = rondel_digest::of("module/v2", &(source.digest(), provider.version(), missing));
        Ok(Module {
            source: source.clone(),
            view,
            types: Arc::default(),
            dependencies,
            broken,
            implementation,
            provider,
            runtime: Arc::new(OnceCell::new()),
        })
    }

    /// What the module uses, and what of it cannot be loaded: functions that do not need it can still be called.
    ///
    /// # Errors
    /// When the caller does not wait for it any more.
    pub(crate) async fn dependencies<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a ModuleSource,
    ) -> Result<(Vec<Arc<Module>>, Vec<(String, Fault)>)> {
        let load = |used: &'a Dependency| async move {
            match used {
                Dependency::Found(source) => self.load(evaluator, caller, source).await,
                Dependency::Unresolved(missing) => Err(missing.why.clone()),
            }
        };
        let (mut dependencies, mut broken) = (Vec::new(), Vec::new());
        let loaded = join_all(source.dependencies.iter().map(load)).await;
        for ((written, used), loaded) in source.config.dependencies.iter().zip(&source.dependencies).zip(loaded) {
            match loaded {
                Ok(module) => dependencies.push(module),
                Err(fault) if fault.kind() == Kind::Cancelled => return Err(fault),
                Err(fault) => {
                    // A module without a name is known by its place.
                    let name = Some(used.name()).filter(|name| !name.is_empty()).unwrap_or(written.called());
                    broken.push((name.to_owned(), fault));
                }
            }
        }
        Ok((dependencies, broken))
    }

    /// How `module` came to be loaded, for people.
    pub fn explain(&self, module: &Module) -> Vec<(String, String)> {
        let report = lock(&self.reports).get(&module.source.call().digest()).cloned();
        load_report::rows(module, report.as_deref())
    }

    async fn provider(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &ModuleSource,
    ) -> Result<Provider> {
        if source.config.entrypoint.is_some() {
            return self.entrypoint(evaluator, caller, source).await;
        }
        let Some(config) = &source.config.sdk else { return Ok(Provider::None) };
        let Some(sdk) = &source.sdk else {
            let sdk = rondel_sdk::find(&config.source)?;
            if let Some(key) = config.config.iter().flat_map(|config| config.keys()).next() {
                return Err(Fault::user(format!("the SDK `{}` knows no configuration key `{key}`", config.source))
                    .with_hint("remove `sdk.config` from `dagger.json`"));
            }
            return Ok(Provider::Builtin(sdk));
        };
        let doing = |e: Fault| e.context(format!("load the SDK `{}`", config.source));
        if !sdk.config.has_functions() {
            let fault = Fault::user(format!("the module `{}` has no functions: it has no SDK itself", sdk.name()));
            return Err(doing(fault));
        }
        let module = self.load(evaluator, caller, sdk).await.map_err(doing)?;
        let sdk = SdkModule::new(module, &config.source, config.config.as_ref())?;
        Ok(Provider::Module(Arc::new(sdk)))
    }

    /// The types as the module registers them, and whether it had to be run for that.
    async fn types(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        me: &Client,
        module: &mut Module,
    ) -> Result<(ModuleTypes, bool)> {
        // IDENTITY: the implementation says everything, its view included; the view stands here for whoever reads keys.
        let key = rondel_digest::of("types/v1", &(module.implementation, module.view));
        let kept = me.services.index.get(Table::Types, &key);
        if let Some(types) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok((types, false));
        }
        let Some(evaluator) = evaluator else {
            return Err(Fault::user(format!("the types of module `{}` are not known any more", module.name()))
                .with_hint("load the module again"));
        };
        if me
            .scope
            .iter()
            .filter_map(|scope| scope.children_act_as.as_ref())
            .any(|m| m.implementation == module.implementation)
        {
            return Err(Fault::user(format!(
                "module `{}` is being loaded by the SDK that asks for it: its types are what the SDK is to find out",
                module.name()
            )));
        }
        check_source_folder(me, &module.source).await?;
        let partial = Arc::new(module.partial());
        let (again, caller, index) = (evaluator.clone(), acting_as(caller, &partial)?, me.services.index.clone());
        let work = || async move {
            let types = register(&again, &caller, &partial).await?;
            let bytes = serde_json::to_vec(&types).map_err(|e| Fault::bug("cannot write types").caused_by(e))?;
            index.put(Table::Types, &key, &bytes, None)?;
            Ok(Node { call: None, value: Value::object("ModuleTypes", types) })
        };
        // One registration, whoever asks at the same time; from then on the index knows.
        let registered =
            evaluator.graph().evaluate(key, || format!("types of module {}", module.name()).into(), work).await?;
        Ok((registered.get::<ModuleTypes>()?.clone(), true))
    }

    /// The module that a call refers to.
    ///
    /// # Errors
    /// When the reference is damaged, or as for [`Modules::load`].
    pub async fn schema_of_reference(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        reference: &ModuleRef,
    ) -> Result<Arc<ModuleSchema>> {
        let source =
            reference.module.receiver().ok_or_else(|| Fault::user("cannot load a module: its ID is damaged"))?;
        if let Some(known) = lock(&self.loaded).get(&source.digest()) {
            return Ok(known.clone());
        }
        let source = Arc::new(ModuleSource::of_call(source)?);
        self.load_schema(evaluator, caller, &source).await
    }

    /// The caller, whose calls start processes that act as `identity` records, or that are clients of their own: to evaluate
    /// a call that was asked for like that when its result is not remembered.
    ///
    /// # Errors
    /// When the module cannot be loaded any more, or is another one by now.
    pub async fn acting_as(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        identity: Option<&Arc<ModuleIdentity>>,
    ) -> Result<Arc<Caller>> {
        let Some(identity) = identity else { return caller_acting_as(caller, None) };
        let key = identity.digest();
        let known = lock(&self.acted_as).get(&key).cloned();
        let module = match known {
            Some(module) => module,
            None => {
                let module = self.identified(evaluator, caller, identity).await?;
                cache_bounded(&self.acted_as, key, module.clone());
                module
            }
        };
        caller_acting_as(caller, Some(&module))
    }

    /// The module that `identity` stands for, without its types.
    async fn identified(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        identity: &ModuleIdentity,
    ) -> Result<Arc<Module>> {
        let damaged = || Fault::user("cannot load the module as which a process acts: the ID is damaged");
        let source = identity.module.module.receiver().ok_or_else(damaged)?;
        let loaded = lock(&self.loaded).get(&source.digest()).map(|schema| schema.module.clone());
        let module = match loaded {
            Some(module) => module,
            None => {
                let source = Arc::new(ModuleSource::of_call(source)?);
                let doing = |e: Fault| e.context("load the module as which a process of the object acts");
                Arc::new(self.untyped(Some(evaluator), caller, &source).await.map_err(doing)?)
            }
        };
        if module.implementation != identity.module.implementation || module.view.to_string() != *identity.view {
            return Err(Fault::user(format!(
                "cannot evaluate an object as module `{}`: the module, its SDK or a dependency is another one by now",
                module.name()
            ))
            .with_hint("ask for the object again"));
        }
        Ok(module)
    }

    /// A field that the core registry does not know: of a module, or of the module loader itself.
    ///
    /// # Errors
    /// When the module that should have it cannot be loaded.
    pub async fn find_field(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        parent: &str,
        spec: &CallSpec,
    ) -> Result<Option<Arc<FieldDef>>> {
        if let Some(own) = crate::load::internal_fields::find(self, parent, spec) {
            return Ok(Some(own));
        }
        if let Some(reference) = &spec.module {
            let schema = self.schema_of_reference(None, caller, reference).await?;
            return Ok(schema.field(parent, &spec.field));
        }
        Ok(None)
    }

    /// Serves `module` to the caller from now on; with the constructors of what it uses when `dependencies` says so, or
    /// when it has no code of its own.
    ///
    /// # Errors
    /// When another module of the same name is served.
    pub fn serve(&self, caller: &Caller, module: &Arc<Module>, dependencies: bool, entrypoint: bool) -> Result<()> {
        let me = client(caller)?;
        let mut list = served(me);
        let mut add = |module: &Arc<Module>, constructor: bool, entrypoint: bool| -> Result<()> {
            if check_served(&list, module)? {
                for known in list.iter_mut().filter(|known| known.schema.module.name() == module.name()) {
                    known.constructor |= constructor;
                    known.entrypoint |= entrypoint;
                }
                return Ok(());
            }
            list.push(ServedModule { schema: self.schema_of(module), constructor, entrypoint });
            Ok(())
        };
        add(module, true, entrypoint)?;
        // A module without code is there for what it brings together.
        let shown = dependencies || matches!(module.provider, Provider::None);
        for dependency in &module.dependencies {
            add(dependency, shown, false)?;
        }
        let entries = list.iter().map(|served| Arc::new(served.clone()) as Arc<dyn Any + Send + Sync>).collect();
        *lock(&me.served) = entries;
        caller.serve(self.client_schema(me, caller.view));
        Ok(())
    }

    /// The schema that `client` is served in `view`: that of the API, and of the modules it is shown. Cheap when nothing
    /// changed.
    pub fn client_schema(&self, client: &Client, view: View) -> Arc<Schema> {
        let (view, list) = self.visible(client, view);
        self.schema(&client.services.registry, view, &list)
    }

    /// The view of the API that `client` is served, `view` when it speaks for nobody, and the modules that it is shown: those
    /// it was served and, when it speaks for a module, what the module uses, and the module itself once its types are known.
    pub fn visible(&self, client: &Client, view: View) -> (View, Vec<ServedModule>) {
        let more = served(client);
        let Some(acting_module) = client.scope.as_ref().and_then(|scope| scope.acting_module.as_ref()) else {
            return (view, more);
        };
        let Ok(module) = acting_module.module.clone().downcast::<Module>() else { return (acting_module.view, more) };
        let mut list = Vec::new();
        for dependency in &module.dependencies {
            list.push(ServedModule { schema: self.schema_of(dependency), constructor: true, entrypoint: false });
            for hidden in &dependency.dependencies {
                list.push(ServedModule { schema: self.schema_of(hidden), constructor: false, entrypoint: false });
            }
        }
        if !module.types.objects.is_empty() {
            list.push(ServedModule { schema: self.schema_of(&module), constructor: true, entrypoint: false });
        }
        list.extend(more);
        (acting_module.view, list)
    }

    /// The type of an object of a module that the caller is not shown, as if it were: see [`rondel_query::Fields::type_of`].
    pub fn type_of(&self, caller: &Caller, node: &Node) -> Option<Arc<TypeDef>> {
        let object = node.value.get::<ModuleObject>()?;
        let me = client(caller).ok()?;
        let (view, shown) = self.visible(me, caller.view);
        // What the caller is shown comes last and so prevails where both have a type of the same name.
        let mut list: Vec<ServedModule> = surroundings(&object.module)
            .map(|module| ServedModule { schema: self.schema_of(&module), constructor: false, entrypoint: false })
            .collect();
        list.extend(shown);
        self.schema(&me.services.registry, view, &list).types.get(node.type_name()).cloned()
    }

    fn schema_of(&self, module: &Arc<Module>) -> Arc<ModuleSchema> {
        let known = lock(&self.loaded).get(&module.source.call().digest()).cloned();
        known.unwrap_or_else(|| ModuleSchema::of(module))
    }

    fn schema(&self, registry: &Registry, view: View, list: &[ServedModule]) -> Arc<Schema> {
        let base = registry.project(view);
        if list.is_empty() {
            return base;
        }
        let part = |served: &ServedModule| {
            let module = &served.schema.module;
            (module.source.call().digest(), module.implementation, served.constructor, served.entrypoint)
        };
        let parts: Vec<_> = list.iter().map(part).collect();
        let key = rondel_digest::of("schema/v1", &(view, parts));
        if let Some(known) = lock(&self.schemas).get(&key) {
            return known.clone();
        }
        let schema = Arc::new(rondel_schema::extend(&base, view, extension(&base, list)));
        cache_bounded(&self.schemas, key, schema.clone());
        schema
    }
}

impl Module {
    /// The same while its types are being found out.
    fn partial(&self) -> Module {
        self.of_source(self.source.as_ref().clone())
    }

    /// The same with another source, while its types are being found out.
    pub(crate) fn of_source(&self, source: ModuleSource) -> Module {
        Module {
            source: Arc::new(source),
            view: self.view,
            types: Arc::default(),
            dependencies: self.dependencies.clone(),
            broken: self.broken.clone(),
            implementation: self.implementation,
            provider: self.provider.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

/// The caller while an SDK or an entrypoint works for `module`: the processes that its calls start act as the module.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn acting_as(caller: &Arc<Caller>, module: &Module) -> Result<Arc<Caller>> {
    caller_acting_as(caller, Some(module))
}

/// The caller, whose calls start processes that act as `module`. `None`: each is a client of its own.
fn caller_acting_as(caller: &Arc<Caller>, module: Option<&Module>) -> Result<Arc<Caller>> {
    // IDENTITY: follows from the module. An SDK is given nothing of other modules, so all that it brings serves this one. An
    // entrypoint is given the arguments of users, which stay what they are.
    let adopts = module.is_some_and(|module| !matches!(module.provider, Provider::Entrypoint(_)));
    // IDENTITY: an SDK sees a module as it is before its types are known, whatever it is asked for and whenever.
    let module = module.map(|module| Arc::new(module.partial()).acting_module());
    let me = client(caller)?.with_children_acting_as(module, adopts);
    let child_identity = me.scope.as_ref().map(|scope| scope.child_identity()).unwrap_or_default();
    Ok(Arc::new(with_client(caller, me).with_child_identity(child_identity)))
}

/// The caller, as it evaluates what another client asked for.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn stranger(caller: &Arc<Caller>) -> Result<Arc<Caller>> {
    let me = client(caller)?;
    match me.is_stranger {
        true => Ok(caller.clone()),
        false => Ok(Arc::new(with_client(caller, me.stranger()).with_child_identity(caller.child_identity.clone()))),
    }
}

/// The caller as the client `me`.
pub(crate) fn with_client(caller: &Caller, me: Client) -> Caller {
    let (session, id, events) = (caller.session.clone(), caller.client.clone(), caller.events.clone());
    let is_foreign = me.is_foreign();
    Caller::new(session, id, caller.view, caller.schema(), events, Arc::new(me)).with_foreign(is_foreign)
}

/// The introspection file of what the code of `module` sees, by a call that depends on its content alone.
///
/// # Errors
/// When it cannot be stored.
pub async fn introspection(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
) -> Result<Arc<Call>> {
    let registry = client(caller)?.services.registry.clone();
    let own = Some(module).filter(|module| module.calls_itself());
    let seen: Vec<_> = module.dependencies.iter().chain(own).cloned().collect();
    let text = introspection_text(&registry, module.view, &seen, SchemaAudience::ModuleCode)?;
    introspection_file(evaluator, caller, module, text).await
}

/// The introspection file of what a client of `module` sees: the API, the module, and what it uses.
///
/// # Errors
/// When it cannot be stored.
pub async fn client_introspection(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
) -> Result<Arc<Call>> {
    let registry = client(caller)?.services.registry.clone();
    let all: Vec<_> = module.dependencies.iter().chain([module]).cloned().collect();
    let text = introspection_text(&registry, module.view, &all, SchemaAudience::Clients)?;
    introspection_file(evaluator, caller, module, text).await
}

async fn introspection_file(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
    text: String,
) -> Result<Arc<Call>> {
    let call = module.source.content().call();
    let cx = ResolverContext { evaluator: evaluator.clone(), caller: caller.clone(), call, view: module.view };
    let file = crate::call::context_args::file_with_content(&cx, "schema.json", text.into_bytes()).await?;
    file.call.ok_or_else(|| Fault::bug("a file of the API has no call"))
}

/// What belongs to the machine of a client.
const HIDDEN_FROM_CODE: &[&str] = &["Host", "Engine", "EngineCache", "EngineCacheEntry", "EngineCacheEntrySet"];

/// Whom generated code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaAudience {
    /// The code of a module: it is told of nothing that belongs to the machine of a client.
    ModuleCode,
    /// Clients.
    Clients,
}

/// What a code generator is told of the API under `view` with `dependencies`: docs/protocol.md#the-api-that-code-generators-see.
///
/// # Errors
/// When it cannot be written.
pub fn introspection_text(
    registry: &Registry,
    view: View,
    dependencies: &[Arc<Module>],
    audience: SchemaAudience,
) -> Result<String> {
    let hidden = if audience == SchemaAudience::Clients { &[] } else { HIDDEN_FROM_CODE };
    rondel_schema::schema_json(&with_modules(&registry.project(view), view, dependencies), view, hidden)
}

/// The API under `view` as the code of a module sees it: alone, and with `dependencies`.
pub(crate) fn schemas_for_code(
    registry: &Registry,
    view: View,
    dependencies: &[Arc<Module>],
) -> (Arc<Schema>, Arc<Schema>) {
    let base = registry.project(view);
    let core = Arc::new(rondel_schema::without(&base, HIDDEN_FROM_CODE));
    let all = with_modules(&base, view, dependencies);
    let all =
        if Arc::ptr_eq(&all, &base) { core.clone() } else { Arc::new(rondel_schema::without(&all, HIDDEN_FROM_CODE)) };
    (core, all)
}

/// `base` with what `dependencies` add to it.
fn with_modules(base: &Arc<Schema>, view: View, dependencies: &[Arc<Module>]) -> Arc<Schema> {
    let served =
        |module: &Arc<Module>| ServedModule { schema: ModuleSchema::of(module), constructor: true, entrypoint: false };
    let mut list: Vec<_> = dependencies.iter().map(served).collect();
    // The order in which a configuration lists them means nothing to its audience.
    list.sort_by(|one, other| one.schema.module.name().cmp(other.schema.module.name()));
    if list.is_empty() {
        return base.clone();
    }
    Arc::new(rondel_schema::extend(base, view, extension(base, &list)))
}

/// The modules that a client is served.
pub fn served(client: &Client) -> Vec<ServedModule> {
    lock(&client.served).iter().filter_map(|entry| entry.downcast_ref::<ServedModule>().cloned()).collect()
}

/// The object of the API that `call` of [`crate::module::loaded_module::FIELD`] gives.
pub fn module_of(node: &Node) -> Result<Arc<Module>> {
    let value = node.get::<crate::module::loaded_module::ModuleValue>()?;
    value.loaded.clone().ok_or_else(|| Fault::user("the module was described, not loaded: it has no source"))
}

/// That there is code where the configuration says: otherwise every SDK has words of its own for that.
async fn check_source_folder(me: &Client, source: &ModuleSource) -> Result<()> {
    let named = source.config.source_subpath();
    let context = source.context().place;
    let folder = TreePath { path: source.root_path().join_inside(named), ..context };
    match me.services.ops.stat(&me.op_cx, &folder, true).await? {
        Some(_) => Ok(()),
        None => Err(Fault::user(format!(
            "load module `{}`: the folder `{named}`, which `source` in `{FILE_NAME}` names, is not there or is empty",
            source.name()
        ))
        .with_hint(format!("the path is relative to the folder of `{FILE_NAME}`"))),
    }
}

fn stub(name: &str) -> ModuleTypes {
    let name = name.to_owned();
    let main = crate::typedef::type_def::ObjectDef {
        name: crate::names::type_name(&name),
        original: name,
        ..Default::default()
    };
    ModuleTypes { objects: vec![Arc::new(main)], ..ModuleTypes::default() }
}

pub(crate) fn cache_bounded<T>(map: &Mutex<HashMap<Digest, T>>, key: Digest, value: T) {
    let mut map = lock(map);
    if map.len() >= MAX_CACHED {
        map.clear();
    }
    map.insert(key, value);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
