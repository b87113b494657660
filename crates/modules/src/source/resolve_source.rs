//! Resolving references to sources: on the host of a client, in directories of the API, in git
//! repositories, with their dependencies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, try_join_all};
use rondel_fault::{Fault, Result};
use rondel_model::op::{Edit, Filter, TreePath};
use rondel_model::{AbsPath, Directory, Fs, FsOp};
use rondel_module_model::config::module_config::{
    ConfigFormat, DAGGER_JSON, DAGGER_MODULE_TOML, DependencyConfig, ModuleConfig,
};
use rondel_module_model::source::dependency::{ResolveError, Unresolved};
use rondel_module_model::source::git_origin::GitOrigin;
use rondel_module_model::source::module_source::{Dependency, ModuleSource, SourceKind, SourceRole};
use rondel_module_model::source::provider_location::{
    ReferenceLocation, is_remote, locate_provider, provider_not_found, resolving_provider,
};
use rondel_module_model::source::reference::{ReferenceKind, classify, context_patterns, inside_context};
use rondel_ops::OpContext;
use rondel_ports::host::shown;
use rondel_session::{Caller, Client, client};

use crate::bounded_cache::BoundedCache;
use crate::source::git_source;
use crate::source::referrer::Referrer;
use crate::source::resolve_options::ResolveOptions;

/// A request for the source in the folder `root`.
pub(crate) struct SourceRequest<P> {
    root: P,
    renamed: Option<String>,
    role: SourceRole,
    /// The places and names of the modules that depend on it, to detect cycles.
    dependents: Vec<(String, String)>,
    /// The repository that contains the folder.
    git: Option<Arc<GitOrigin>>,
}

impl<P> SourceRequest<P> {
    /// A request for a module under its own name.
    pub(crate) fn of(root: P) -> Self {
        Self { root, renamed: None, role: SourceRole::Module, dependents: Vec::new(), git: None }
    }

    /// A request for an SDK, an entrypoint or a client generator.
    pub(crate) fn tool(root: P) -> Self {
        Self { role: SourceRole::Sdk, ..Self::of(root) }
    }

    /// The same request for another folder.
    pub(crate) fn at<Q>(self, root: Q) -> SourceRequest<Q> {
        SourceRequest { root, renamed: self.renamed, role: self.role, dependents: self.dependents, git: self.git }
    }

    /// The same request for a folder of a git repository.
    pub(crate) fn from(mut self, git: Arc<GitOrigin>) -> Self {
        self.git = Some(git);
        self
    }
}

/// Resolves references to module sources, and caches configurations. One per engine.
#[derive(Default)]
pub struct SourceResolver {
    /// Texts of configuration files by the digest of the snapshot that contains them.
    configs: BoundedCache<Arc<str>>,
}

impl SourceResolver {
    /// Resolves `reference` for the caller.
    ///
    /// # Errors
    /// When there is no such module, or its configuration cannot be read.
    pub async fn resolve(
        &self,
        caller: &Arc<Caller>,
        reference: &str,
        options: ResolveOptions<'_>,
    ) -> Result<Arc<ModuleSource>> {
        let me = client(caller);
        let host = reference_client(me);
        let path = host.host_path(reference);
        // Checked before anything is looked for, so that code of a module learns nothing about
        // other files of the machine.
        let permitted = check_workspace(me, &path);
        let exists = permitted.is_ok() && exists(me, &path);
        match classify(reference, options.pin) {
            ReferenceKind::Local => {}
            ReferenceKind::Either if exists || permitted.is_err() => {}
            _ => {
                let request = SourceRequest::of(String::new());
                return self.in_repository(caller, reference, options, request).await.map_err(ResolveError::fault);
            }
        }
        permitted?;
        if !exists {
            if let Some(dependency) = self.dependency(caller, reference).await? {
                return Ok(dependency);
            }
            if !options.allow_missing {
                // Users match on this text; see docs/protocol.md#references-to-modules.
                return Err(Fault::not_found(format!(
                    "module source \"{reference}\" does not exist: there is nothing at `{}`",
                    shown(&path).display()
                )));
            }
        }
        let root = match find_config_folder(me, host, &path).filter(|root| !options.exact || *root == path) {
            Some(root) => root,
            None if options.unconfigured || options.allow_missing => path,
            None => {
                return Err(Fault::not_found(format!(
                    "no `{DAGGER_JSON}` in `{}` or above it, and no `{DAGGER_MODULE_TOML}`",
                    shown(&path).display()
                ))
                .with_hint("name the directory of a module with `-m`, or make one with `rondel init`"));
            }
        };
        check_workspace(me, &root)?;
        self.local(caller, SourceRequest::of(root)).await.map_err(ResolveError::fault)
    }

