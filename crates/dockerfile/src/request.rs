//! The request of a build, its needs from outside, and the outcome of an attempt.

use std::collections::HashMap;
use std::sync::Arc;

use rondel_model::entitlement::Entitlement;
use rondel_model::op::TreePath;
use rondel_model::{Container, History, ImageConfig, Platform, SecretRef, SocketRef};

use crate::error::{Error, Location};

/// What to build, from what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The build context.
    pub context: TreePath,
    /// Patterns of files of the context that are left out.
    pub ignore: Vec<String>,
    /// The platform of the result.
    pub platform: Platform,
    /// The stage, by name or number; empty is the last one.
    pub target: String,
    /// Values of build arguments.
    pub args: Vec<(String, String)>,
    /// What `RUN --mount=type=secret` finds.
    pub secrets: Vec<Secret>,
    /// What `RUN --mount=type=ssh` finds.
    pub ssh: Option<SocketRef>,
    /// Processes are pid 1 themselves.
    pub no_init: bool,
    /// Keeps the cache mounts apart from those of other builds with the same names. Empty: those of
    /// the user.
    pub namespace: String,
    /// What `RUN` may ask for beyond the walls of a container.
    pub entitlements: Vec<Entitlement>,
}

/// A secret under the names by which it is found.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The names.
    pub names: Vec<String>,
    /// The secret.
    pub secret: SecretRef,
}

/// Something from outside that a build needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// An image.
    Image {
        /// As it was written.
        reference: String,
        /// Its platform.
        platform: Platform,
    },
    /// A file behind an address.
    Http {
        /// The address.
        url: String,
        /// What its content has to be, as `sha256:…`.
        checksum: Option<String>,
    },
    /// A tree of a repository.
    Git {
        /// The repository.
        url: String,
        /// A branch, tag or commit. `None` is the default branch.
        reference: Option<String>,
        /// A directory in it; empty is all.
        directory: String,
        /// `.git` is part of the tree.
        keep_git_dir: bool,
        /// The commit that it has to be, or the start of its name.
        commit: Option<String>,
    },
}

/// An answer to a [`Need`].
#[derive(Debug, Clone)]
pub struct Base {
    /// Where it is: of an image the root, of a file the file.
    pub place: TreePath,
    /// The configuration of an image.
    pub config: ImageConfig,
    /// How the layers of an image were made.
    pub history: Option<Arc<History>>,
    /// The platform that was found.
    pub platform: Platform,
}

/// The needs that were answered so far.
pub type Known = HashMap<Need, Base>;

/// The outcome of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// The container.
    Done(Box<Container>),
    /// More has to be known. Each need comes with the error to wrap a failure in.
    Needs(Vec<(Need, Error)>),
}

/// Why a stage has no container.
pub(crate) enum Stop {
    Error(Error),
    Need(Box<(Need, Location)>),
}

impl std::convert::From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The value that was given for a build argument.
pub(crate) fn given(request: &Request, name: &str) -> Option<String> {
    request.args.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}
