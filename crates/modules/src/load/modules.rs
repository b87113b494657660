//! The module loader: from references to sources, from sources to modules with types.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use rondel_call::{ModuleIdentity, ModuleRef};
use rondel_events::{Outcome as Ended, Work};
use rondel_fault::{Fault, Kind, Result};
use rondel_gql::types::Schema;
use rondel_model::Value;
use rondel_model::op::TreePath;
use rondel_module_model::config::module_config::{DAGGER_JSON, ModuleConfig};
use rondel_module_model::loaded_module::{Module, Provider};
use rondel_module_model::name_conflicts;
use rondel_module_model::names::type_name;
use rondel_module_model::source::module_source::{Dependency, ModuleSource};
use rondel_module_model::typedef::link_types::{LinkContext, link_types};
use rondel_module_model::typedef::type_def::{ModuleTypes, ObjectDef};
use rondel_ports::index::Table;
use rondel_ports::outcome::outcome;
use rondel_query::Node;
use rondel_sdk::Sdk;
use rondel_session::{Caller, Client, Evaluator, client};
use tokio::sync::OnceCell;

use crate::bounded_cache::BoundedCache;
use crate::call::field_resolvers::callable_schema;
use crate::caller::internal;
use crate::load::register_types::{Registered, register};
use crate::module::acting_as::{acting_as, caller_acting_as};
use crate::module::load_report::{self, LoadReport, TypesOrigin, WorkRecorder};
use crate::module::module_schema::ModuleSchema;
use crate::sdk::entrypoint;
use crate::sdk::sdk_module::{self, with_guide};
use crate::source::resolve_options::ResolveOptions;
use crate::source::resolve_source::SourceResolver;

/// Finds, loads and serves modules, and caches them. One per engine.
#[derive(Default)]
pub struct Modules {
    /// Schemas of loaded modules by the digest of the call that gives the source.
    pub(crate) loaded: BoundedCache<Arc<ModuleSchema>>,
    /// Schemas of clients by view and served modules.
    pub(crate) schemas: BoundedCache<Arc<Schema>>,
    /// Finds the sources of modules.
    pub sources: SourceResolver,
    /// Load reports by the digest of the call that gives the source.
    reports: BoundedCache<Arc<LoadReport>>,
    /// Modules as which processes acted, by the digest of their identity.
    acted_as: BoundedCache<Arc<Module>>,
}

impl Modules {
    /// A loader with empty caches.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The files of the loaded modules, which are in use.
    pub fn snapshots(&self) -> Vec<rondel_model::Snapshot> {
        self.loaded.values().iter().map(|schema| schema.module.source.snapshot.clone()).collect()
    }

    /// Forgets loaded modules whose files are gone according to `here`. Sessions keep the modules
    /// that they are served.
    pub fn retain(&self, here: &dyn Fn(&rondel_model::Snapshot) -> bool) {
        self.loaded.retain(|schema| here(&schema.module.source.snapshot));
    }

    /// Loads the module of `reference`: a path, or the name of a dependency of the module in the
    /// caller's folder.
    ///
    /// # Errors
    /// When there is no such module, its configuration uses an unsupported feature, or its types
    /// cannot be registered.
    pub async fn load_ref(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        reference: &str,
    ) -> Result<Arc<Module>> {
        let source = self.sources.resolve(caller, reference, ResolveOptions::default()).await?;
        self.load(Some(evaluator), caller, &source).await
    }