    /// The dependency `name` of the module in the caller's folder.
    async fn dependency(&self, caller: &Arc<Caller>, name: &str) -> Result<Option<Arc<ModuleSource>>> {
        if name.starts_with(['/', '.']) {
            return Ok(None);
        }
        let me = client(caller);
        let host = reference_client(me);
        let Some(root) = find_config_folder(me, host, &host.host_path(".")) else { return Ok(None) };
        let source = self.local(caller, SourceRequest::of(root)).await.map_err(ResolveError::fault)?;
        match source.dependencies.iter().find(|dependency| dependency.name() == name) {
            None => Ok(None),
            Some(Dependency::Found(dependency)) => Ok(Some(dependency.clone())),
            Some(Dependency::Unresolved(missing)) => {
                Err(missing.why.clone().context(format!("find the dependency `{name}`")))
            }
        }
    }

    /// Resolves `reference` to a git repository.
    ///
    /// # Errors
    /// When there is no such repository, version or module, or the server refuses.
    pub(crate) async fn in_repository(
        &self,
        caller: &Arc<Caller>,
        reference: &str,
        options: ResolveOptions<'_>,
        request: SourceRequest<String>,
    ) -> Result<Arc<ModuleSource>, ResolveError> {
        let (origin, root) = git_source::locate(caller, reference, options).await?;
        let directory = origin.directory();
        self.inside(caller, &directory, request.at(root).from(Arc::new(origin))).await
    }

    /// Reads the source in a folder of the host.
    pub(crate) fn local<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        request: SourceRequest<PathBuf>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>, ResolveError>> {
        Box::pin(async move {
            let SourceRequest { root, renamed, role, dependents, git: _ } = request;
            let me = client(caller);
            let referrer = Referrer::of_client(reference_client(me));
            let ops = &me.services.ops;
            let files = ops.ports().host.clone();
            // Files are selected by paths below the context directory, and symlinks in those are
            // not followed.
            let root = files.real(&root).unwrap_or(root);
            let context = context_folder(me, &root);
            let below = path_below(&context, &root).unwrap_or_default();
            let (config_text, config) = self.host_config(me, &root).await?;
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            let path = check_cycle(dependents, &root.to_string_lossy(), &name)?;
            let (mut include, mut exclude) = context_patterns(&below, &config)?;
            exclude.push(".git".into());
            // A source folder that is a symlink is imported together with its target.
            let code = root.join(config.source_subpath());
            if let Some(real) = files.real(&code).ok().filter(|real| *real != code) {
                let (link, folder) = (path_below(&context, &code), path_below(&context, &real));
                include.extend(link.into_iter().chain(folder.map(|folder| format!("{folder}/**"))));
            }
            let filter = Filter { include, exclude, gitignore: true };
            let snapshot = async {
                if config_text.is_empty() {
                    return Ok(ops.tree(&me.op_cx, &empty_context(&below)).await?);
                }
                let imported = ops.import_dir(&internal(me), &context, &filter).await;
                imported.map_err(|e| e.context(format!("load the source of module `{name}`")).into())
            };
            let dependency = |dependency: &DependencyConfig| {
                let dependency = dependency.clone();
                let (context, below, dependents, referrer) =
                    (context.clone(), below.clone(), path.clone(), referrer.clone());
                async move {
                    let renamed = Some(dependency.name.clone()).filter(|name| !name.is_empty());
                    let request = SourceRequest { renamed, dependents, ..SourceRequest::of(String::new()) };
                    let is_there = |inside: &str| exists(me, &context.join(inside));
                    let inside = match classify(&dependency.source, &dependency.pin) {
                        ReferenceKind::Either
                            if inside_context(&below, &dependency.source).is_some_and(|it| is_there(&it)) =>
                        {
                            local_dependency(&dependency.source, &below, &context)?
                        }
                        ReferenceKind::Local => local_dependency(&dependency.source, &below, &context)?,
                        _ => {
                            let options = ResolveOptions::dependency(&dependency, &referrer);
                            let found = self.in_repository(caller, &dependency.source, options, request).await;
                            return dependency_of(&dependency, found);
                        }
                    };
                    let root = context.join(&inside);
                    dependency_of(
                        &dependency,
                        match is_there(&inside) {
                            true => self.local(caller, request.at(root)).await,
                            false => Err(Fault::user(format!("there is no folder `{}`", root.display())).into()),
                        },
                    )
                }
            };
            let sdk = async {
                let Some(sdk) = config.provider_ref() else { return Ok(None) };
                let request = SourceRequest { dependents: path.clone(), ..SourceRequest::tool(String::new()) };
                let found = match locate_provider(&name, &sdk, &below)? {
                    ReferenceLocation::Remote => {
                        self.in_repository(caller, &sdk.reference, ResolveOptions::of(&sdk, &referrer), request).await
                    }
                    ReferenceLocation::Inside(inside) if format_in(me, &context.join(&inside)).is_some() => {
                        self.local(caller, request.at(context.join(inside))).await
                    }
                    ReferenceLocation::Inside(_) => return Err(provider_not_found(&name, &sdk).into()),
                };
                found.map(Some).map_err(|e| e.context(resolving_provider(&name, &sdk)))
            };
            let (snapshot, dependencies, sdk) =
                tokio::try_join!(snapshot, try_join_all(config.dependencies.iter().map(dependency)), sdk)?;
            let host = context.to_string_lossy().into_owned();
            Ok(Arc::new(ModuleSource {
                kind: SourceKind::Local,
                snapshot,
                base: AbsPath::root(),
                root: below,
                host_seal: me.services.host_seal(&host).to_string().into(),
                host,
                git: None,
                config_text,
                config,
                renamed,
                dependencies,
                sdk,
                role,
            }))
        })
    }

