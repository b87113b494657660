//! Egress scopes of what modules refer to: dependencies, SDKs, and repositories and images that are
//! defaults of arguments.
//!
//! *Invariants.*
//! * The scope follows from the referrer. A user's client that loads a foreign module does not
//!   widen the module's scope.
//! * A module on a machine has the scope of the client that loads it, and never a wider one: that
//!   an ID places a module on a machine proves nothing.
//! * A module in a repository that the user named may refer to the server of that repository, and
//!   to the outside otherwise.
//! * Every other module, and a directory without a repository, may refer to the outside only. So
//!   it cannot make the engine connect to the engine's machine.
//! * Servers are compared as they are written: the owner of a name controls its address.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::EgressScope;
use rondel_module_model::source::git_origin::{GitOrigin, server};
use rondel_module_model::source::module_source::{ModuleSource, SourceKind};
use rondel_session::{Caller, Client, ResolverContext, client};
use rondel_surface::egress_seal;

use crate::caller::with_client;

/// The referrer of an address: the configuration that names it, or the code that declares it as a
/// default.
#[derive(Clone, Debug)]
pub(crate) enum Referrer {
    /// The user, or files of the user's machine.
    User,
    /// A module in a repository that the user named, or that was named by a module on the same
    /// server.
    Repository(Arc<GitOrigin>),
    /// A module from elsewhere, or a process in a container.
    Untrusted,
}

impl Referrer {
    /// The client `me`, or a configuration in its files.
    pub(crate) fn of_client(me: &Client) -> Self {
        match me.op_cx.egress {
            EgressScope::Anywhere => Self::User,
            EgressScope::Outside => Self::Untrusted,
        }
    }

    /// A configuration in the repository `git`. `None` for a directory of the API, whose content
    /// may come from anywhere.
    pub(crate) fn in_repository(me: &Client, git: Option<&Arc<GitOrigin>>) -> Self {
        match git.filter(|git| egress_seal::sealed(me, &git.url, &git.seal) == EgressScope::Anywhere) {
            Some(git) => Self::Repository(git.clone()),
            None => Self::Untrusted,
        }
    }

    /// The module `source`. If it is on a host, the scope is at most that of `me`: an ID may claim
    /// to be on a host.
    pub(crate) fn of_module(me: &Client, source: &ModuleSource) -> Self {
        match source.kind {
            SourceKind::Local => Self::of_client(me),
            SourceKind::Dir | SourceKind::Git => Self::in_repository(me, source.git.as_ref()),
        }
    }

    /// The egress scope of connections for `reference`.
    pub(crate) fn egress(&self, reference: &str) -> EgressScope {
        match self {
            Self::User => EgressScope::Anywhere,
            Self::Repository(git) if [&git.clone_ref, &git.url].map(|url| server(url)).contains(&server(reference)) => {
                EgressScope::Anywhere
            }
            Self::Repository(_) | Self::Untrusted => EgressScope::Outside,
        }
    }
}

/// The context for resolving a default `address` that the code of `source` declares. Even the
/// user's caller gets no wider egress scope than the module.
pub(crate) fn restricted_to_referrer(
    cx: &ResolverContext,
    source: &ModuleSource,
    address: &str,
) -> Result<ResolverContext> {
    let me = client(&cx.caller);
    match Referrer::of_module(me, source).egress(address) {
        EgressScope::Anywhere => Ok(cx.clone()),
        EgressScope::Outside => Ok(ResolverContext { caller: outside(&cx.caller)?, ..cx.clone() }),
    }
}

/// A copy of the caller with the egress scope `Outside`.
fn outside(caller: &Arc<Caller>) -> Result<Arc<Caller>> {
    let me = client(caller);
    match me.op_cx.egress {
        EgressScope::Outside => Ok(caller.clone()),
        EgressScope::Anywhere => Ok(Arc::new(
            with_client(caller, me.with_outside_egress()).with_child_identity(caller.child_identity.clone()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_speaks_for_its_server() {
        let named = |url: &str, clone_ref: &str| {
            Referrer::Repository(Arc::new(GitOrigin {
                url: url.into(),
                clone_ref: clone_ref.into(),
                version: "v1".into(),
                name: "refs/tags/v1".into(),
                commit: "c".into(),
                whole: rondel_model::Snapshot::empty(),
                seal: "".into(),
            }))
        };
        let here = named("http://127.0.0.1:3000/a/b.git", "http://127.0.0.1:3000/a/b.git");
        let check = |named: &Referrer, reference: &str, want: EgressScope| {
            assert_eq!(named.egress(reference), want, "{reference}");
        };
        check(&here, "http://127.0.0.1:3000/c/d.git/sub@v1", EgressScope::Anywhere);
        for other in [
            "http://127.0.0.1:3001/c.git",
            "http://127.0.0.1/c.git",
            "http://me@127.0.0.1:3000/c.git",
            "https://127.0.0.1:3000/c.git",
            "127.0.0.1:3000/c.git",
            "git@127.0.0.1:c.git",
        ] {
            check(&here, other, EgressScope::Outside);
        }
        let vanity = named("https://h/r.git", "v.example/m");
        check(&vanity, "v.example/other", EgressScope::Anywhere);
        check(&vanity, "https://h/s.git", EgressScope::Anywhere);
        for trick in [
            "https://h\\@127.0.0.1/x",
            "https://h@127.0.0.1/x",
            "https://h?/x",
            "https://h.evil/x",
            "http://localhost/x",
        ] {
            check(&vanity, trick, EgressScope::Outside);
        }
        check(&Referrer::User, "http://localhost/x", EgressScope::Anywhere);
        check(&Referrer::Untrusted, "https://h/r.git", EgressScope::Outside);
    }
}