    /// Loads the module of `source`. Without an evaluator its types must be in the index.
    ///
    /// # Errors
    /// When its configuration uses an unsupported feature, or its types cannot be registered or are
    /// refused.
    pub fn load<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a Arc<ModuleSource>,
    ) -> BoxFuture<'a, Result<Arc<Module>>> {
        Box::pin(async move { Ok(self.load_schema(evaluator, caller, source).await?.module.clone()) })
    }

    pub(crate) fn load_schema<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a Arc<ModuleSource>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSchema>>> {
        Box::pin(async move {
            let key = source.call().digest();
            if let Some(known) = self.loaded.get(&key) {
                if let Some(report) = self.reports.get(&key) {
                    report.reuse();
                }
                return Ok(known);
            }
            let span = caller.events.span(Work::Load, format!("load module {}", source.name()));
            let seen = Arc::new(WorkRecorder::default());
            let caller = caller.reporting(span.emitter().also(seen.clone()));
            let loading = async {
                let (module, origin) = self.find_out(evaluator, &caller, source).await?;
                let ran = origin.is_some();
                let changes = if ran { load_report::compared(&caller, &module).await? } else { Vec::new() };
                self.reports.insert(key, Arc::new(LoadReport::new(origin, changes, &seen)));
                let schema = callable_schema(&Arc::new(module));
                self.loaded.insert(key, schema.clone());
                Ok::<_, Fault>((schema, ran))
            };
            let loaded = loading.await;
            span.end(match &loaded {
                Ok((_, false)) => Ended::Cached,
                loaded => outcome(loaded),
            });
            loaded.map(|(schema, _)| schema)
        })
    }

    async fn find_out(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &Arc<ModuleSource>,
    ) -> Result<(Module, Option<TypesOrigin>)> {
        let doing = |e: Fault| e.context(format!("load module `{}`", source.name()));
        let mut module = self.untyped(evaluator, caller, source).await?;
        name_conflicts::among(&module.dependencies).map_err(doing)?;
        let me = client(caller);
        let (raw, origin) = match &module.provider {
            Provider::None => (stub(source.name()), None),
            _ => self.types(evaluator, caller, me, &mut module).await?,
        };
        let core = me.services.registry.project(module.view);
        let owner = |name: &str| module.external_type(&core, name);
        let names = LinkContext { original: &source.config.name, name: source.name(), owner: &owner };
        let types = link_types(&raw, &names).map_err(|e| match &module.provider {
            Provider::Module(_) | Provider::Entrypoint(_) => {
                let blamed =
                    doing(e.context(format!("types from {} ({})", module.provider_label(), module.contract())));
                with_guide(blamed)
            }
            _ => doing(e),
        })?;
        module.types = Arc::new(types);
        Ok((module, origin))
    }

    /// Loads a module without its types. Its dependencies and its SDK are loaded.
    ///
    /// # Errors
    /// When its configuration uses an unsupported feature, or its SDK cannot be loaded.
    pub async fn untyped(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &Arc<ModuleSource>,
    ) -> Result<Module> {
        let doing = |e: Fault| e.context(format!("load module `{}`", source.name()));
        if !source.config_exists() {
            return Err(Fault::not_found(format!("no `{DAGGER_JSON}` in {}", source.describe()))
                .with_hint("name the directory of a module with `-m`, or make one with `rondel init`"));
        }
        source.config.check_name()?;
        source.config.check_supported()?;
        let view = source.view()?;
        let provider = self.provider(evaluator, caller, source).await.map_err(doing)?;
        let (dependencies, broken) = self.dependencies(evaluator, caller, source).await?;
        let missing: Vec<&String> = broken.iter().map(|(name, _)| name).collect();
        // IDENTITY: the SDK's runtime is part of a module's implementation. So is the absence of
        // dependencies, since the runtime is made without them.
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

    /// Loads the dependencies of a module. Returns those that cannot be loaded with the reasons:
    /// functions that do not need them can still be called.
    ///
    /// # Errors
    /// When the caller cancelled.
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
                    // A dependency without a name goes by its source.
                    let name = Some(used.name()).filter(|name| !name.is_empty()).unwrap_or(written.called());
                    broken.push((name.to_owned(), fault));
                }
            }
        }
        Ok((dependencies, broken))
    }

    /// Describes how `module` was loaded, as labels and texts.
    pub fn explain(&self, module: &Module) -> Vec<(String, String)> {
        let report = self.reports.get(&module.source.call().digest());
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
        let Some(sdk) = &source.sdk else { return builtin_sdk(&source.config).map(Provider::Builtin) };
        let doing = |e: Fault| e.context(format!("load the SDK `{}`", config.source));
        if !sdk.config.has_functions() {
            let fault = Fault::user(format!("the module `{}` has no functions: it has no SDK itself", sdk.name()));
            return Err(doing(fault));
        }
        let schema = self.load_schema(evaluator, &internal(caller), sdk).await.map_err(doing)?;
        let sdk = sdk_module::from_schema(&schema, &config.source, config.config.as_ref())?;
        Ok(Provider::Module(Arc::new(sdk)))
    }

    /// Loads the entrypoint of a module.
    ///
    /// # Errors
    /// When the entrypoint cannot be loaded, or breaks its contract.
    async fn entrypoint(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        source: &ModuleSource,
    ) -> Result<Provider> {
        let named = source.config.entrypoint.as_ref().map(|entrypoint| entrypoint.source.as_str()).unwrap_or_default();
        let lost = || Fault::bug(format!("module `{}` lost its entrypoint", source.name()));
        let entrypoint = source.sdk.as_ref().ok_or_else(lost)?;
        let schema = self.load_schema(evaluator, &internal(caller), entrypoint).await;
        let schema = schema.map_err(|e| e.context(format!("load the entrypoint `{named}`")))?;
        entrypoint::from_schema(&schema, named, source.name())
            .map(|entrypoint| Provider::Entrypoint(Arc::new(entrypoint)))
    }

    /// The types as the module registers them, and where they came from if they were not cached.
    async fn types(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        me: &Client,
        module: &mut Module,
    ) -> Result<(ModuleTypes, Option<TypesOrigin>)> {
        // IDENTITY: the implementation determines the types, view included. The view is in the key
        // for readers of the index.
        let key = rondel_digest::of("types/v1", &(module.implementation, module.view));
        let kept = me.services.index.get(Table::Types, &key);
        if let Some(types) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok((types, None));
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
        let (session, waiting) = (&caller.session, &caller.events);
        let partial = Arc::new(module.partial());
        let (again, caller, index) = (evaluator.clone(), acting_as(caller, &partial), me.services.index.clone());
        let work = || async move {
            let registered = register(&again, &caller, &partial).await?;
            let bytes =
                serde_json::to_vec(&registered.types).map_err(|e| Fault::bug("cannot write types").caused_by(e))?;
            index.put(Table::Types, &key, &bytes, None)?;
            Ok(Node { call: None, value: Value::object("ModuleTypes", registered) })
        };
        // The graph runs one registration for all concurrent callers. Later ones find the types in
        // the index.
        let label = || format!("types of module {}", module.name()).into();
        let joined = |_: &str| waiting.wait("another client, which loads the same module");
        let (registered, _) = evaluator.graph().evaluate_for(session, key, joined, label, work).await;
        let registered = registered?;
        let registered = registered.get::<Registered>()?.clone();
        Ok((registered.types, Some(registered.origin)))
    }

    /// The module that a call refers to, with its schema.
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
        if let Some(known) = self.loaded.get(&source.digest()) {
            return Ok(known);
        }
        let source = Arc::new(ModuleSource::of_call(source)?);
        self.load_schema(evaluator, caller, &source).await
    }

    /// Returns a copy of the caller whose calls start processes that act as `identity`, or as
    /// clients of their own for `None`. Used to evaluate a call with a recorded identity when its
    /// result is not cached.
    ///
    /// # Errors
    /// When the module cannot be loaded any more, or has changed.
    pub async fn acting_as(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        identity: Option<&Arc<ModuleIdentity>>,
    ) -> Result<Arc<Caller>> {
        let Some(identity) = identity else { return Ok(caller_acting_as(caller, None)) };
        let key = identity.digest();
        let known = self.acted_as.get(&key);
        let module = match known {
            Some(module) => module,
            None => {
                let module = self.identified(evaluator, caller, identity).await?;
                self.acted_as.insert(key, module.clone());
                module
            }
        };
        Ok(caller_acting_as(caller, Some(&module)))
    }

    /// Loads the module of `identity` without its types.
    async fn identified(
        self: &Arc<Self>,
        evaluator: &Arc<Evaluator>,
        caller: &Arc<Caller>,
        identity: &ModuleIdentity,
    ) -> Result<Arc<Module>> {
        let damaged = || Fault::user("cannot load the module as which a process acts: the ID is damaged");
        let source = identity.module.module.receiver().ok_or_else(damaged)?;
        let loaded = self.loaded.get(&source.digest()).map(|schema| schema.module.clone());
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
}

