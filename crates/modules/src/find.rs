//! Finding sources of modules: on the host of a client, in directories of the API, and what they use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, try_join_all};
use rondel_fault::{Fault, Result};
use rondel_model::op::{Edit, Filter, TreePath};
use rondel_model::{AbsPath, Directory, Fs, FsOp, Reach};
use rondel_query::Caller;
use rondel_session::{Client, client};

use crate::config::{Config, Dependency, FILE_NAME};
use crate::load::{Modules, lock, remember};
use crate::manifest::{self, Form, Maker};
use crate::named::Named;
use crate::remote::GitOrigin;
use crate::source::{ModuleSource, Reference, Role, SourceKind, classify, context_patterns, inside_context};
use crate::used::{Missing, Unfound, Used};

/// How a reference is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup<'a> {
    /// The commit that was pinned.
    pub pin: &'a str,
    /// The folder itself, not one above it.
    pub exact: bool,
    /// A folder of a repository without a configuration, or a path of the host where nothing is, is a source, too.
    pub allow_missing: bool,
    /// A folder of the host without a configuration is a source, too: one that can be configured.
    pub unconfigured: bool,
    /// Reach of connections. `None`: that of the caller, who names the reference.
    pub reach: Option<Reach>,
}

impl<'a> Lookup<'a> {
    /// As the configuration of a module says of its SDK or entrypoint.
    fn of(maker: &'a Maker, named: &Named) -> Self {
        Self { pin: &maker.pin, reach: Some(named.reach(&maker.reference)), ..Self::default() }
    }

    /// As the configuration of a module says of a dependency.
    fn dependency(dependency: &'a Dependency, named: &Named) -> Self {
        Self { pin: &dependency.pin, reach: Some(named.reach(&dependency.source)), ..Self::default() }
    }
}

/// A source to be found in the folder `root`.
pub(crate) struct Wanted<P> {
    root: P,
    renamed: Option<String>,
    role: Role,
    /// The places and names of the modules that need it.
    above: Vec<(String, String)>,
    /// The repository that it is in.
    git: Option<Arc<GitOrigin>>,
}

impl<P> Wanted<P> {
    /// Under its own name, for its own functions.
    pub(crate) fn of(root: P) -> Self {
        Self { root, renamed: None, role: Role::Module, above: Vec::new(), git: None }
    }

    /// For making runtimes, types or clients of other modules.
    pub(crate) fn tool(root: P) -> Self {
        Self { role: Role::Sdk, ..Self::of(root) }
    }

    /// In another folder.
    pub(crate) fn at<Q>(self, root: Q) -> Wanted<Q> {
        Wanted { root, renamed: self.renamed, role: self.role, above: self.above, git: self.git }
    }

    /// In a folder of a git repository.
    pub(crate) fn from(mut self, git: Arc<GitOrigin>) -> Self {
        self.git = Some(git);
        self
    }
}

