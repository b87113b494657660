//! The exec scope: as which module a process in a container acts, and which function call it
//! serves.
//!
//! *Invariants.* Only the engine makes an exec scope, and nothing that a client can send or read
//! holds one. Of its parts only [`ActingModule::identity`] counts for cache keys. That identity is
//! part of IDs, which the engine seals.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rondel_call::{Call, ModuleIdentity, ModuleRef};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::exec::{Scope, ScopeRecord};
use rondel_module_model::Module;
use rondel_query::ChildIdentity;
use rondel_version::{ENGINE, View};

/// A module as which a process acts.
#[derive(Clone)]
pub struct ActingModule {
    /// The API version that it is served.
    pub view: View,
    /// The digest of the module's implementation.
    pub implementation: Digest,
    /// The call that gives the module.
    pub call: Arc<Call>,
    /// Where the module was found: a path of the host, or a repository with path and version. Empty
    /// for a module from a `Directory`.
    pub source: Arc<str>,
    /// The module.
    pub module: Arc<Module>,
}

impl ActingModule {
    /// `module` as one that processes act as.
    pub fn new(module: Arc<Module>) -> Self {
        Self {
            view: module.view,
            implementation: module.implementation,
            call: module.call(),
            source: module.source.place().into(),
            module,
        }
    }

    /// The identity of the module that calls record.
    pub fn identity(&self) -> Arc<ModuleIdentity> {
        let module = ModuleRef { module: self.call.clone(), implementation: self.implementation };
        Arc::new(ModuleIdentity { module, view: self.view.to_string().into() })
    }
}

/// As which module a process with API access acts, and which function call it serves.
#[derive(Clone, Default)]
pub struct ExecScope {
    /// The module as which it acts. `None` if it is a client of its own.
    pub acting_module: Option<ActingModule>,
    /// The function call that it serves, if any.
    pub call: Option<Arc<FunctionCall>>,
    /// The module as which the processes act that it starts. `None` if each is a client of its own.
    /// The work of an SDK for a module is done as that module, through any number of processes.
    pub children_act_as: Option<ActingModule>,
    /// Whether processes of recipes that it brings act as `children_act_as` too, whatever the
    /// recipes record. True for the work of an SDK for a module: a recipe that the SDK kept from
    /// elsewhere serves that module now.
    pub adopts: bool,
    /// Whether it may have started a process.
    pub started: Arc<AtomicBool>,
}

impl ExecScope {
    /// The scope of a process that a client with the scope `client` starts.
    pub fn of_child(client: Option<&ExecScope>) -> Self {
        let children_act_as = client.and_then(|scope| scope.children_act_as.clone());
        let adopts = client.is_some_and(|scope| scope.adopts);
        Self { acting_module: children_act_as.clone(), call: None, children_act_as, adopts, started: Arc::default() }
    }

    /// The module identity of processes that the calls of a client with this scope start.
    pub fn child_identity(&self) -> ChildIdentity {
        ChildIdentity::new(self.children_act_as.as_ref().map(ActingModule::identity), self.adopts, self.started.clone())
    }

    /// The scope as the exec op of its process holds it.
    pub fn into_op_scope(self) -> Scope {
        let view = self.acting_module.as_ref().map_or(ENGINE, |acting_module| acting_module.view);
        let module = self.acting_module.as_ref().map(|acting_module| acting_module.implementation);
        Scope { view, module, record: Some(ScopeRecord(Arc::new(self))) }
    }
}

/// One function call as the code that serves it sees it. Names are the module's own.
pub struct FunctionCall {
    /// The function. Empty for the constructor and for type registration.
    pub name: String,
    /// The object. Empty for type registration.
    pub parent_name: String,
    /// The object's state as JSON text.
    pub parent: String,
    /// The name and JSON text of every argument.
    pub args: Vec<(String, String)>,
    outcome: Mutex<Option<CallOutcome>>,
}

/// The outcome that the code returned.
#[derive(Clone, Debug)]
pub enum CallOutcome {
    /// A value, as JSON text.
    Value(String),
    /// An error.
    Error(Fault),
}

impl FunctionCall {
    /// A call without outcome, which is part of the evaluation of the current task.
    pub fn new(name: String, parent_name: String, parent: String, args: Vec<(String, String)>) -> Self {
        Self { name, parent_name, parent, args, outcome: Mutex::new(None) }
    }

    /// Records the outcome.
    ///
    /// # Errors
    /// When there is an outcome already.
    pub fn answer(&self, outcome: CallOutcome) -> Result<()> {
        let mut slot = lock(&self.outcome);
        if slot.is_some() {
            // Clients match on this text; see docs/protocol.md#the-runtime.
            return Err(Fault::user("function call return already set"));
        }
        *slot = Some(outcome);
        Ok(())
    }

    /// The outcome, or `None` if the code has not returned.
    pub fn outcome(&self) -> Option<CallOutcome> {
        lock(&self.outcome).clone()
    }
}
