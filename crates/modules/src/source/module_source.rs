//! A module's source as data: everything that loading needs, in a form that survives sessions.
//!
//! *Invariants.* A source is a snapshot with a configuration, never a folder that may change. Its call, a
//! selection of the engine's own field [`FIELD`], holds all of it, so that an ID of anything that a module
//! made can be loaded later without looking at the host again.

use std::path::Path;
use std::sync::Arc;

use rondel_api::reach::SEAL;
use rondel_call::{Call, CallSpec, Literal};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Directory, Fs, Platform, Snapshot};
use rondel_session::Client;
use rondel_version::View;

use crate::config::dagger_module_toml::ConfigFormat;
use crate::config::module_config::ModuleConfig;
use crate::source::dependency::{Dependency, Unresolved};
use crate::source::git_source::GitOrigin;

/// The engine's own field that gives a source from everything it consists of.
pub const FIELD: &str = "_moduleSource";
/// Dependencies of dependencies are followed this deep.
const MAX_DEPTH: usize = 64;

/// Where a source was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// On the host of a client.
    Local,
    /// In a directory of the API.
    Dir,
    /// In a git repository on a server.
    Git,
}

impl SourceKind {
    /// The member of `ModuleSourceKind`.
    pub fn member(self) -> &'static str {
        match self {
            SourceKind::Local => "LOCAL_SOURCE",
            SourceKind::Dir => "DIR_SOURCE",
            SourceKind::Git => "GIT_SOURCE",
        }
    }
}

/// A module's source.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// Where it was found.
    pub kind: SourceKind,
    /// The files that belong to it, laid out as in the context directory.
    pub snapshot: Snapshot,
    /// The context directory in `snapshot`.
    pub base: AbsPath,
    /// The folder of `dagger.json`, relative to the context directory; empty: the context directory.
    pub root: String,
    /// The path of the context directory on the host; empty for directories of the API.
    pub host: String,
    /// The engine's seal of `host`. An ID with another `host` has none that fits.
    pub host_seal: Arc<str>,
    /// The repository, for those that are in one.
    pub git: Option<Arc<GitOrigin>>,
    /// What the file that describes the module says, verbatim; empty when there is none.
    pub config_text: Arc<str>,
    /// The same, read.
    pub config: ModuleConfig,
    /// The name that a dependent gives it.
    pub renamed: Option<String>,
    /// What it uses, as its configuration lists it.
    pub dependencies: Vec<Dependency>,
    /// The module that is its SDK or its entrypoint; none: a built-in one, or none at all.
    pub sdk: Option<Arc<ModuleSource>>,
    /// What the module is there for.
    pub role: SourceRole,
}

/// What a module is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceRole {
    /// Its own functions.
    #[default]
    Module,
    /// Making runtimes and types of other modules: results of its functions are kept unless they say otherwise.
    Sdk,
}

impl ModuleSource {
    /// The dependencies that were found.
    pub fn found(&self) -> impl Iterator<Item = &Arc<ModuleSource>> {
        self.dependencies.iter().filter_map(Dependency::found)
    }

    /// The name under which it is served.
    pub fn name(&self) -> &str {
        self.renamed.as_deref().unwrap_or(&self.config.name)
    }

    /// Whether there is a file that describes the module.
    pub fn config_exists(&self) -> bool {
        !self.config_text.is_empty()
    }

    /// The context directory.
    pub fn context(&self) -> Directory {
        let place = TreePath { fs: Fs::known(self.snapshot.clone()), path: self.base.clone() };
        Directory { place, platform: Platform::native(), error: None }
    }

    /// The context directory with everything that is in it, as far as that is known.
    pub fn whole_context(&self) -> Directory {
        match &self.git {
            Some(git) => git.directory(),
            None => self.context(),
        }
    }

    /// The folder of `dagger.json` in `snapshot`.
    pub fn root_path(&self) -> AbsPath {
        self.base.join_inside(&self.root)
    }

