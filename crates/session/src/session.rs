//! One session of the engine.

use std::sync::Arc;

use crate::entitlements::{Grants, SessionGrants};
use crate::git_remotes::GitRemotes;
use crate::secrets::SecretStore;
use crate::services::SessionServices;
use crate::sockets::SocketStore;

/// A session: clients that share secrets, services and per-session results.
pub struct Session {
    /// Its name.
    pub id: Arc<str>,
    /// Plaintext that its clients gave.
    pub secrets: Arc<SecretStore>,
    /// Sockets that its clients gave.
    pub sockets: Arc<SocketStore>,
    /// Services that its clients use.
    pub services: Arc<SessionServices>,
    /// Refs of git repositories, listed once per session.
    pub git_remotes: GitRemotes,
    /// Entitlements of modules and of processes in containers.
    pub grants: SessionGrants,
}

impl Session {
    /// A new session with the name `id` and its first entitlements.
    pub fn new(id: Arc<str>, grants: Grants) -> Arc<Self> {
        let services = SessionServices::new(id.clone());
        let (secrets, sockets) = (Arc::default(), Arc::default());
        let grants = SessionGrants::new(grants);
        Arc::new(Self { secrets, sockets, services, git_remotes: GitRemotes::default(), grants, id })
    }
}
