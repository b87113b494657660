//! Modules in git repositories: what a reference means, and the files of the commit that it leads to.

use std::sync::Arc;

use rondel_api::git;
use rondel_fault::{Fault, Kind, Result};
use rondel_model::git::{GitRemote, GitSource, GitTree};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Directory, EgressScope, Fs, FsOp, Platform, Snapshot};
use rondel_ports::git::{Reference, References, is_commit};
use rondel_query::Caller;
use rondel_session::client;

use crate::config::dagger_module_toml::ConfigFormat;
use crate::config::module_config::FILE_NAME;
use crate::load::modules::Modules;
use crate::source::dependency::ResolveError;
use crate::source::module_source::ModuleSource;
use crate::source::resolve_source::{ResolveOptions, SourceRequest};
use crate::source::vanity;

/// Hosts whose repositories always have an owner and a name.
const TWO_PARTS: [&str; 4] = ["github.com", "bitbucket.org", "codeberg.org", "gitea.com"];

/// Where in which repository a source was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitOrigin {
    /// The address of the repository, with its protocol.
    pub url: String,
    /// The address as it was written, without path and version. A vanity import path is another than `url`.
    pub clone_ref: String,
    /// The version that was asked for; the name of the branch when none was.
    pub version: String,
    /// The full name of the ref; the commit when there is none.
    pub name: String,
    /// The commit.
    pub commit: String,
    /// All files of the commit.
    pub whole: Snapshot,
    /// What says that the user named the repository, or a module on its server that the user named; empty: neither.
    pub seal: Arc<str>,
}

impl GitOrigin {
    /// All files of the commit.
    pub fn directory(&self) -> Directory {
        Directory::root(Fs::known(self.whole.clone()), Platform::native())
    }

    /// Host and path of the repository, without protocol, user and `.git`.
    pub fn repository(&self) -> String {
        plain(&self.url)
    }

    /// The address as it was written, or that of the repository when that is elsewhere.
    pub fn clone_address(&self) -> &str {
        // What was written without a protocol has no port that could be taken for a path.
        let written = match self.clone_ref.contains("://") || git::is_git(&self.clone_ref) {
            true => plain(&self.clone_ref),
            false => plain(&format!("https://{}", self.clone_ref)),
        };
        if written == self.repository() { &self.clone_ref } else { &self.url }
    }

    /// The page of the repository.
    pub fn html_repository(&self) -> String {
        format!("https://{}", self.repository())
    }

    /// The page of the folder `root`.
    pub fn html(&self, root: &str) -> String {
        let repository = self.html_repository();
        let host = self.repository().split('/').next().unwrap_or_default().to_owned();
        let commit = &self.commit;
        match (&*host, root.is_empty()) {
            ("dev.azure.com", true) => format!("{repository}/commit/{commit}"),
            ("dev.azure.com", false) => format!("{repository}/commit/{commit}?path=/{root}"),
            ("github.com" | "gitlab.com", true) => format!("{repository}/tree/{commit}"),
            ("github.com" | "gitlab.com", false) => format!("{repository}/tree/{commit}/{root}"),
            (_, true) => format!("{repository}/src/{commit}"),
            (_, false) => format!("{repository}/src/{commit}/{root}"),
        }
    }

    /// The reference to the folder `root` in the form of `dagger.json`.
    pub fn reference(&self, root: &str) -> String {
        let slash = if root.is_empty() { "" } else { "/" };
        format!("{}{slash}{root}@{}", self.clone_ref, self.version)
    }
}

/// Host and path of an address, without protocol, user and `.git`.
fn plain(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = if address.contains("://") { rest.to_owned() } else { rest.replacen(':', "/", 1) };
    rest.strip_suffix(".git").unwrap_or(&rest).to_owned()
}

/// A reference, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct ReferenceParts<'a> {
    /// Protocol, user and host, with what separates them from the path.
    server: &'a str,
    path: Vec<&'a str>,
    version: Option<&'a str>,
}