    /// How people name it.
    pub fn describe(&self) -> String {
        match self.kind {
            SourceKind::Local => AbsPath::new(&self.host).join_inside(&self.root).to_string(),
            SourceKind::Dir => format!("directory `{}`", self.root),
            SourceKind::Git => self.git.as_ref().map(|git| git.reference(&self.root)).unwrap_or_default(),
        }
    }

    /// Where it was found: a folder of a host, or a repository with folder and version; empty for
    /// one in a directory.
    pub fn place(&self) -> String {
        match self.kind {
            SourceKind::Dir => String::new(),
            SourceKind::Local | SourceKind::Git => self.describe(),
        }
    }

    /// The API version that the module sees.
    ///
    /// # Errors
    /// When the module asks for a version that is not served.
    pub fn view(&self) -> Result<View> {
        rondel_version::of_module(&self.config.engine_version).map_err(|e| Fault::user(e.to_string()))
    }

    /// What the module is, wherever it was found: equal sources share results.
    // IDENTITY: docs/protocol.md#identity-of-a-source.
    pub fn digest(&self) -> Digest {
        let sdk = self.config.sdk.as_ref();
        let dependencies: Vec<(&str, Digest)> = self.found().map(|d| (d.name(), d.digest())).collect();
        let content = (self.snapshot.digest(), &self.base, &*self.config_text);
        let names = (&self.config.name, &self.root, self.config.source_subpath());
        let of = self.sdk.as_ref().map(|sdk| sdk.digest());
        rondel_digest::of("module-source/v1", &(names, content, (sdk, of), dependencies))
    }

    /// The same content, wherever it was found: what an SDK is given, so that its results are shared.
    // IDENTITY: docs/protocol.md#functions-of-an-sdk.
    pub fn content(&self) -> Self {
        Self {
            kind: SourceKind::Dir,
            host: String::new(),
            host_seal: "".into(),
            git: None,
            dependencies: self.dependencies.iter().map(Dependency::content).collect(),
            sdk: self.sdk.as_ref().map(|sdk| Arc::new(sdk.content())),
            ..self.clone()
        }
    }

    /// The context directory on the machine of a client.
    ///
    /// # Errors
    /// When this engine did not find the module there: a process in a container can write any ID, and
    /// would read any directory of the machine by it.
    pub fn host_directory(&self, me: &Client) -> Result<&Path> {
        // How long it takes to compare two MACs of them says nothing about how much of them is equal.
        let want = me.services.host_seal(&self.host).to_string();
        let [given, want] = [&*self.host_seal, &want].map(|text| me.services.mac(text.as_bytes()));
        if given != want {
            return Err(Fault::denied(format!(
                "cannot read files of module `{}` on the machine: its ID was not made by this engine",
                self.name()
            ))
            .with_hint("load the module again by its path"));
        }
        Ok(Path::new(&self.host))
    }

    /// The call that gives it.
    pub fn call(&self) -> Arc<Call> {
        let text = |text: &str| Literal::String(text.into());
        let layers = self.snapshot.layers().iter().map(|layer| text(&layer.to_string())).collect();
        let dependencies = self.dependencies.iter().map(Dependency::written).collect();
        let spec = CallSpec::new("ModuleSource", FIELD)
            .arg("kind", text(self.kind.member()))
            .arg("sdk", self.sdk.as_ref().map_or(Literal::Null, |sdk| Literal::Call(sdk.call())))
            .arg("isSdk", Literal::Bool(self.role == SourceRole::Sdk))
            .arg("layers", Literal::List(layers))
            .arg("base", text(self.base.as_str()))
            .arg("root", text(&self.root))
            .arg("host", text(&self.host))
            .arg("hostSeal", Literal::String(self.host_seal.clone()))
            .arg("config", Literal::String(self.config_text.clone()))
            .arg("name", self.renamed.as_deref().map_or(Literal::Null, text))
            .arg("dependencies", Literal::List(dependencies));
        let spec = match &self.git {
            Some(git) => spec.arg("git", written(git)),
            None => spec,
        };
        let spec = match self.git.as_ref().filter(|git| !git.seal.is_empty()) {
            Some(git) => spec.arg(SEAL, Literal::String(git.seal.clone())),
            None => spec,
        };
        let spec = match self.config.format {
            ConfigFormat::Json => spec,
            ConfigFormat::Toml => spec.arg("isManifest", Literal::Bool(true)),
        };
        Call::new(None, spec)
    }

