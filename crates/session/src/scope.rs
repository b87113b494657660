//! The exec scope: for whom a process in a container speaks. Sealed: only the engine makes it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rondel_fault::{Fault, Result};
use rondel_version::View;

/// For whom a process speaks: the module whose schema and view it is served, and the call it serves.
pub struct ScopeRecord {
    /// The schema version it is served.
    pub view: View,
    /// The module, as the module loader keeps it; opaque here.
    pub module: Option<Arc<dyn Any + Send + Sync>>,
    /// The function call it serves.
    pub call: Option<Arc<FunctionCall>>,
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
    /// A call that was not answered yet.
    pub fn new(name: String, parent_name: String, parent: String, args: Vec<(String, String)>) -> Self {
        Self { name, parent_name, parent, args, outcome: Mutex::new(None) }
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// When there is one already.
    pub fn answer(&self, outcome: CallOutcome) -> Result<()> {
        let mut slot = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            // Clients match on this text; see spec/protocol.md §4.2.
            return Err(Fault::user("function call return already set"));
        }
        *slot = Some(outcome);
        Ok(())
    }

    /// The answer, when there is one.
    pub fn outcome(&self) -> Option<CallOutcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Exec scopes by handle. A handle is what [`rondel_model::exec::Scope::record`] holds; it counts for no key.
#[derive(Default)]
pub struct ScopeTable {
    next: AtomicU64,
    records: Mutex<HashMap<u64, Arc<ScopeRecord>>>,
}

/// Keeps a record in the table.
pub struct ScopeHandle {
    table: Arc<ScopeTable>,
    /// The handle.
    pub id: u64,
}

impl ScopeTable {
    /// Keeps `record` until the handle is dropped.
    pub fn insert(self: &Arc<Self>, record: ScopeRecord) -> ScopeHandle {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.records.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(record));
        ScopeHandle { table: self.clone(), id }
    }

    /// The record of a handle.
    pub fn get(&self, id: u64) -> Option<Arc<ScopeRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

impl Drop for ScopeHandle {
    fn drop(&mut self) {
        self.table.records.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
