//! Git repositories and what is asked of them, as data.

use std::sync::Arc;

use serde::Serialize;

use crate::egress::EgressScope;
use crate::op::TreePath;
use crate::secret::SecretRef;
use crate::service::Service;
use crate::socket::SocketRef;

/// Who asks a remote repository, and how both know one another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct GitAccess {
    /// The user name that goes with `token`; empty: one that every known server takes.
    pub username: Arc<str>,
    /// A password or token.
    pub token: Option<SecretRef>,
    /// The value of the header `Authorization`.
    pub header: Option<SecretRef>,
    /// Public keys of SSH servers, in the form of `known_hosts`; empty: the key that a server shows first counts.
    pub known_hosts: Arc<str>,
    /// The socket of an SSH agent.
    pub agent: Option<SocketRef>,
}

impl GitAccess {
    /// Whether the server is told who asks.
    pub fn is_anonymous(&self) -> bool {
        self.token.is_none() && self.header.is_none() && self.agent.is_none()
    }
}

/// A repository on a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct GitRemote {
    /// Its address, as it was given.
    pub url: Arc<str>,
    /// Who asks.
    // IDENTITY: what one may read is not shown to another; secrets count by their keys.
    pub access: GitAccess,
    /// The service that the host of the address is; none: the host that is found by its name.
    // IDENTITY: two services may be two hosts under one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// How far connections to it may lead, as it is for who named the address.
    // IDENTITY: it says nothing about the content. What is here already needs no connection.
    #[serde(skip)]
    pub egress: EgressScope,
}

impl GitRemote {
    /// At an address that is asked without credentials.
    pub fn at(url: impl Into<Arc<str>>, egress: EgressScope) -> Self {
        Self { url: url.into(), access: GitAccess::default(), service: None, egress }
    }

    /// Whether anybody may ask it anywhere: it has no service for its host, and is not told who asks.
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

/// A repository.
#[derive(Clone, Debug)]
pub struct GitRepository {
    /// Where it is.
    pub source: GitSource,
    /// Its trees come without `.git`, whatever is asked of them.
    pub discard_git_dir: bool,
    /// What `HEAD` stands for, when that was said: the name of a ref (may be empty) and a commit.
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
    /// How many commits of history; zero: all.
    pub depth: u32,
    /// Whether all tags come with it.
    pub tags: bool,
    /// Whether it comes without `.git`.
    pub discard_git_dir: bool,
}