    /// The source that a call of [`FIELD`] gives.
    ///
    /// # Errors
    /// When it is no such call, or damaged.
    pub fn of_call(call: &Call) -> Result<Self> {
        Self::read(call, 0)
    }

    fn read(call: &Call, depth: usize) -> Result<Self> {
        let damaged = |what: &str| Fault::user(format!("cannot load a module source: its ID has no valid `{what}`"));
        if &**call.field() != FIELD || depth > MAX_DEPTH {
            return Err(damaged("field"));
        }
        let get = |name: &str| call.arg(name);
        let text = |name: &str| match get(name) {
            Some(Literal::String(text)) => Ok(text.clone()),
            _ => Err(damaged(name)),
        };
        let list = |name: &str| match get(name) {
            Some(Literal::List(items)) => Ok(&items[..]),
            _ => Err(damaged(name)),
        };
        let layer = |item: &Literal| match item {
            Literal::String(text) => text.parse().map(rondel_model::LayerId).map_err(|_| damaged("layers")),
            _ => Err(damaged("layers")),
        };
        let module = |item: &Literal| match item {
            Literal::Call(call) => Self::read(call, depth + 1).map(Arc::new),
            _ => Err(damaged("dependencies")),
        };
        let dependency = |item: &Literal| match Unresolved::read(item) {
            Some(missing) => Ok(Dependency::Unresolved(missing)),
            None => module(item).map(Dependency::Found),
        };
        let layers: Vec<_> = list("layers")?.iter().map(layer).collect::<Result<_>>()?;
        let config_text = text("config")?;
        let format =
            if get("isManifest") == Some(&Literal::Bool(true)) { ConfigFormat::Toml } else { ConfigFormat::Json };
        let config = if config_text.is_empty() {
            ModuleConfig::default()
        } else {
            ModuleConfig::read(format, &config_text, format.file_name())?
        };
        Ok(Self {
            kind: match &*text("kind")? {
                "DIR_SOURCE" => SourceKind::Dir,
                "GIT_SOURCE" => SourceKind::Git,
                _ => SourceKind::Local,
            },
            git: get("git")
                .map(|git| origin(git, text(SEAL).unwrap_or_default()).ok_or_else(|| damaged("git")).map(Arc::new))
                .transpose()?,
            snapshot: layers.into(),
            base: AbsPath::new(&text("base")?),
            root: text("root")?.to_string(),
            host: text("host")?.to_string(),
            host_seal: text("hostSeal").unwrap_or_default(),
            config_text,
            config,
            renamed: text("name").ok().map(|name| name.to_string()),
            dependencies: list("dependencies")?.iter().map(dependency).collect::<Result<_>>()?,
            sdk: get("sdk").filter(|sdk| **sdk != Literal::Null).map(module).transpose()?,
            role: if get("isSdk") == Some(&Literal::Bool(true)) { SourceRole::Sdk } else { SourceRole::Module },
        })
    }
}

fn written(git: &GitOrigin) -> Literal {
    let text = |text: &str| Literal::String(text.into());
    let whole = git.whole.layers().iter().map(|layer| text(&layer.to_string()));
    let texts = [&git.url, &git.clone_ref, &git.version, &git.name, &git.commit];
    Literal::List(texts.into_iter().map(|it| text(it)).chain(whole).collect())
}