impl<'a> ReferenceParts<'a> {
    fn of(reference: &'a str) -> Self {
        let start = match reference.split_once("://") {
            Some((scheme, rest)) => scheme.len() + 3 + rest.find('/').map_or(rest.len(), |at| at + 1),
            None if git::is_git(reference) => reference.find(':').map_or(0, |at| at + 1),
            None => reference.find('/').map_or(reference.len(), |at| at + 1),
        };
        let (server, path) = reference.split_at(start);
        let (path, version) = match path.rsplit_once('@') {
            Some((path, version)) if !version.is_empty() => (path, Some(version)),
            _ => (path, None),
        };
        Self { server, path: path.split('/').filter(|part| !matches!(*part, "" | ".")).collect(), version }
    }

    /// Repositories that may be meant, and the folder in each.
    fn candidates(&self) -> Vec<(String, String)> {
        let host = self.server.trim_end_matches(['/', ':']);
        let host = host.rsplit(['/', '@']).next().unwrap_or_default();
        let explicit = self.path.iter().position(|part| part.ends_with(".git")).map(|at| at + 1);
        let known = TWO_PARTS.contains(&host).then_some(2).filter(|parts| *parts <= self.path.len());
        let lengths = match explicit.or(known) {
            Some(one) => one..=one,
            None => 1..=self.path.len(),
        };
        lengths.map(|at| self.split(at)).collect()
    }

    /// The address that the first parts of the path are, and the folder that the others are.
    fn split(&self, at: usize) -> (String, String) {
        (format!("{}{}", self.server, self.path[..at].join("/")), self.path[at..].join("/"))
    }

    /// The host whose pages may say where the repository is.
    fn vanity_host(&self) -> Option<&'a str> {
        let host = self.server.strip_prefix("https://").unwrap_or(self.server).trim_end_matches('/');
        let plain = !host.is_empty() && !host.contains(['/', '@']) && self.server.ends_with('/');
        let explicit = self.path.iter().any(|part| part.ends_with(".git"));
        (plain && !explicit && !self.path.is_empty() && !TWO_PARTS.contains(&host)).then_some(host)
    }
}

/// Protocol, user and host of a reference, as they are written.
pub(crate) fn server(reference: &str) -> &str {
    ReferenceParts::of(reference).server
}

/// The ref that `version` of the module in the folder `root` means.
fn pick(references: &References, root: &str, version: Option<&str>) -> Option<Reference> {
    let Some(version) = version else { return references.head.clone() };
    let number = version.strip_prefix('v').unwrap_or(version);
    let tagged = number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.');
    let mut names = Vec::new();
    if tagged && !root.is_empty() {
        names.push(format!("refs/tags/{root}/{version}"));
    }
    if tagged {
        names.push(format!("refs/tags/{version}"));
    }
    names.iter().find_map(|name| references.find(name)).or_else(|| references.find(version))
}

/// The repository at an address, and what its server says.
async fn asked(caller: &Arc<Caller>, url: &str, egress: EgressScope) -> Result<(GitRemote, References)> {
    let remote = git::remote(caller, GitRemote::at(url, egress)).await?;
    let known = git::known(caller, &remote).await?;
    let remote = GitRemote { access: known.access.clone(), ..remote };
    Ok((remote, known.references.clone()))
}