impl Modules {
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
            Reference::Local => {}
            Reference::Either if exists => {}
            _ => {
                let wanted = Wanted::of(String::new());
                return self.in_repository(caller, reference, lookup, wanted).await.map_err(Unfound::fault);
            }
        }
        if !exists {
            if let Some(dependency) = self.dependency(caller, reference).await? {
                return Ok(dependency);
            }
            if !lookup.allow_missing {
                // Users match on this text; see docs/protocol.md#references-to-modules.
                return Err(Fault::user(format!("module source \"{reference}\" does not exist")));
            }
        }
        let root = match described(me, host, &path).filter(|root| !lookup.exact || *root == path) {
            Some(root) => root,
            None if lookup.unconfigured || lookup.allow_missing => path,
            None => {
                return Err(Fault::user(format!("no `{FILE_NAME}` in `{}` or above it", path.display()))
                    .with_hint("name the folder of a module with `-m`"));
            }
        };
        self.local(caller, Wanted::of(root)).await.map_err(Unfound::fault)
    }

    /// The dependency called `name` of the module in whose folder the caller is.
    async fn dependency(&self, caller: &Arc<Caller>, name: &str) -> Result<Option<Arc<ModuleSource>>> {
        if name.starts_with(['/', '.']) {
            return Ok(None);
        }
        let me = client(caller)?;
        let host = host_of(me);
        let Some(root) = described(me, host, &host.host_path(".")) else { return Ok(None) };
        let source = self.local(caller, Wanted::of(root)).await.map_err(Unfound::fault)?;
        match source.dependencies.iter().find(|dependency| dependency.name() == name) {
            None => Ok(None),
            Some(Used::Found(dependency)) => Ok(Some(dependency.clone())),
            Some(Used::Missing(missing)) => Err(missing.why.clone().context(format!("find the dependency `{name}`"))),
        }
    }

    /// The source that is described in a folder of the host.
    pub(crate) fn local<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        wanted: Wanted<PathBuf>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>, Unfound>> {
        Box::pin(async move {
            let Wanted { root, renamed, role, above, git: _ } = wanted;
            let me = client(caller)?;
            let named = Named::by(host_of(me));
            let ops = &me.services.ops;
            let files = ops.ports().host.clone();
            // What belongs to a module is picked by paths below its context directory, where links are not followed.
            let root = files.real(&root).unwrap_or(root);
            let git = files.find_up(&root, ".git").filter(|git| git.starts_with(&host_of(me).host_root));
            let git = git.and_then(|git| git.parent().map(Path::to_owned));
            let context = git.unwrap_or_else(|| root.clone());
            let below = path_below(&context, &root).unwrap_or_default();
            let (config_text, config) = self.read_config(me, &root).await?;
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            let path = followed(above, &root.to_string_lossy(), &name)?;
            let (mut include, mut exclude) = context_patterns(&below, &config)?;
            exclude.push(".git".into());
            // A source folder that is a link is taken with the folder that it leads to.
            let code = root.join(config.source_subpath());
            if let Some(real) = files.real(&code).ok().filter(|real| *real != code) {
                let (link, folder) = (path_below(&context, &code), path_below(&context, &real));
                include.extend(link.into_iter().chain(folder.map(|folder| format!("{folder}/**"))));
            }
            let filter = Filter { include, exclude, gitignore: true };
            let snapshot = async {
                if config_text.is_empty() {
                    return Ok(ops.tree(&me.op_cx, &unconfigured(&below)).await?);
                }
                let imported = ops.import_dir(&me.op_cx, &context, &filter).await;
                imported.map_err(|e| e.context(format!("load the source of module `{name}`")).into())
            };
            let dependency = |dependency: &Dependency| {
                let dependency = dependency.clone();
                let (context, below, above, named) = (context.clone(), below.clone(), path.clone(), named.clone());
                async move {
                    let renamed = Some(dependency.name.clone()).filter(|name| !name.is_empty());
                    let wanted = Wanted { renamed, above, ..Wanted::of(String::new()) };
                    let is_there = |inside: &str| exists(me, &context.join(inside));
                    let inside = match classify(&dependency.source, &dependency.pin) {
                        Reference::Either
                            if inside_context(&below, &dependency.source).is_some_and(|it| is_there(&it)) =>
                        {
                            local_dependency(&dependency.source, &below, &context)?
                        }
                        Reference::Local => local_dependency(&dependency.source, &below, &context)?,
                        _ => {
                            let lookup = Lookup::dependency(&dependency, &named);
                            let found = self.in_repository(caller, &dependency.source, lookup, wanted).await;
                            return used(&dependency, found);
                        }
                    };
                    let root = context.join(&inside);
                    used(
                        &dependency,
                        match is_there(&inside) {
                            true => self.local(caller, wanted.at(root)).await,
                            false => Err(Fault::user(format!("there is no folder `{}`", root.display())).into()),
                        },
                    )
                }
            };
            let sdk = async {
                let Some(sdk) = config.maker() else { return Ok(None) };
                let wanted = Wanted { above: path.clone(), ..Wanted::tool(String::new()) };
                let found = match sdk_place(&name, &sdk, &below)? {
                    Location::Remote => {
                        self.in_repository(caller, &sdk.reference, Lookup::of(&sdk, &named), wanted).await
                    }
                    Location::Inside(inside) if form_in(me, &context.join(&inside)).is_some() => {
                        self.local(caller, wanted.at(context.join(inside))).await
                    }
                    Location::Inside(_) => return Err(no_sdk(&name, &sdk).into()),
                };
                found.map(Some).map_err(|e| e.context(sdk_of(&name, &sdk)))
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

    async fn read_config(&self, me: &Client, root: &Path) -> Result<(Arc<str>, Config)> {
        let Some(form) = form_in(me, root) else { return Ok(("".into(), Config::default())) };
        let path = root.join(form.file_name());
        let place = path.to_string_lossy().into_owned();
        let snapshot = me.services.ops.import_file(&me.op_cx, &path).await?;
        let key = snapshot.digest();
        let known = lock(&self.configs).get(&key).cloned();
        let text = match known {
            Some(text) => text,
            None => {
                let file = TreePath { fs: Fs::known(snapshot), path: AbsPath::new(form.file_name()) };
                let text: Arc<str> = utf8(me.services.ops.read(&me.op_cx, &file).await?, &place)?.into();
                remember(&self.configs, key, text.clone());
                text
            }
        };
        let config = Config::read(form, &text, &place)?;
        Ok((text, config))
    }

    /// The source that is described in the folder `root` of a directory of the API.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub async fn in_directory(
        &self,
        caller: &Arc<Caller>,
        directory: &Directory,
        root: String,
    ) -> Result<Arc<ModuleSource>> {
        self.inside(caller, directory, Wanted::of(root)).await.map_err(Unfound::fault)
    }

    /// The source that is described in a folder of `directory`.
    pub(crate) fn inside<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        directory: &'a Directory,
        wanted: Wanted<String>,
    ) -> BoxFuture<'a, Result<Arc<ModuleSource>, Unfound>> {
        Box::pin(async move {
            let Wanted { root, renamed, role, above, git } = wanted;
            let me = client(caller)?;
            let named = Named::inside(me, git.as_ref());
            let ops = &me.services.ops;
            let (config_text, config) = config_in(me, directory, &root).await?;
            let name = renamed.clone().unwrap_or_else(|| config.name.clone());
            let path = followed(above, &format!("{} {root}", directory.place.fs.digest()), &name)?;
            let (include, exclude) = context_patterns(&root, &config)?;
            let filter = Filter { include, exclude, gitignore: false };
            let filtered = Fs::new(FsOp::Filter { source: directory.place.clone(), filter: filter.into() });
            // As in `local`. A source in a directory of the API has nowhere else to take files from when it is configured.
            let empty = git.is_some() && config_text.is_empty();
            let context = if empty { unconfigured(&root) } else { filtered };
            let snapshot = ops.tree(&me.op_cx, &context).await?;
            let mut dependencies = Vec::new();
            for dependency in &config.dependencies {
                let renamed = (!dependency.name.is_empty()).then(|| dependency.name.clone());
                let wanted = Wanted { renamed, above: path.clone(), git: git.clone(), ..Wanted::of(String::new()) };
                let found = if names_server(&dependency.source, &dependency.pin) {
                    let lookup = Lookup::dependency(dependency, &named);
                    self.in_repository(caller, &dependency.source, lookup, wanted).await
                } else {
                    let inside = local_dependency(&dependency.source, &root, Path::new("/"))?;
                    self.inside(caller, directory, wanted.at(inside)).await
                };
                dependencies.push(used(dependency, found)?);
            }
            let sdk = match config.maker() {
                None => None,
                Some(sdk) => {
                    let wanted = Wanted { above: path, git: git.clone(), ..Wanted::tool(String::new()) };
                    let found = match sdk_place(&name, &sdk, &root)? {
                        Location::Remote => {
                            self.in_repository(caller, &sdk.reference, Lookup::of(&sdk, &named), wanted).await
                        }
                        Location::Inside(root) => self.inside(caller, directory, wanted.at(root)).await,
                    };
                    let found = found.map_err(|e| e.context(sdk_of(&name, &sdk)))?;
                    Some(found).filter(|found| found.config_exists()).ok_or_else(|| no_sdk(&name, &sdk)).map(Some)?
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

/// `path` relative to the folder `context`; none when it is elsewhere.
fn path_below(context: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(context).ok().map(|path| path.to_string_lossy().into_owned())
}

/// A dependency that was looked for.
fn used(dependency: &Dependency, found: Result<Arc<ModuleSource>, Unfound>) -> Result<Used, Unfound> {
    match found {
        Ok(source) => Ok(Used::Found(source)),
        Err(unfound) => Ok(Used::Missing(Missing::new(dependency, unfound.tolerated()?))),
    }
}

/// The modules on the way, with one more.
fn followed(mut above: Vec<(String, String)>, place: &str, name: &str) -> Result<Vec<(String, String)>, Unfound> {
    if let Some((_, first)) = above.iter().find(|(known, _)| known == place) {
        // Users match on this text; see docs/protocol.md#references-to-modules.
        return Err(Unfound::Circle(Fault::user(format!(
            "module \"{first}\" has a circular dependency on itself through dependency \"{name}\""
        ))));
    }
    above.push((place.to_owned(), name.to_owned()));
    Ok(above)
}

/// What is being done.
pub(crate) fn sdk_of(module: &str, sdk: &Maker) -> String {
    format!("find the {} `{}` of module `{module}`", sdk.word, sdk.written)
}

/// That there is no such SDK.
pub(crate) fn no_sdk(module: &str, sdk: &Maker) -> Fault {
    let Maker { word, written: sdk, .. } = sdk;
    if *word != Maker::sdk("").word {
        return Fault::user(format!("the {word} `{sdk}` of module `{module}` is no folder with a module"))
            .with_hint(format!("it has a `{FILE_NAME}` or a `{}` of its own", manifest::FILE_NAME));
    }
    let built_in = rondel_sdk::BUILTIN.join(", ");
    // Users match on the first words; see docs/protocol.md#functions-of-an-sdk.
    Fault::user(format!(
        "invalid SDK: \"{sdk}\" of module `{module}` is neither built in nor a folder with a `{FILE_NAME}`"
    ))
    .with_hint(format!("built in: {built_in}; a path is relative to the folder of the module's `{FILE_NAME}`"))
}

/// Whether a reference means a server also where nobody can look for a folder of that name.
fn names_server(reference: &str, pin: &str) -> bool {
    match classify(reference, pin) {
        Reference::Git => true,
        Reference::Either => reference.split_once('/').is_some_and(|(host, _)| host.contains('.')),
        Reference::Local => false,
    }
}

/// Where a module that another one names is.
pub(crate) enum Location {
    /// In a folder of the same context directory.
    Inside(String),
    /// In a git repository.
    Remote,
}

/// Where the SDK of a module is, when the module is in the folder `root`.
pub(crate) fn sdk_place(module: &str, sdk: &Maker, root: &str) -> Result<Location> {
    let Maker { word, written, reference, pin } = sdk;
    if reference.starts_with('/') {
        return Err(Fault::user(format!("the path of the {word} `{written}` of module `{module}` is absolute"))
            .with_hint("write it relative to the folder of the module's configuration"));
    }
    if names_server(reference, pin) {
        return Ok(Location::Remote);
    }
    let outside = || {
        Fault::user(format!("the {word} `{written}` of module `{module}` is outside of the module's context directory"))
            .with_hint("that is the nearest folder above with a `.git`; without one, the module's own folder")
    };
    inside_context(root, reference).map(Location::Inside).ok_or_else(outside)
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

/// Whose files module references mean: those of the client itself, unless it is a module's own code.
fn host_of(me: &Client) -> &Client {
    if me.own_modules { me } else { me.host_client() }
}

/// The nearest folder that describes a module: `path` or one above it.
fn described(me: &Client, host: &Client, path: &Path) -> Option<PathBuf> {
    let files = &me.services.ops.ports().host;
    let nearest = |form: Form| files.find_up(path, form.file_name()).filter(|found| found.starts_with(&host.host_root));
    let folders = Form::ALL.into_iter().filter_map(|form| nearest(form)?.parent().map(Path::to_owned));
    folders.max_by_key(|folder| folder.components().count())
}

/// In which form a folder of the host describes a module; none: in none.
fn form_in(me: &Client, folder: &Path) -> Option<Form> {
    Form::ALL.into_iter().find(|form| exists(me, &folder.join(form.file_name())))
}

/// What the folder `root` of a directory says of a module, verbatim and read; nothing when it describes none.
async fn config_in(me: &Client, directory: &Directory, root: &str) -> Result<(Arc<str>, Config)> {
    let ops = &me.services.ops;
    for form in Form::ALL {
        let path = directory.place.path.join_inside(root).join(form.file_name());
        let file = TreePath { fs: directory.place.fs.clone(), path };
        if ops.stat(&me.op_cx, &file, true).await?.is_some() {
            let place = format!("{}/{}", if root.is_empty() { "." } else { root }, form.file_name());
            let text = utf8(ops.read(&me.op_cx, &file).await?, &place)?;
            let config = if text.is_empty() { Config::default() } else { Config::read(form, &text, &place)? };
            return Ok((text.into(), config));
        }
    }
    Ok(("".into(), Config::default()))
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
/// The context directory of a source without a configuration, which says of no file that it belongs to the module: the empty
/// folder `root`.
fn unconfigured(root: &str) -> Fs {
    let path = AbsPath::new(root);
    match path.is_root() {
        true => Fs::scratch(),
        false => {
            Fs::new(FsOp::Edit { base: Fs::scratch(), edit: Edit::MakeDir { path, permissions: 0o755, owner: None } })
        }
    }
}