fn origin(git: &Literal, seal: Arc<str>) -> Option<GitOrigin> {
    let Literal::List(items) = git else { return None };
    let texts: Option<Vec<&str>> =
        items.iter().map(|item| if let Literal::String(text) = item { Some(&**text) } else { None }).collect();
    let [url, clone_ref, version, name, commit, whole @ ..] = texts.as_deref()? else { return None };
    let whole: Vec<_> =
        whole.iter().map(|layer| layer.parse().map(rondel_model::LayerId).ok()).collect::<Option<_>>()?;
    let [url, clone_ref, version, name, commit] = [url, clone_ref, version, name, commit].map(|it| (*it).to_owned());
    Some(GitOrigin { url, clone_ref, version, name, commit, whole: whole.into(), seal })
}

/// `path` taken relative to the folder `from`, both inside a context; none when it leaves the context.
pub fn inside_context(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What a reference to a module means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A path on the host.
    Local,
    /// A git repository.
    Git,
    /// A path when there is such a folder, else a git repository.
    Either,
}

/// Classifies a reference as docs/protocol.md#references-to-modules says.
pub fn classify(reference: &str, pin: &str) -> ReferenceKind {
    let scheme = ["http://", "https://", "ssh://", "git://"].iter().any(|scheme| reference.starts_with(scheme));
    let scp = || {
        let (host, path) = reference.split_once(':')?;
        (host.contains('@') && !host.contains('/') && !path.is_empty()).then_some(())
    };
    if !pin.is_empty() || scheme || scp().is_some() {
        return ReferenceKind::Git;
    }
    if reference.starts_with(['/', '.', '~']) || !reference.contains('.') {
        ReferenceKind::Local
    } else {
        ReferenceKind::Either
    }
}

