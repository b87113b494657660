//! Loading modules: from references to sources, from sources to types, and what is remembered of both.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, try_join_all};
use rondel_call::{CallSpec, ModuleRef};
use rondel_digest::Digest;
use rondel_events::{Outcome as Ended, Work};
use rondel_fault::{Fault, Result};
use rondel_gql::types::{FieldDef, Schema};
use rondel_model::op::{Filter, Place};
use rondel_model::{AbsPath, Directory, Fs, FsOp, Value};
use rondel_ports::index::Table;
use rondel_query::{Caller, Evaluator, Node};
use rondel_schema::Registry;
use rondel_session::{Client, ScopeRecord, client};
use rondel_version::View;
use tokio::sync::OnceCell;

use crate::config::{Config, FILE_NAME};
use crate::module::Module;
use crate::resolve::{Names, Owner, resolve};
use crate::serve::{Served, Surfaced, check_clash, extension};
use crate::source::{ModuleSource, Reference, SourceKind, classify, context_patterns, inside_context};
use crate::typedef::ModuleTypes;
use crate::types::{TypeSource, register};

/// How many loaded modules and schemas are remembered.
const REMEMBERED: usize = 512;

/// Finds, loads and serves modules, and remembers what it loaded. One per engine.
#[derive(Default)]
pub struct Modules {
    /// By the digest of the call that gives the source.
    loaded: Mutex<HashMap<Digest, Arc<Surfaced>>>,
    /// By view and what is served.
    schemas: Mutex<HashMap<Digest, Arc<Schema>>>,
    /// Configurations by the digest of the snapshot that holds them.
    configs: Mutex<HashMap<Digest, Arc<str>>>,
}

/// How a reference is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup<'a> {
    /// The commit that was pinned.
    pub pin: &'a str,
    /// The folder itself, not one above it.
    pub exact: bool,
    /// A folder without `dagger.json` is a source as well.
    pub allow_missing: bool,
}