    async fn host_config(&self, me: &Client, root: &Path) -> Result<(Arc<str>, ModuleConfig)> {
        let Some(format) = format_in(me, root) else { return Ok(("".into(), ModuleConfig::default())) };
        let path = root.join(format.file_name());
        let place = path.to_string_lossy().into_owned();
        let snapshot = me.services.ops.import_file(&internal(me), &path).await?;
        let key = snapshot.digest();
        let text = match self.configs.get(&key) {
            Some(text) => text,
            None => {
                let file = TreePath { fs: Fs::known(snapshot), path: AbsPath::new(format.file_name()) };
                let text: Arc<str> = utf8(me.services.ops.read(&me.op_cx, &file).await?, &place)?.into();
                self.configs.insert(key, text.clone());
                text
            }
        };
        Ok((text.clone(), read_config(format, &text, &place)?))
    }

    /// Reads the source in the folder `root` of a directory of the API.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub async fn in_directory(
        &self,
        caller: &Arc<Caller>,
        directory: &Directory,
        root: String,
    ) -> Result<Arc<ModuleSource>> {
        self.inside(caller, directory, SourceRequest::of(root)).await.map_err(ResolveError::fault)
    }

    /// Reads the source in a folder of `directory`.
    pub(crate) fn inside<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        directory: &'a Directory,
        request: SourceRequest<String>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>, ResolveError>> {
        Box::pin(async move {
            let SourceRequest { root, renamed, role, dependents, git } = request;
            let me = client(caller);
            let referrer = Referrer::in_repository(me, git.as_ref());
            let ops = &me.services.ops;
            let (config_text, config) = directory_config(me, directory, &root).await?;
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            let path = check_cycle(dependents, &format!("{} {root}", directory.place.fs.digest()), &name)?;
            let (include, exclude) = context_patterns(&root, &config)?;
            let filter = Filter { include, exclude, gitignore: false };
            let filtered = Fs::new(FsOp::Filter { source: directory.place.clone(), filter: filter.into() });
            // As in `local`. A directory of the API has all the files that the source can have once
            // it is configured.
            let empty = git.is_some() && config_text.is_empty();
            let context = if empty { empty_context(&root) } else { filtered };
            let snapshot = ops.tree(&me.op_cx, &context).await?;
            let mut dependencies = Vec::new();
            for dependency in &config.dependencies {
                let renamed = (!dependency.name.is_empty()).then(|| dependency.name.clone());
                let request = SourceRequest {
                    renamed,
                    dependents: path.clone(),
                    git: git.clone(),
                    ..SourceRequest::of(String::new())
                };
                let found = if is_remote(&dependency.source, &dependency.pin) {
                    let options = ResolveOptions::dependency(dependency, &referrer);
                    self.in_repository(caller, &dependency.source, options, request).await
                } else {
                    let inside = local_dependency(&dependency.source, &root, Path::new("/"))?;
                    self.inside(caller, directory, request.at(inside)).await
                };
                dependencies.push(dependency_of(dependency, found)?);
            }
            let sdk = match config.provider_ref() {
                None => None,
                Some(sdk) => {
                    let request =
                        SourceRequest { dependents: path, git: git.clone(), ..SourceRequest::tool(String::new()) };
                    let found = match locate_provider(&name, &sdk, &root)? {
                        ReferenceLocation::Remote => {
                            self.in_repository(caller, &sdk.reference, ResolveOptions::of(&sdk, &referrer), request)
                                .await
                        }
                        ReferenceLocation::Inside(root) => self.inside(caller, directory, request.at(root)).await,
                    };
                    let found = found.map_err(|e| e.context(resolving_provider(&name, &sdk)))?;
                    Some(found)
                        .filter(|found| found.config_exists())
                        .ok_or_else(|| provider_not_found(&name, &sdk))
                        .map(Some)?
                }
            };
            let kind = if git.is_some() { SourceKind::Git } else { SourceKind::Dir };
            let (base, host) = (AbsPath::root(), String::new());
            Ok(Arc::new(ModuleSource {
                kind,
                snapshot,
                base,
                root,
                host,
                host_seal: "".into(),
                git,
                config_text,
                config,
                renamed,
                dependencies,
                sdk,
                role,
            }))
        })
    }
}

