//! Encoding of a module's source as a call that contains all of it.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, EGRESS_SEAL, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::AbsPath;

use crate::config::module_config::{ConfigFormat, ModuleConfig};
use crate::source::dependency::Unresolved;
use crate::source::git_origin::GitOrigin;
use crate::source::module_source::{Dependency, ModuleSource, SourceKind, SourceRole};

/// The internal field that gives a source from its parts.
pub const FIELD: &str = "_moduleSource";
/// The depth to which nested dependencies are decoded.
const MAX_DEPTH: usize = 64;

impl ModuleSource {
    /// The call that gives the source.
    pub fn call(&self) -> Arc<Call> {
        let text = |text: &str| Literal::String(text.into());
        let layers = self.snapshot.layers().iter().map(|layer| text(&layer.to_string())).collect();
        let dependencies = self.dependencies.iter().map(Dependency::literal).collect();
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
            Some(git) => spec.arg(EGRESS_SEAL, Literal::String(git.seal.clone())),
            None => spec,
        };
        let spec = match self.config.format {
            ConfigFormat::Json => spec,
            ConfigFormat::Toml => spec.arg("isManifest", Literal::Bool(true)),
        };
        Call::new(None, spec)
    }

    /// Decodes the source of a call of [`FIELD`].
    ///
    /// # Errors
    /// When it is another call, or damaged.
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
                .map(|git| {
                    origin(git, text(EGRESS_SEAL).unwrap_or_default()).ok_or_else(|| damaged("git")).map(Arc::new)
                })
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

impl Dependency {
    fn literal(&self) -> Literal {
        match self {
            Dependency::Found(source) => Literal::Call(source.call()),
            Dependency::Unresolved(unresolved) => unresolved.literal(),
        }
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

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_model::Snapshot;

    use super::*;

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
