//! Who asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use rondel_call::ModuleIdentity;
use rondel_events::Emitter;
use rondel_fault::{read_lock, write_lock};
use rondel_gql::Schema;
use rondel_version::View;

/// Who asks: one client of one session, with the schema it is served.
pub struct Caller<C> {
    /// The session.
    pub session: Arc<str>,
    /// The client within the session.
    pub client: Arc<str>,
    /// The API version it sees.
    pub view: View,
    /// Where what is done for it is reported.
    pub events: Emitter,
    /// What the engine knows beyond that: host access, secrets, the module and function call of an exec scope.
    pub context: Arc<C>,
    /// As which module processes act that its calls start.
    pub child_identity: ChildIdentity,
    /// A process in a container, not a client of the user's.
    pub is_foreign: bool,
    schema: RwLock<Arc<Schema>>,
}

/// The module as which processes act that a caller's calls start, and whether any of its calls may have started one.
#[derive(Clone, Debug, Default)]
pub struct ChildIdentity {
    // IDENTITY: recorded in every call that may start such a process.
    identity: Option<Arc<ModuleIdentity>>,
    adopts: bool,
    used: Arc<AtomicBool>,
}

impl ChildIdentity {
    /// As `identity`, or each process as a client of its own. With `adopts` so do processes of recipes that the caller
    /// brings, whatever these record. `used` becomes true with the first call that may start a process.
    pub fn new(identity: Option<Arc<ModuleIdentity>>, adopts: bool, used: Arc<AtomicBool>) -> Self {
        Self { identity, adopts, used }
    }

    /// The identity for a call that may start a process.
    pub(crate) fn used(&self) -> Option<&Arc<ModuleIdentity>> {
        self.used.store(true, Ordering::Relaxed);
        self.identity.as_ref()
    }

    /// The identity as which processes act, whatever a recipe records that the caller brings. `None`: as it records.
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
            is_foreign: false,
            schema: RwLock::new(schema),
        }
    }

    /// The same; processes that its calls start act as `starts` says.
    #[must_use]
    pub fn with_child_identity(mut self, child_identity: ChildIdentity) -> Self {
        self.child_identity = child_identity;
        self
    }

    /// The same; `is_foreign`: it is a process in a container.
    #[must_use]
    pub fn with_foreign(mut self, is_foreign: bool) -> Self {
        self.is_foreign = is_foreign;
        self
    }

    /// The schema that it is served now.
    pub fn schema(&self) -> Arc<Schema> {
        read_lock(&self.schema).clone()
    }

    /// Serves it another schema from now on.
    pub fn serve(&self, schema: Arc<Schema>) {
        *write_lock(&self.schema) = schema;
    }

    /// The same caller, reporting under another span.
    #[must_use]
    pub fn reporting(&self, events: Emitter) -> Arc<Self> {
        let (session, client, context) = (self.session.clone(), self.client.clone(), self.context.clone());
        let caller = Self::new(session, client, self.view, self.schema(), events, context);
        Arc::new(caller.with_child_identity(self.child_identity.clone()).with_foreign(self.is_foreign))
    }
}
