//! Git origins: the repository and commit of a source, and the syntax of references to modules in
//! repositories.

use std::sync::Arc;

use rondel_model::git_address::is_git;
use rondel_model::{Directory, Fs, Platform, Snapshot};

/// Hosts whose repositories always have an owner and a name.
const TWO_PARTS: [&str; 4] = ["github.com", "bitbucket.org", "codeberg.org", "gitea.com"];

/// The repository and commit that a source was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitOrigin {
    /// The URL of the repository.
    pub url: String,
    /// The address as it was written, without path and version. It differs from `url` for a vanity
    /// import path.
    pub clone_ref: String,
    /// The requested version, or the name of the branch if none was requested.
    pub version: String,
    /// The full name of the ref, or the commit if there is no ref.
    pub name: String,
    /// The commit.
    pub commit: String,
    /// All files of the commit.
    pub whole: Snapshot,
    /// The seal of the address. Empty unless the user named the repository, or a module on its
    /// server that the user named.
    pub seal: Arc<str>,
}

impl GitOrigin {
    /// All files of the commit.
    pub fn directory(&self) -> Directory {
        Directory::root(Fs::known(self.whole.clone()), Platform::native())
    }

    /// Host and path of the repository, without scheme, user and `.git`.
    pub fn repository(&self) -> String {
        plain(&self.url)
    }

    /// The address as it was written, or the URL of the repository when that is elsewhere.
    pub fn clone_address(&self) -> &str {
        // An address without a scheme has no port that could be taken for a path.
        let written = match self.clone_ref.contains("://") || is_git(&self.clone_ref) {
            true => plain(&self.clone_ref),
            false => plain(&format!("https://{}", self.clone_ref)),
        };
        if written == self.repository() { &self.clone_ref } else { &self.url }
    }

    /// The web page of the repository.
    pub fn html_repository(&self) -> String {
        format!("https://{}", self.repository())
    }

    /// The web page of the folder `root`.
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

    /// The reference to the folder `root` as `dagger.json` has it.
    pub fn reference(&self, root: &str) -> String {
        let slash = if root.is_empty() { "" } else { "/" };
        format!("{}{slash}{root}@{}", self.clone_ref, self.version)
    }
}

/// Host and path of an address, without scheme, user and `.git`.
fn plain(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = if address.contains("://") { rest.to_owned() } else { rest.replacen(':', "/", 1) };
    rest.strip_suffix(".git").unwrap_or(&rest).to_owned()
}

/// The parts of a reference to a module in a repository.
#[derive(Debug, PartialEq, Eq)]
pub struct ReferenceParts<'a> {
    /// Scheme, user and host, with the separator before the path.
    pub server: &'a str,
    /// The segments of the path.
    pub path: Vec<&'a str>,
    /// The version after the last `@`.
    pub version: Option<&'a str>,
}

impl<'a> ReferenceParts<'a> {
    /// Splits a reference.
    pub fn of(reference: &'a str) -> Self {
        let start = match reference.split_once("://") {
            Some((scheme, rest)) => scheme.len() + 3 + rest.find('/').map_or(rest.len(), |at| at + 1),
            None if is_git(reference) => reference.find(':').map_or(0, |at| at + 1),
            None => reference.find('/').map_or(reference.len(), |at| at + 1),
        };
        let (server, path) = reference.split_at(start);
        let (path, version) = match path.rsplit_once('@') {
            Some((path, version)) if !version.is_empty() => (path, Some(version)),
            _ => (path, None),
        };
        Self { server, path: path.split('/').filter(|part| !matches!(*part, "" | ".")).collect(), version }
    }

    /// The repositories that the reference may mean, with the folder in each.
    pub fn candidates(&self) -> Vec<(String, String)> {
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

    /// Splits the path into the address of the repository and the folder in it.
    pub fn split(&self, at: usize) -> (String, String) {
        (format!("{}{}", self.server, self.path[..at].join("/")), self.path[at..].join("/"))
    }

    /// The host that may have a page for vanity import paths.
    pub fn vanity_host(&self) -> Option<&'a str> {
        let host = self.server.strip_prefix("https://").unwrap_or(self.server).trim_end_matches('/');
        let plain = !host.is_empty() && !host.contains(['/', '@']) && self.server.ends_with('/');
        let explicit = self.path.iter().any(|part| part.ends_with(".git"));
        (plain && !explicit && !self.path.is_empty() && !TWO_PARTS.contains(&host)).then_some(host)
    }
}

/// A reference without its version, and the version. The reference may be the name of a dependency.
pub fn split_version(reference: &str) -> (&str, Option<&str>) {
    match ReferenceParts::of(reference).version {
        Some(version) => (&reference[..reference.len() - version.len() - 1], Some(version)),
        None if reference.contains(['/', ':']) => (reference, None),
        None => match reference.rsplit_once('@') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() => (name, Some(version)),
            _ => (reference, None),
        },
    }
}

/// Scheme, user and host of a reference, as they are written.
pub fn server(reference: &str) -> &str {
    ReferenceParts::of(reference).server
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
    fn versions_of_references_and_names() {
        let check = |text: &str, want: (&str, Option<&str>)| assert_eq!(split_version(text), want);
        check("dep", ("dep", None));
        check("dep@v1", ("dep", Some("v1")));
        check("github.com/a/b/c@v1", ("github.com/a/b/c", Some("v1")));
        check("git@github.com:a/b", ("git@github.com:a/b", None));
        check("git@github.com:a/b@v1", ("git@github.com:a/b", Some("v1")));
        check("https://me@h/r.git", ("https://me@h/r.git", None));
        check("https://h/r.git@sub/v1", ("https://h/r.git", Some("sub/v1")));
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
