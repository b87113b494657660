//! The caller of a request: client, session, view, schema.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use rondel_call::ModuleIdentity;
use rondel_events::Emitter;
use rondel_fault::{read_lock, write_lock};
use rondel_gql::Schema;
use rondel_version::View;

/// One client of one session, with the schema that it is served.
pub struct Caller<C> {
    /// The session.
    pub session: Arc<str>,
    /// The client within the session.
    pub client: Arc<str>,
    /// The API version that it sees.
    pub view: View,
    /// Receives the progress of work for this caller.
    pub events: Emitter,
    /// The engine's own data of the client: host access, secrets, exec scope.
    pub context: Arc<C>,
    /// The module as which processes act that its calls start.
    pub child_identity: ChildIdentity,
    /// Whether it is a nested client: a process in a container, and no client of the user's.
    pub is_nested_client: bool,
    schema: RwLock<Arc<Schema>>,
}

/// The module identity of processes that a caller's calls start, and whether any of its calls may
/// have started one.
#[derive(Clone, Debug, Default)]
pub struct ChildIdentity {
    // IDENTITY: recorded in every call that may start such a process.
    identity: Option<Arc<ModuleIdentity>>,
    adopts: bool,
    used: Arc<AtomicBool>,
}

impl ChildIdentity {
    /// Processes act as `identity`. With `None` each process is a client of its own. With `adopts`
    /// the same holds for processes of recipes that the caller brings, whatever the recipes record.
    /// `used` becomes true with the first call that may start a process.
    pub fn new(identity: Option<Arc<ModuleIdentity>>, adopts: bool, used: Arc<AtomicBool>) -> Self {
        Self { identity, adopts, used }
    }

    /// The identity for a call that may start a process. Marks it as used.
    pub(crate) fn used(&self) -> Option<&Arc<ModuleIdentity>> {
        self.used.store(true, Ordering::Relaxed);
        self.identity.as_ref()
    }

    /// The identity that replaces the one in recipes that the caller brings. `None` leaves recipes
    /// as they are.
    pub(crate) fn adopted(&self) -> Option<&Arc<ModuleIdentity>> {
        self.used().filter(|_| self.adopts)
    }
}

impl<C> Caller<C> {
    /// A caller that is served `schema`.
    pub fn new(
        session: Arc<str>,
        client: Arc<str>,
        view: View,
        schema: Arc<Schema>,
        events: Emitter,
        context: Arc<C>,
    ) -> Self {
        Self {
            session,
            client,
            view,
            events,
            context,
            child_identity: ChildIdentity::default(),
            is_nested_client: false,
            schema: RwLock::new(schema),
        }
    }

    /// Returns the caller with the identity of the processes that its calls start.
    #[must_use]
    pub fn with_child_identity(mut self, child_identity: ChildIdentity) -> Self {
        self.child_identity = child_identity;
        self
    }

    /// Returns the caller as a nested client or as a client of the user's.
    #[must_use]
    pub fn with_nested_client(mut self, is_nested_client: bool) -> Self {
        self.is_nested_client = is_nested_client;
        self
    }

    /// The schema that it is served at present.
    pub fn schema(&self) -> Arc<Schema> {
        read_lock(&self.schema).clone()
    }

    /// Replaces the schema that it is served.
    pub fn serve(&self, schema: Arc<Schema>) {
        *write_lock(&self.schema) = schema;
    }

    /// Returns a copy of the caller that reports progress to `events`.
    #[must_use]
    pub fn reporting(&self, events: Emitter) -> Arc<Self> {
        let (session, client, context) = (self.session.clone(), self.client.clone(), self.context.clone());
        let caller = Self::new(session, client, self.view, self.schema(), events, context);
        Arc::new(caller.with_child_identity(self.child_identity.clone()).with_nested_client(self.is_nested_client))
    }
}