impl Modules {
    /// A loader that remembers nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
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
        let source = self.resolve(caller, reference, Lookup::default()).await?;
        self.load(Some(evaluator), caller, &source).await
    }

    /// Finds the source that `reference` means to the caller.
    ///
    /// # Errors
    /// When there is none, or its configuration cannot be read.
    pub async fn resolve(
        &self,
        caller: &Arc<Caller>,
        reference: &str,
        lookup: Lookup<'_>,
    ) -> Result<Arc<ModuleSource>> {
        let me = client(caller)?;
        let host = host_of(me);
        let path = host.host_path(reference);
        let exists = exists(me, &path);
        match classify(reference, lookup.pin) {
            Reference::Git => return Err(git(reference)),
            Reference::Either if !exists => return Err(git(reference)),
            _ => {}
        }
        if !exists {
            if let Some(dependency) = self.dependency(caller, reference).await? {
                return Ok(dependency);
            }
            // Users match on this text; see spec/behaviours.md CALL-013.
            return Err(Fault::user(format!("module source \"{reference}\" does not exist")));
        }
        let files = me.services.ops.ports().host.clone();
        let config = files.find_up(&path, FILE_NAME).filter(|found| found.starts_with(&host.host_root));
        let config = config.filter(|found| !lookup.exact || found.parent() == Some(&path));
        let root = match config.as_deref().and_then(Path::parent) {
            Some(root) => root.to_owned(),
            None if lookup.allow_missing => path.clone(),
            None => {
                return Err(Fault::user(format!("no `{FILE_NAME}` in `{}` or above it", path.display()))
                    .with_hint("name the folder of a module with `-m`"));
            }
        };
        self.local(caller, root, None, Vec::new()).await
    }

    /// The dependency called `name` of the module in whose folder the caller is.
    async fn dependency(&self, caller: &Arc<Caller>, name: &str) -> Result<Option<Arc<ModuleSource>>> {
        if name.starts_with(['/', '.']) {
            return Ok(None);
        }
        let me = client(caller)?;
        let host = host_of(me);
        let found = me.services.ops.ports().host.find_up(&host.host_path("."), FILE_NAME);
        let found = found.filter(|found| found.starts_with(&host.host_root));
        let Some(root) = found.as_deref().and_then(Path::parent) else { return Ok(None) };
        let source = self.local(caller, root.to_owned(), None, Vec::new()).await?;
        Ok(source.dependencies.iter().find(|dependency| dependency.name() == name).cloned())
    }

    /// The source whose `dagger.json` is in the folder `root` of the host. `above` are the folders of its dependents.
    fn local<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        root: PathBuf,
        renamed: Option<String>,
        above: Vec<(PathBuf, String)>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>>> {
        Box::pin(async move {
            let me = client(caller)?;
            let ops = &me.services.ops;
            let files = ops.ports().host.clone();
            let git = files.find_up(&root, ".git").filter(|git| git.starts_with(&host_of(me).host_root));
            let git = git.and_then(|git| git.parent().map(Path::to_owned));
            let context = git.unwrap_or_else(|| root.clone());
            let below = root.strip_prefix(&context).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
            let (config_text, config) = self.read_config(me, &root).await?;
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            if let Some((_, first)) = above.iter().find(|(path, _)| *path == root) {
                // Users match on this text; see spec/behaviours.md MOD-010.
                return Err(Fault::user(format!(
                    "module \"{first}\" has a circular dependency on itself through dependency \"{name}\""
                )));
            }
            let (include, mut exclude) = context_patterns(&below, &config)?;
            exclude.push(".git".into());
            let filter = Filter { include, exclude, gitignore: true };
            let snapshot = async {
                let imported = ops.import_dir(&me.op_cx, &context, &filter).await;
                imported.map_err(|e| e.context(format!("load the source of module `{name}`")))
            };
            let mut path = above.clone();
            path.push((root.clone(), name.clone()));
            let dependency = |dependency: &crate::config::Dependency| {
                let (source, pin, called) =
                    (dependency.source.clone(), dependency.pin.clone(), dependency.name.clone());
                let (context, below, path) = (context.clone(), below.clone(), path.clone());
                async move {
                    let inside = local_dependency(&source, &pin, &below, &context)?;
                    let called = (!called.is_empty()).then_some(called);
                    self.local(caller, context.join(inside), called, path).await
                }
            };
            let (snapshot, dependencies) =
                tokio::try_join!(snapshot, try_join_all(config.dependencies.iter().map(dependency)))?;
            Ok(Arc::new(ModuleSource {
                kind: SourceKind::Local,
                snapshot,
                base: AbsPath::root(),
                root: below,
                host: context.to_string_lossy().into_owned(),
                config_text,
                config,
                renamed,
                dependencies,
            }))
        })
    }

    async fn read_config(&self, me: &Client, root: &Path) -> Result<(Arc<str>, Config)> {
        let path = root.join(FILE_NAME);
        if !exists(me, &path) {
            return Ok(("".into(), Config::default()));
        }
        let place = path.to_string_lossy().into_owned();
        let snapshot = me.services.ops.import_file(&me.op_cx, &path).await?;
        let key = snapshot.digest();
        let known = lock(&self.configs).get(&key).cloned();
        let text = match known {
            Some(text) => text,
            None => {
                let file = Place { fs: Fs::known(snapshot), path: AbsPath::new(FILE_NAME) };
                let text: Arc<str> = utf8(me.services.ops.read(&me.op_cx, &file).await?, &place)?.into();
                remember(&self.configs, key, text.clone());
                text
            }
        };
        let config = Config::parse(&text, &place)?;
        Ok((text, config))
    }

    /// The source whose `dagger.json` is in the folder `root` of a directory of the API.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn in_directory<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        directory: &'a Directory,
        root: String,
        renamed: Option<String>,
        above: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>>> {
        Box::pin(async move {
            let me = client(caller)?;
            let ops = &me.services.ops;
            let file =
                Place { fs: directory.place.fs.clone(), path: directory.place.path.join_inside(&root).join(FILE_NAME) };
            let place = format!("{}/{FILE_NAME}", if root.is_empty() { "." } else { &root });
            let config_text: Arc<str> = match ops.stat(&me.op_cx, &file, true).await? {
                None => "".into(),
                Some(_) => utf8(ops.read(&me.op_cx, &file).await?, &place)?.into(),
            };
            let config = if config_text.is_empty() { Config::default() } else { Config::parse(&config_text, &place)? };
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            if let Some((_, first)) = above.iter().find(|(path, _)| *path == root) {
                return Err(Fault::user(format!(
                    "module \"{first}\" has a circular dependency on itself through dependency \"{name}\""
                )));
            }
            let (include, exclude) = context_patterns(&root, &config)?;
            let filter = Filter { include, exclude, gitignore: false };
            let filtered = Fs::new(FsOp::Filter { source: directory.place.clone(), filter });
            let snapshot = ops.tree(&me.op_cx, &filtered).await?;
            let mut dependencies = Vec::new();
            let mut path = above;
            path.push((root.clone(), name));
            for dependency in &config.dependencies {
                let inside = local_dependency(&dependency.source, &dependency.pin, &root, Path::new("/"))?;
                let called = (!dependency.name.is_empty()).then(|| dependency.name.clone());
                dependencies.push(self.in_directory(caller, directory, inside, called, path.clone()).await?);
            }
            let (kind, base, host) = (SourceKind::Dir, AbsPath::root(), String::new());
            Ok(Arc::new(ModuleSource { kind, snapshot, base, root, host, config_text, config, renamed, dependencies }))
        })
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
        Box::pin(async move { Ok(self.surfaced(evaluator, caller, source).await?.module.clone()) })
    }

    fn surfaced<'a>(
        self: &'a Arc<Self>,
        evaluator: Option<&'a Arc<Evaluator>>,
        caller: &'a Arc<Caller>,
        source: &'a Arc<ModuleSource>,
    ) -> BoxFuture<'a, Result<Arc<Surfaced>>> {
        Box::pin(async move {
            let key = source.call().digest();
            if let Some(known) = lock(&self.loaded).get(&key) {
                return Ok(known.clone());
            }
            let span = caller.events.span(Work::Load, format!("load module {}", source.name()));
            let caller = caller.reporting(span.emitter().clone());
            match self.find_out(evaluator, &caller, source).await {
                Ok((module, ran)) => {
                    let surfaced = Surfaced::of(&Arc::new(module));
                    remember(&self.loaded, key, surfaced.clone());
                    span.end(if ran { Ended::Done } else { Ended::Cached });
                    Ok(surfaced)
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
        if !source.config_exists() {
            return Err(Fault::user(format!("no `{FILE_NAME}` in {}", source.describe())));
        }
        source.config.check_name()?;
        source.config.check_supported()?;
        let view = source.view()?;
        let sdk = source.config.sdk.as_ref().map(|sdk| rondel_sdk::find(&sdk.source)).transpose().map_err(doing)?;
        let dependencies =
            try_join_all(source.dependencies.iter().map(|source| self.load(evaluator, caller, source))).await?;
        // IDENTITY: the runtime that an SDK makes is part of what a module is.
        let implementation = rondel_digest::of("module/v1", &(source.digest(), sdk.as_ref().map(|sdk| sdk.version())));
        let mut module = Module {
            source: source.clone(),
            view,
            types: Arc::default(),
            dependencies,
            implementation,
            sdk,
            runtime: Arc::new(OnceCell::new()),
        };
        let me = client(caller)?;
        let (raw, ran) = match &module.sdk {
            None => (stub(source.name()), false),
            Some(_) => self.types(evaluator, caller, me, &mut module).await?,
        };
        let core = me.services.registry.project(view);
        let owner = |name: &str| owner_of(&module.dependencies, &core, name);
        let names = Names { original: &source.config.name, name: source.name(), owner: &owner };
        let types = resolve(&raw, &names).map_err(doing)?;
        module.types = Arc::new(types);
        Ok((module, ran))
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
        let partial = Arc::new(module.partial());
        let (again, caller, index) = (evaluator.clone(), caller.clone(), me.services.index.clone());
        let work = || async move {
            let types = register(&again, &caller, &partial, TypeSource::EmptyCall).await?;
            let bytes = serde_json::to_vec(&types).map_err(|e| Fault::bug("cannot write types").caused_by(e))?;
            index.put(Table::Types, &key, &bytes, None)?;
            Ok(Node { call: None, value: Value::object("ModuleTypes", types) })
        };
        // One registration, whoever asks at the same time; from then on the index knows.
        let registered = evaluator.graph().evaluate(key, work).await?;
        Ok((registered.get::<ModuleTypes>()?.clone(), true))
    }

    /// The module that a call refers to.
    ///
    /// # Errors
    /// When the reference is damaged, or as for [`Modules::load`].
    pub async fn of_reference(
        self: &Arc<Self>,
        evaluator: Option<&Arc<Evaluator>>,
        caller: &Arc<Caller>,
        reference: &ModuleRef,
    ) -> Result<Arc<Surfaced>> {
        let source =
            reference.module.receiver().ok_or_else(|| Fault::user("cannot load a module: its ID is damaged"))?;
        if let Some(known) = lock(&self.loaded).get(&source.digest()) {
            return Ok(known.clone());
        }
        let source = Arc::new(ModuleSource::of_call(source)?);
        self.surfaced(evaluator, caller, &source).await
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
        if let Some(own) = crate::internal::find(self, parent, spec) {
            return Ok(Some(own));
        }
        if let Some(reference) = &spec.module {
            let surfaced = self.of_reference(None, caller, reference).await?;
            return Ok(surfaced.field(parent, &spec.field));
        }
        Ok(None)
    }

    /// Serves `module` to the caller from now on.
    ///
    /// # Errors
    /// When another module of the same name is served.
    pub fn serve(&self, caller: &Caller, module: &Arc<Module>, dependencies: bool, entrypoint: bool) -> Result<()> {
        let me = client(caller)?;
        let mut list = served(me);
        let mut add = |module: &Arc<Module>, constructor: bool, entrypoint: bool| -> Result<()> {
            if check_clash(&list, module)? {
                for known in list.iter_mut().filter(|known| known.surfaced.module.name() == module.name()) {
                    known.constructor |= constructor;
                    known.entrypoint |= entrypoint;
                }
                return Ok(());
            }
            let known = lock(&self.loaded).get(&module.source.call().digest()).cloned();
            let surfaced = known.unwrap_or_else(|| Surfaced::of(module));
            list.push(Served { surfaced, constructor, entrypoint });
            Ok(())
        };
        add(module, true, entrypoint)?;
        for dependency in &module.dependencies {
            add(dependency, dependencies, false)?;
        }
        let entries = list.iter().map(|served| Arc::new(served.clone()) as Arc<dyn Any + Send + Sync>).collect();
        *lock(&me.served) = entries;
        caller.serve(self.schema(&me.services.registry, caller.view, &list));
        Ok(())
    }

    /// The schema that `client` is served in `view`: that of the API, and of the modules it was served. Cheap when
    /// nothing changed.
    pub fn client_schema(&self, client: &Client, view: View) -> Arc<Schema> {
        match &client.scope {
            Some(scope) if scope.module.is_some() => {
                self.scope_schema(&client.services.registry, scope, &served(client))
            }
            _ => self.schema(&client.services.registry, view, &served(client)),
        }
    }

    /// The schema that a process is served which speaks for a module: the API at the module's version, what the module
    /// uses, and the module itself once its types are known.
    pub fn scope_schema(&self, registry: &Registry, scope: &ScopeRecord, more: &[Served]) -> Arc<Schema> {
        let Some(module) = scope.module.clone().and_then(|module| module.downcast::<Module>().ok()) else {
            return self.schema(registry, scope.view, more);
        };
        let surface = |module: &Arc<Module>| {
            let known = lock(&self.loaded).get(&module.source.call().digest()).cloned();
            known.unwrap_or_else(|| Surfaced::of(module))
        };
        let mut list = Vec::new();
        for dependency in &module.dependencies {
            list.push(Served { surfaced: surface(dependency), constructor: true, entrypoint: false });
            for hidden in &dependency.dependencies {
                list.push(Served { surfaced: surface(hidden), constructor: false, entrypoint: false });
            }
        }
        if !module.types.objects.is_empty() {
            list.push(Served { surfaced: surface(&module), constructor: true, entrypoint: false });
        }
        list.extend(more.iter().cloned());
        self.schema(registry, scope.view, &list)
    }

    fn schema(&self, registry: &Registry, view: View, list: &[Served]) -> Arc<Schema> {
        let base = registry.project(view);
        if list.is_empty() {
            return base;
        }
        let part = |served: &Served| {
            let module = &served.surfaced.module;
            (module.source.call().digest(), module.implementation, served.constructor, served.entrypoint)
        };
        let parts: Vec<_> = list.iter().map(part).collect();
        let key = rondel_digest::of("schema/v1", &(view, parts));
        if let Some(known) = lock(&self.schemas).get(&key) {
            return known.clone();
        }
        let schema = Arc::new(rondel_schema::extend(&base, view, extension(&base, list)));
        remember(&self.schemas, key, schema.clone());
        schema
    }
}

impl Module {
    /// The same while its types are being found out.
    fn partial(&self) -> Module {
        Module {
            source: self.source.clone(),
            view: self.view,
            types: Arc::default(),
            dependencies: self.dependencies.clone(),
            implementation: self.implementation,
            sdk: self.sdk.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

/// The modules that a client is served.
pub fn served(client: &Client) -> Vec<Served> {
    lock(&client.served).iter().filter_map(|entry| entry.downcast_ref::<Served>().cloned()).collect()
}

/// The object of the API that `call` of [`crate::module::FIELD`] gives.
pub fn module_of(node: &Node) -> Result<Arc<Module>> {
    let value = node.get::<crate::module::ModuleValue>()?;
    value.loaded.clone().ok_or_else(|| Fault::user("the module was described, not loaded: it has no source"))
}

fn stub(name: &str) -> ModuleTypes {
    let name = name.to_owned();
    let main = crate::typedef::ObjectDef { name: crate::names::type_name(&name), original: name, ..Default::default() };
    ModuleTypes { objects: vec![Arc::new(main)], ..ModuleTypes::default() }
}

fn owner_of(dependencies: &[Arc<Module>], core: &Schema, name: &str) -> Option<Owner> {
    let has = |module: &&Arc<Module>| {
        let types = &module.types;
        types.object(name).is_some() || types.interface(name).is_some() || types.enumeration(name).is_some()
    };
    match dependencies.iter().find(has) {
        Some(module) => Some(Owner::Module(module.name().to_owned())),
        None => core.types.contains_key(name).then_some(Owner::Core),
    }
}

fn local_dependency(source: &str, pin: &str, root: &str, context: &Path) -> Result<String> {
    // Users match on these texts; see spec/behaviours.md CFG-002.
    if source.starts_with('/') {
        return Err(Fault::user(format!("local module dep source path \"{source}\" is absolute")));
    }
    if classify(source, pin) != Reference::Local {
        return Err(Fault::user(format!("the dependency `{source}` is a git module, and those are not supported yet")));
    }
    let escapes =
        || Fault::user(format!("local module dep source path \"{source}\" escapes context \"{}\"", context.display()));
    inside_context(root, source).ok_or_else(escapes)
}

fn git(reference: &str) -> Fault {
    Fault::user(format!("`{reference}` is no folder here; as a git module it is not supported yet"))
}

/// Whose files module references mean: those of the client itself, unless it is a module's own code.
fn host_of(me: &Client) -> &Client {
    let is_module = me.scope.as_ref().is_some_and(|scope| scope.module.is_some());
    if is_module { me.host_client() } else { me }
}

fn exists(me: &Client, path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
    let found = me.services.ops.ports().host.find_up(parent, &name.to_string_lossy());
    found.as_deref() == Some(path)
}

fn utf8(bytes: Vec<u8>, place: &str) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| Fault::user(format!("cannot read module configuration `{place}`: it is not UTF-8 text")))
}

fn remember<T>(map: &Mutex<HashMap<Digest, T>>, key: Digest, value: T) {
    let mut map = lock(map);
    if map.len() >= REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