/// `path` relative to the folder `context`, or `None` when it is elsewhere.
fn path_below(context: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(context).ok().map(|path| path.to_string_lossy().into_owned())
}

/// A dependency from the result of resolving it.
fn dependency_of(
    dependency: &DependencyConfig,
    found: Result<Arc<ModuleSource>, ResolveError>,
) -> Result<Dependency, ResolveError> {
    match found {
        Ok(source) => Ok(Dependency::Found(source)),
        Err(unfound) => Ok(Dependency::Unresolved(Unresolved::new(dependency, unfound.tolerated()?))),
    }
}

/// Adds a module to the path of dependents. Fails when it is on the path already.
fn check_cycle(
    mut dependents: Vec<(String, String)>,
    place: &str,
    name: &str,
) -> Result<Vec<(String, String)>, ResolveError> {
    if let Some((_, first)) = dependents.iter().find(|(known, _)| known == place) {
        // Users match on this text; see docs/protocol.md#references-to-modules.
        return Err(ResolveError::Cycle(Fault::user(format!(
            "module \"{first}\" has a circular dependency on itself through dependency \"{name}\""
        ))));
    }
    dependents.push((place.to_owned(), name.to_owned()));
    Ok(dependents)
}

fn local_dependency(source: &str, root: &str, context: &Path) -> Result<String> {
    // Users match on these texts; see docs/protocol.md#module-configuration.
    if source.starts_with('/') {
        return Err(Fault::user(format!("local module dep source path \"{source}\" is absolute")));
    }
    let escapes =
        || Fault::user(format!("local module dep source path \"{source}\" escapes context \"{}\"", context.display()));
    inside_context(root, source).ok_or_else(escapes)
}

/// The client whose files a reference means: the client itself, except that for a module's own code
/// it is the host client.
fn reference_client(me: &Client) -> &Client {
    if me.own_modules { me } else { me.host_client() }
}

/// The context directory of a source in `folder`: the nearest folder with `.git`, `folder` or one
/// above it, else `folder`.
fn context_folder(me: &Client, folder: &Path) -> PathBuf {
    let git = me.services.ops.ports().host.find_up(folder, ".git");
    let git = git.filter(|git| git.starts_with(&reference_client(me).host_root));
    git.and_then(|git| git.parent().map(Path::to_owned)).unwrap_or_else(|| folder.to_owned())
}

