//! Git repositories on servers and in directories of this machine.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_events::Emitter;
use rondel_fault::Result;

use crate::BoxFuture;
use crate::egress::EgressScope;
use crate::network::Host;

/// Credentials and transport settings for a Git server. `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    /// Public keys of SSH servers, in the format of `known_hosts`. Empty means trust on first use.
    pub known_hosts: String,
    /// The socket of an SSH agent.
    pub agent: Option<Agent>,
    /// The host of the address, if it is a service of the session. No DNS name leads to it.
    pub host: Option<Host>,
    /// Which hosts other connections may reach.
    pub egress: EgressScope,
}

/// The socket of an SSH agent.
#[derive(Clone)]
pub struct Agent {
    /// Its path on this machine.
    pub path: PathBuf,
    /// Keeps the socket open until it is dropped.
    pub guard: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A repository to work with.
#[derive(Clone)]
pub enum Repository {
    /// On a server.
    Remote {
        /// Its address.
        url: String,
        /// Cache key of the address and the credentials. Repositories are not shared between
        /// different credentials.
        key: Digest,
        /// How the server is asked.
        credentials: Credentials,
    },
    /// A repository that [`Git::keep`] wrote to a directory of its own.
    Kept {
        /// The directory: a bare repository.
        folder: PathBuf,
        /// Keeps the directory until it is dropped.
        guard: Arc<dyn Any + Send + Sync>,
    },
}

/// A ref that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The full name, such as `refs/tags/v1`.
    pub name: String,
    /// The commit, also when the ref is an annotated tag.
    pub commit: String,
}

/// The refs of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The target of `HEAD`: a branch or, if `HEAD` is detached, the commit under the name `HEAD`.
    /// `None` means that the repository has no commit yet.
    pub head: Option<Reference>,
    /// Every ref, in the order of the names.
    pub all: Vec<Reference>,
    /// The objects of annotated tags, with the commits that they point to.
    pub annotated: Vec<(String, String)>,
}

/// What to check out.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The commit.
    pub commit: String,
    /// The ref that `HEAD` points to afterwards. With a ref that is no branch, `HEAD` is detached.
    pub name: String,
    /// How many commits of history; zero: all.
    pub depth: u32,
    /// Whether all tags come with it.
    pub tags: bool,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
}

/// Operations on Git repositories. Objects that were downloaded once are not downloaded again.
pub trait Git: Send + Sync {
    /// Lists the refs of `repository`.
    ///
    /// # Errors
    /// When the repository does not exist, the server refuses access (`Denied`), or it cannot be
    /// reached.
    fn references<'a>(&'a self, repository: &'a Repository) -> BoxFuture<'a, Result<References>>;

    /// Writes the files of a commit, with submodules, into the empty directory `into`. Every file
    /// has the modification time 1 (seconds since the Unix epoch) and the permissions 0644 or 0755.
    /// Bytes that a server sends are reported to `progress`.
    ///
    /// # Errors
    /// As for `references`, and when the repository has no such commit, or files in git LFS.
    fn checkout<'a>(
        &'a self,
        repository: &'a Repository,
        what: &'a Checkout,
        into: &'a Path,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>>;

    /// The merge base of two commits, or `None` if they have no common ancestor.
    ///
    /// # Errors
    /// As for `checkout`.
    fn common_ancestor<'a>(
        &'a self,
        one: (&'a Repository, &'a str),
        other: (&'a Repository, &'a str),
    ) -> BoxFuture<'a, Result<Option<String>>>;

    /// Returns the repository with this `key`. If it is missing, `fill` writes its Git directory.
    /// Only objects and refs of that directory are used, never its configuration or hooks. Blocks.
    ///
    /// # Errors
    /// The error of `fill`.
    fn keep(&self, key: &Digest, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Repository>;

    /// Writes the files of `work_tree` that are not ignored into `into`: the files that a commit of
    /// everything would have. Modes and times are those of [`Git::checkout`].
    ///
    /// # Errors
    /// When the disk is full.
    fn committed<'a>(
        &'a self,
        repository: &'a Repository,
        work_tree: &'a Path,
        into: &'a Path,
    ) -> BoxFuture<'a, Result<()>>;
}

impl References {
    /// Finds the ref that `name` means: a full or short name (branches before tags), `HEAD`, a
    /// commit, or the object of an annotated tag, which means its commit.
    pub fn find(&self, name: &str) -> Option<Reference> {
        if name == "HEAD" {
            return self.head.clone();
        }
        if is_commit(name) {
            let name = name.to_ascii_lowercase();
            let tag = self.annotated.iter().find(|(object, _)| *object == name);
            let commit = tag.map_or(name, |(_, commit)| commit.clone());
            return Some(Reference { name: commit.clone(), commit });
        }
        let full = [name.to_owned(), format!("refs/heads/{name}"), format!("refs/tags/{name}"), format!("refs/{name}")];
        let full = full.iter().filter(|full| full.starts_with("refs/"));
        full.filter_map(|full| self.all.iter().find(|known| known.name == *full)).next().cloned()
    }
}

/// Returns whether `text` is a full commit hash.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_mean() {
        let one = |name: &str, n: u8| Reference { name: name.into(), commit: format!("{n:040x}") };
        let all = vec![one("refs/heads/main", 1), one("refs/heads/v1", 2), one("refs/tags/v1", 3), one("refs/x/y", 4)];
        let annotated = vec![(format!("{:040x}", 9), format!("{:040x}", 3))];
        let references = References { head: Some(all[0].clone()), all, annotated };
        let check = |name: &str, want: Option<&str>| {
            assert_eq!(references.find(name).map(|found| found.name).as_deref(), want, "{name}");
        };
        check("HEAD", Some("refs/heads/main"));
        check("main", Some("refs/heads/main"));
        check("v1", Some("refs/heads/v1"));
        check("refs/tags/v1", Some("refs/tags/v1"));
        check("tags/v1", Some("refs/tags/v1"));
        check("x/y", Some("refs/x/y"));
        check("nope", None);
        let commit = "0123456789ABCDEF0123456789abcdef01234567";
        check(commit, Some("0123456789abcdef0123456789abcdef01234567"));
        check(&commit[1..], None);
        check(&format!("{:040x}", 9), Some(&format!("{:040x}", 3)));
    }
}