impl Modules {
    /// The source that `reference` to a git repository means, for what `wanted` says.
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
        let doing = || format!("find the module `{reference}`");
        let parts = ReferenceParts::of(reference);
        let me = client(caller)?;
        let egress = options.egress.unwrap_or(me.op_cx.egress);
        let (found, root) = self.repository(caller, &parts, egress).await.map_err(|e| e.context(doing()))?;
        let (remote, references) = found;
        let named = pick(&references.1, &root, parts.version);
        let pinned = match options.pin {
            "" => None,
            pin if is_commit(pin) => Some(pin.to_owned()),
            pin => references.1.find(pin).map(|found| found.commit),
        };
        let missing = || {
            let version = parts.version.unwrap_or("HEAD");
            Fault::user(format!("the repository `{}` has no version `{version}`", references.0)).context(doing())
        };
        let commit = pinned.or_else(|| named.as_ref().map(|named| named.commit.clone())).ok_or_else(missing)?;
        let name = named.map_or_else(|| commit.clone(), |named| named.name);
        let shown = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
        let version = parts.version.map_or(shown, ToOwned::to_owned);
        let whole = self.files(caller, &remote, &commit).await.map_err(|e| e.context(doing()))?;
        let seal = match egress {
            EgressScope::Anywhere => rondel_api::reach::seal(me, &remote.url),
            EgressScope::Outside => "".into(),
        };
        let url = remote.url.to_string();
        let origin = GitOrigin { url, clone_ref: references.0, version, name, commit, whole, seal };
        let root = self.module_folder(caller, &origin, &root, options).await.map_err(|e| e.context(doing()))?;
        let directory = origin.directory();
        self.inside(caller, &directory, request.at(root).from(Arc::new(origin))).await
    }

    async fn repository(
        &self,
        caller: &Arc<Caller>,
        parts: &ReferenceParts<'_>,
        egress: EgressScope,
    ) -> Result<((GitRemote, (String, References)), String)> {
        let mut first = None;
        for (clone_ref, root) in parts.candidates() {
            match asked(caller, &clone_ref, egress).await {
                Ok((remote, references)) => return Ok(((remote, (clone_ref, references)), root)),
                Err(fault) if matches!(fault.kind(), Kind::User | Kind::Denied) => _ = first.get_or_insert(fault),
                Err(fault) => return Err(fault),
            }
        }
        if let Some(host) = parts.vanity_host()
            && let Some(found) = vanity::repository(caller, host, &parts.path, egress).await?
        {
            let (remote, references) = asked(caller, &found.url, egress).await?;
            let (clone_ref, root) = parts.split(found.parts);
            return Ok(((remote, (clone_ref, references)), root));
        }
        Err(first.unwrap_or_else(|| Fault::user("it names no repository")))
    }

    async fn files(&self, caller: &Arc<Caller>, remote: &GitRemote, commit: &str) -> Result<Snapshot> {
        let me = client(caller)?;
        let tree = GitTree {
            source: GitSource::Remote(remote.clone().into()),
            commit: commit.into(),
            name: "".into(),
            depth: 1,
            tags: false,
            discard_git_dir: true,
        };
        me.services.ops.tree(&me.op_cx, &Fs::new(FsOp::Git(Box::new(tree)))).await
    }

    /// The folder of the configuration: `root` or the nearest above.
    async fn module_folder(
        &self,
        caller: &Arc<Caller>,
        origin: &GitOrigin,
        root: &str,
        options: ResolveOptions<'_>,
    ) -> Result<String> {
        let me = client(caller)?;
        let fs = Fs::known(origin.whole.clone());
        let is_there = async |path: AbsPath| {
            let place = TreePath { fs: fs.clone(), path };
            me.services.ops.stat(&me.op_cx, &place, true).await.map(|found| found.is_some())
        };
        let start = AbsPath::new(root);
        if !is_there(start.clone()).await? {
            return Err(Fault::user(format!("the repository `{}` has no folder `{root}`", origin.clone_ref)));
        }
        let mut at = Some(start.clone());
        while let Some(folder) = at {
            for format in ConfigFormat::ALL {
                if is_there(folder.join(format.file_name())).await? {
                    return Ok(folder.relative().to_owned());
                }
            }
            at = folder.parent().filter(|_| !options.exact);
        }
        if options.allow_missing {
            return Ok(start.relative().to_owned());
        }
        let folder = if root.is_empty() { "." } else { root };
        Err(Fault::user(format!("no `{FILE_NAME}` in `{folder}` of `{}` or above it", origin.clone_ref)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let check = |reference: &str, candidates: &[(&str, &str)], version: Option<&str>| {
            let parts = ReferenceParts::of(reference);
            let got = parts.candidates();
            let got: Vec<_> = got.iter().map(|(url, root)| (url.as_str(), root.as_str())).collect();
            assert_eq!((got.as_slice(), parts.version), (candidates, version), "{reference}");
        };
        check("github.com/a/b", &[("github.com/a/b", "")], None);
        check("github.com/a/b/c/d@v1.2", &[("github.com/a/b", "c/d")], Some("v1.2"));
        check("github.com/a/b@c/v1", &[("github.com/a/b", "")], Some("c/v1"));
        check("https://me@github.com/a/b.git/c@main", &[("https://me@github.com/a/b.git", "c")], Some("main"));
        check("git@github.com:a/b.git/c@v1", &[("git@github.com:a/b.git", "c")], Some("v1"));
        check("git@github.com:a/b", &[("git@github.com:a/b", "")], None);
        check("ssh://git@h:22/r.git", &[("ssh://git@h:22/r.git", "")], None);
        let guessed = [("http://h/a", "b/c"), ("http://h/a/b", "c"), ("http://h/a/b/c", "")];
        check("http://h/a/b/c@1.0", &guessed, Some("1.0"));
        check("https://h", &[], None);
    }

    #[test]
    fn hosts_that_may_have_pages() {
        let check = |reference: &str, want: Option<&str>| assert_eq!(ReferenceParts::of(reference).vanity_host(), want);
        check("v.example/m/sub@v1", Some("v.example"));
        check("https://v.example:8443/m", Some("v.example:8443"));
        for other in
            ["http://h/m", "ssh://h/m", "git@h:m", "https://me@h/m", "https://h/m.git/sub", "github.com/a/b", "h"]
        {
            check(other, None);
        }
    }

    #[test]
    fn versions_of_folders_come_first() {
        let one = |name: &str, n: u8| Reference { name: name.into(), commit: format!("{n:040x}") };
        let all = vec![one("refs/heads/main", 1), one("refs/tags/sub/v1.0.0", 2), one("refs/tags/v1.0.0", 3)];
        let references = References { head: Some(all[0].clone()), all, ..References::default() };
        let check = |root: &str, version: Option<&str>, want: Option<&str>| {
            assert_eq!(pick(&references, root, version).map(|found| found.name).as_deref(), want, "{root} {version:?}");
        };
        check("sub", Some("v1.0.0"), Some("refs/tags/sub/v1.0.0"));
        check("other", Some("v1.0.0"), Some("refs/tags/v1.0.0"));
        check("sub", Some("main"), Some("refs/heads/main"));
        check("", None, Some("refs/heads/main"));
        check("", Some("sub/v1.0.0"), Some("refs/tags/sub/v1.0.0"));
        check("", Some("v2.0.0"), None);
    }

    #[test]
    fn pages() {
        let origin = |url: &str| GitOrigin {
            url: url.into(),
            clone_ref: url.into(),
            version: "v1".into(),
            name: "refs/tags/v1".into(),
            commit: "abc".into(),
            whole: Snapshot::empty(),
            seal: "".into(),
        };
        assert_eq!(origin("https://github.com/a/b.git").html("c"), "https://github.com/a/b/tree/abc/c");
        assert_eq!(origin("git@github.com:a/b.git").html_repository(), "https://github.com/a/b");
        assert_eq!(origin("ssh://git@h/r").html(""), "https://h/r/src/abc");
        let vanity = GitOrigin { clone_ref: "v.example/m".into(), ..origin("https://h/r.git") };
        assert_eq!((vanity.clone_address(), vanity.reference("c")), ("https://h/r.git", "v.example/m/c@v1".into()));
        let short = GitOrigin { clone_ref: "h:8/r.git".into(), ..origin("https://h:8/r.git") };
        assert_eq!(short.clone_address(), "h:8/r.git");
        assert_eq!(origin("github.com/a/b").reference("c"), "github.com/a/b/c@v1");
    }
}