/// Checks that `path` of the machine may be named as a module source. The user names any path. The
/// code of a module names what is in the context directory of the user's working directory, or of
/// the module itself: all other files of the machine are the user's to pass on.
fn check_workspace(me: &Client, path: &Path) -> Result<()> {
    let Some(module) = me.scope.as_ref().and_then(|scope| scope.acting_module.as_ref()).filter(|_| !me.own_modules)
    else {
        return Ok(());
    };
    let host = &me.services.ops.ports().host;
    let real = |path: &Path| host.real(path).unwrap_or_else(|_| path.to_owned());
    let folders = [reference_client(me).host_path("."), PathBuf::from(&*module.source)];
    let path = real(path);
    if folders.iter().any(|folder| folder.is_absolute() && path.starts_with(context_folder(me, &real(folder)))) {
        return Ok(());
    }
    let fault = Fault::denied(format!(
        "the code of module `{}` names the module source `{}`, which is in neither its own context directory nor the \
         user's workspace",
        module.source,
        path.display()
    ));
    Err(fault.with_hint("pass the module source to the function as an argument"))
}

/// The nearest folder with a configuration file: `path` or one above it, up to the root of its git
/// repository.
fn find_config_folder(me: &Client, host: &Client, path: &Path) -> Option<PathBuf> {
    let files = &me.services.ops.ports().host;
    let repository = files.find_up(path, ".git").and_then(|git| git.parent().map(Path::to_owned));
    let top = repository.filter(|top| top.starts_with(&host.host_root)).unwrap_or_else(|| host.host_root.clone());
    let nearest = |format: ConfigFormat| files.find_up(path, format.file_name()).filter(|it| it.starts_with(&top));
    let folders = ConfigFormat::ALL.into_iter().filter_map(|format| nearest(format)?.parent().map(Path::to_owned));
    folders.max_by_key(|folder| folder.components().count())
}

/// The format of the configuration in a folder of the host. `None` when there is no configuration.
fn format_in(me: &Client, folder: &Path) -> Option<ConfigFormat> {
    ConfigFormat::ALL.into_iter().find(|format| exists(me, &folder.join(format.file_name())))
}

/// The context in which files of a module source are read from the host. Users did not ask for this
/// step: it is shown only if it takes long or fails.
pub(crate) fn internal(me: &Client) -> OpContext {
    me.op_cx.reporting(&me.op_cx.events.internal())
}

/// The text and the parsed configuration in the folder `root` of a directory. Both are empty when
/// there is none.
async fn directory_config(me: &Client, directory: &Directory, root: &str) -> Result<(Arc<str>, ModuleConfig)> {
    let ops = &me.services.ops;
    for format in ConfigFormat::ALL {
        let path = directory.place.path.join_inside(root).join(format.file_name());
        let file = TreePath { fs: directory.place.fs.clone(), path };
        if ops.stat(&me.op_cx, &file, true).await?.is_some() {
            let place = format!("{}/{}", if root.is_empty() { "." } else { root }, format.file_name());
            let text = utf8(ops.read(&me.op_cx, &file).await?, &place)?;
            let config = if text.is_empty() { ModuleConfig::default() } else { read_config(format, &text, &place)? };
            return Ok((text.into(), config));
        }
    }
    Ok(("".into(), ModuleConfig::default()))
}

/// Reads the text of a configuration file at `place`.
fn read_config(format: ConfigFormat, text: &str, place: &str) -> Result<ModuleConfig> {
    let config = ModuleConfig::read(format, text, place)?;
    config.check_sdk_of_source().map_err(|e| e.context(format!("cannot read module configuration `{place}`")))?;
    Ok(config)
}

/// Whether there is something at a path of the host.
pub(crate) fn exists(me: &Client, path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
    let found = me.services.ops.ports().host.find_up(parent, &name.to_string_lossy());
    found.as_deref() == Some(path)
}

fn utf8(bytes: Vec<u8>, place: &str) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| Fault::user(format!("cannot read module configuration `{place}`: it is not UTF-8 text")))
}

/// The context directory of a source without a configuration: the empty folder `root`. No file
/// belongs to such a source.
pub(crate) fn empty_context(root: &str) -> Fs {
    let path = AbsPath::new(root);
    match path.is_root() {
        true => Fs::scratch(),
        false => {
            Fs::new(FsOp::Edit { base: Fs::scratch(), edit: Edit::MakeDir { path, permissions: 0o755, owner: None } })
        }
    }
}