/// The built-in SDK of a module.
///
/// # Errors
/// When there is none of that name, or it does not accept its configuration.
pub(crate) fn builtin_sdk(config: &ModuleConfig) -> Result<Arc<dyn Sdk>> {
    let config = config.sdk.as_ref().ok_or_else(|| Fault::bug("a module without an SDK has no built-in one"))?;
    let sdk = rondel_sdk::find(&config.source)?;
    let known = sdk.config_keys();
    let given = config.config.iter().flat_map(|config| config.keys());
    let unknown: Vec<&str> = given.map(String::as_str).filter(|key| !known.contains(key)).collect();
    if unknown.is_empty() {
        return Ok(sdk);
    }
    // Users match on this text; see docs/protocol.md#module-configuration.
    let fault = Fault::user(format!("unknown sdk config keys found [{}]", unknown.join(" ")));
    Err(fault.with_hint(match known {
        [] => format!("the SDK `{}` has no configuration; remove `sdk.config` from `dagger.json`", config.source),
        known => format!("the SDK `{}` knows {}", config.source, known.join(", ")),
    }))
}

/// Checks that the source folder exists. Without this check each SDK would report it in its own
/// words.
async fn check_source_folder(me: &Client, source: &ModuleSource) -> Result<()> {
    let named = source.config.source_subpath();
    let context = source.context().place;
    let folder = TreePath { path: source.root_path().join_inside(named), ..context };
    match me.services.ops.stat(&me.op_cx, &folder, true).await? {
        Some(_) => Ok(()),
        None => Err(Fault::user(format!(
            "load module `{}`: the folder `{named}`, which `source` in `{DAGGER_JSON}` names, is not there or is empty",
            source.name()
        ))
        .with_hint(format!("the path is relative to the folder of `{DAGGER_JSON}`"))),
    }
}

fn stub(name: &str) -> ModuleTypes {
    let name = name.to_owned();
    let main = ObjectDef { name: type_name(&name), original: name, ..Default::default() };
    ModuleTypes { objects: vec![Arc::new(main)], ..ModuleTypes::default() }
}
