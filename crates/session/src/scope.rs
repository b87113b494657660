//! The exec scope: for whom a process in a container speaks. Sealed: only the engine makes it, nothing that a client
//! can send or read holds it, and of what it consists only [`ActingModule::identity`] counts for keys. That identity is in IDs,
//! which the engine seals.

use std::any::Any;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rondel_call::{Call, ModuleIdentity, ModuleRef};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_graph::Evaluation;
use rondel_model::exec::{Scope, ScopeRecord};
use rondel_query::ChildIdentity;
use rondel_version::{ENGINE, View};

/// A module for which a process speaks.
#[derive(Clone)]
pub struct ActingModule {
    /// The schema version that it is served.
    pub view: View,
    /// What the module is.
    pub implementation: Digest,
    /// The call that gives the module.
    pub call: Arc<Call>,
    /// Where the module was found: a folder, or a repository with folder and version; empty when it
    /// was in a directory.
    pub source: Arc<str>,
    /// The module, as the module loader keeps it; opaque here.
    pub module: Arc<dyn Any + Send + Sync>,
}

impl ActingModule {
    /// The module as calls record it.
    pub fn identity(&self) -> Arc<ModuleIdentity> {
        let module = ModuleRef { module: self.call.clone(), implementation: self.implementation };
        Arc::new(ModuleIdentity { module, view: self.view.to_string().into() })
    }
}

/// For whom a process with API access speaks, and what it serves.
#[derive(Clone, Default)]
pub struct ExecScope {
    /// The module for which it speaks; none: it is a client of its own.
    pub acting_module: Option<ActingModule>,
    /// The function call that it serves.
    pub call: Option<Arc<FunctionCall>>,
    /// For whom processes speak that it starts; none: each is a client of its own. An SDK's work on a module is done for
    /// that module, however deep it is handed on.
    pub children_act_as: Option<ActingModule>,
    /// Whether processes of recipes that it brings act as `starts` too, whatever these record. So it is with an SDK's work
    /// on a module: what it kept from elsewhere serves that module now.
    pub adopts: bool,
    /// Whether it may have started one.
    pub started: Arc<AtomicBool>,
}

impl ExecScope {
    /// The scope of a process that is started on behalf of a client with this scope.
    pub fn of_started(client: Option<&ExecScope>) -> Self {
        let children_act_as = client.and_then(|scope| scope.children_act_as.clone());
        let adopts = client.is_some_and(|scope| scope.adopts);
        Self { acting_module: children_act_as.clone(), call: None, children_act_as, adopts, started: Arc::default() }
    }

    /// As whom processes act that the calls of a client with this scope start.
    pub fn child_identity(&self) -> ChildIdentity {
        ChildIdentity::new(self.children_act_as.as_ref().map(ActingModule::identity), self.adopts, self.started.clone())
    }

    /// As a part of the process that gets it.
    pub fn seal(self) -> Scope {
        let view = self.acting_module.as_ref().map_or(ENGINE, |acting_module| acting_module.view);
        let module = self.acting_module.as_ref().map(|acting_module| acting_module.implementation);
        Scope { view, module, record: Some(ScopeRecord(Arc::new(self))) }
    }
}

/// One function call, as the code that serves it sees it. Names are the module's own.
pub struct FunctionCall {
    /// The function; empty for the constructor and for type registration.
    pub name: String,
    /// The object; empty for type registration.
    pub parent_name: String,
    /// The object's state as JSON text.
    pub parent: String,
    /// Name and JSON text of every argument.
    pub args: Vec<(String, String)>,
    /// The evaluation that waits for the outcome.
    pub evaluation: Evaluation,
    outcome: Mutex<Option<CallOutcome>>,
}

/// What the code answered.
#[derive(Clone, Debug)]
pub enum CallOutcome {
    /// A value, as JSON text.
    Value(String),
    /// An error.
    Error(Fault),
}

impl FunctionCall {
    /// A call that was not answered yet, as a part of the evaluation of the current task.
    pub fn new(name: String, parent_name: String, parent: String, args: Vec<(String, String)>) -> Self {
        Self { name, parent_name, parent, args, evaluation: Evaluation::current(), outcome: Mutex::new(None) }
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// When there is one already.
    pub fn answer(&self, outcome: CallOutcome) -> Result<()> {
        let mut slot = lock(&self.outcome);
        if slot.is_some() {
            // Clients match on this text; see docs/protocol.md#the-runtime.
            return Err(Fault::user("function call return already set"));
        }
        *slot = Some(outcome);
        Ok(())
    }

    /// The answer, when there is one.
    pub fn outcome(&self) -> Option<CallOutcome> {
        lock(&self.outcome).clone()
    }
}