/// What of the context directory belongs to the module that is described in the folder `root`: what is included,
/// and what is not.
///
/// # Errors
/// When a path leaves the context directory.
pub fn context_patterns(root: &str, config: &ModuleConfig) -> Result<(Vec<String>, Vec<String>)> {
    let file = config.format.file_name();
    let at = |path: &str| {
        let outside =
            || Fault::user(format!("path \"{path}\" in `{file}` of `{}` is outside of context directory", config.name));
        inside_context(root, path).ok_or_else(outside)
    };
    let mut include: Vec<String> = vec![at(file)?];
    let source = at(config.source_subpath())?;
    include.push(if source.is_empty() { "**".to_owned() } else { format!("{source}/**") });
    let mut exclude = Vec::new();
    for pattern in &config.include {
        match pattern.strip_prefix('!') {
            Some(pattern) => exclude.push(at(pattern)?),
            None => include.push(at(pattern)?),
        }
    }
    for pattern in &config.exclude {
        exclude.push(at(pattern)?);
    }
    Ok((include, exclude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let check =
            |reference: &str, pin: &str, want: ReferenceKind| assert_eq!(classify(reference, pin), want, "{reference}");
        check("./greeter", "", ReferenceKind::Local);
        check("..", "", ReferenceKind::Local);
        check("/abs", "", ReferenceKind::Local);
        check("greeter", "", ReferenceKind::Local);
        check("github.com/x/y", "", ReferenceKind::Either);
        check("github.com/x/y", "abc", ReferenceKind::Git);
        check("https://x.org/y", "", ReferenceKind::Git);
        check("git@github.com:x/y", "", ReferenceKind::Git);
        check("some/dir@v1", "", ReferenceKind::Local);
    }

    #[test]
    fn paths_do_not_leave_their_context() {
        let check =
            |from: &str, path: &str, want: Option<&str>| assert_eq!(inside_context(from, path).as_deref(), want);
        check("a/b", "../c", Some("a/c"));
        check("a", "..", Some(""));
        check("", "..", None);
        check("a", "../../x", None);
        check("a", "./x/./y", Some("a/x/y"));
    }

    #[test]
    fn what_belongs_to_a_module() {
        let config = ModuleConfig {
            source: "src".into(),
            include: vec!["../shared".into(), "!src/tmp".into()],
            exclude: vec!["**/*.log".into()],
            ..ModuleConfig::default()
        };
        let (include, exclude) = context_patterns("mods/a", &config).expect("stays inside");
        assert_eq!(include, ["mods/a/dagger.json", "mods/a/src/**", "mods/shared"]);
        assert_eq!(exclude, ["mods/a/src/tmp", "mods/a/**/*.log"]);
        let included = |root: &str| context_patterns(root, &ModuleConfig::default()).map(|(include, _)| include).ok();
        assert_eq!(included("").as_deref(), Some(["dagger.json".to_owned(), "**".to_owned()].as_slice()));
        assert_eq!(included("m").as_deref(), Some(["m/dagger.json".to_owned(), "m/**".to_owned()].as_slice()));
        let error =
            context_patterns("mods", &config).and_then(|_| context_patterns("", &config)).map_err(|e| e.to_string());
        assert_eq!(error, Err("path \"../shared\" in `dagger.json` of `` is outside of context directory".to_owned()));
    }

    #[test]
    fn a_source_survives_as_a_call() {
        let text: Arc<str> = r#"{"name": "a", "sdk": "python", "engineVersion": "v0.21.8"}"#.into();
        let dependency = ModuleSource {
            kind: SourceKind::Local,
            snapshot: Snapshot::new(vec![rondel_model::LayerId(Digest::of_bytes(b"x"))]),
            base: AbsPath::root(),
            root: "mods/a".into(),
            host: "/repository".into(),
            host_seal: "sealed".into(),
            git: None,
            config: ModuleConfig::parse(&text, "x").expect("parses"),
            config_text: text,
            renamed: None,
            dependencies: Vec::new(),
            sdk: None,
            role: SourceRole::Sdk,
        };
        let mut source = dependency.clone();
        let missing = Unresolved { name: "gone".into(), why: Fault::user("because").context("find it") };
        source.dependencies = vec![Dependency::Unresolved(missing), Dependency::Found(Arc::new(dependency.clone()))];
        source.sdk = Some(Arc::new(dependency.clone()));
        source.role = SourceRole::Module;
        source.renamed = Some("b".into());
        let call = source.call();
        let key = rondel_call::SealKey::derived(&[7; 32]);
        let again = rondel_call::decode(&rondel_call::encode(&call, &key), &key).expect("decodes");
        let read = ModuleSource::of_call(&again).expect("reads");
        assert_eq!((read.digest(), read.call().digest()), (source.digest(), call.digest()));
        assert_eq!((read.name(), read.dependencies[1].name()), ("b", "a"));
        let Dependency::Unresolved(missing) = &read.dependencies[0] else { panic!("what is not there was found") };
        assert_eq!((&*missing.name, &*missing.why.full_message()), ("gone", "find it: because"));
        assert_eq!(read.sdk.as_ref().map(|sdk| sdk.role), Some(SourceRole::Sdk));
        assert_eq!((read.content().digest(), &*read.content().host), (source.digest(), ""));
        assert_ne!(ModuleSource { sdk: None, ..read.clone() }.digest(), source.digest());
        let mut elsewhere = source.clone();
        elsewhere.host = "/other".into();
        assert_eq!(elsewhere.digest(), source.digest());
        let git = GitOrigin {
            url: "https://h/r".into(),
            clone_ref: "h/r".into(),
            version: "v1".into(),
            name: "refs/tags/v1".into(),
            commit: "c".into(),
            whole: dependency.snapshot.clone(),
            seal: "s".into(),
        };
        let remote = ModuleSource { kind: SourceKind::Git, git: Some(Arc::new(git)), ..source.clone() };
        let read = ModuleSource::of_call(&remote.call()).expect("reads");
        assert_eq!((read.kind, &read.git, read.digest()), (SourceKind::Git, &remote.git, source.digest()));
        assert!(ModuleSource::of_call(&Call::new(None, CallSpec::new("Module", "module"))).is_err());
    }
}
