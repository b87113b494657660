//! Git repositories, refs and trees, as data.

use std::sync::Arc;

use serde::Serialize;

use crate::egress::EgressScope;
use crate::op::{Fs, TreePath};
use crate::secret::SecretRef;
use crate::service::Service;
use crate::socket::SocketRef;

/// Credentials for a remote repository, and the known keys of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct GitAccess {
    /// The user name beside `token`. Empty: a default that known servers accept.
    pub username: Arc<str>,
    /// A password or token.
    pub token: Option<SecretRef>,
    /// The value of the header `Authorization`.
    pub header: Option<SecretRef>,
    /// Public keys of SSH servers, in the format of `known_hosts`. Empty: the first key that a
    /// server shows is trusted.
    pub known_hosts: Arc<str>,
    /// The socket of an SSH agent.
    pub agent: Option<SocketRef>,
}

impl GitAccess {
    /// Whether there are no credentials.
    pub fn is_anonymous(&self) -> bool {
        self.token.is_none() && self.header.is_none() && self.agent.is_none()
    }
}

/// A repository on a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct GitRemote {
    /// Its URL, as given.
    pub url: Arc<str>,
    /// The credentials.
    // IDENTITY: other credentials may read other things. Secrets count by their keys.
    pub access: GitAccess,
    /// The service that the host is. `None`: the host is found by its name.
    // IDENTITY: two services may be two hosts with the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Which addresses may be connected to, as decided by the client that named the URL.
    // IDENTITY: it does not influence the content. Cached content needs no connection.
    #[serde(skip)]
    pub egress: EgressScope,
}

impl GitRemote {
    /// A remote without credentials.
    pub fn at(url: impl Into<Arc<str>>, egress: EgressScope) -> Self {
        Self { url: url.into(), access: GitAccess::default(), service: None, egress }
    }

    /// Whether the remote has neither credentials nor a service for its host.
    pub fn is_public(&self) -> bool {
        self.access.is_anonymous() && self.service.is_none()
    }
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum GitSource {
    /// On a server.
    Remote(Box<GitRemote>),
    /// In a directory: one with a `.git`, or a repository without a work tree.
    Local(TreePath),
}

impl GitSource {
    /// The tree that holds the repository. `None` for a repository on a server.
    pub fn fs(&self) -> Option<&Fs> {
        match self {
            Self::Local(place) => Some(&place.fs),
            Self::Remote(_) => None,
        }
    }
}

/// A repository.
#[derive(Clone, Debug)]
pub struct GitRepository {
    /// Where it is.
    pub source: GitSource,
    /// Its trees never contain `.git`.
    pub discard_git_dir: bool,
    /// The given value of `HEAD`: the name of a ref (may be empty) and a commit.
    pub head: Option<(Arc<str>, Arc<str>)>,
}

/// A ref of a repository, resolved.
#[derive(Clone, Debug)]
pub struct GitRef {
    /// The repository.
    pub repository: GitRepository,
    /// The full name, such as `refs/heads/main`; for a commit, the commit.
    pub name: Arc<str>,
    /// The commit.
    pub commit: Arc<str>,
}

/// The files of a commit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GitTree {
    /// The repository.
    pub source: GitSource,
    /// The commit.
    pub commit: Arc<str>,
    /// The ref that the tree is a checkout of.
    pub name: Arc<str>,
    /// The number of commits of history. Zero is all.
    pub depth: u32,
    /// Whether all tags are fetched, too.
    pub tags: bool,
    /// Whether `.git` is left out.
    pub discard_git_dir: bool,
}
