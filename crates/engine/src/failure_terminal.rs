//! Opens a terminal on failed commands for a client with `--interactive`, before it receives the
//! error.
//!
//! *Invariants.* One terminal after the other, in the order in which processes failed. The answer
//! is the same as without: what could not be shown is a hint on it.

use std::sync::Arc;

use rondel_fault::{Code, Fault, Kind};
use rondel_ops::{FailureScope, Failures, Ops};
use rondel_query::Response;
use rondel_session::Client;

use crate::client_registry::AttachedClient;

/// Observes the failed processes of one request, for a client with `--interactive`.
pub struct FailureObserver<'a>(Option<ObservedClient<'a>>);

struct ObservedClient<'a> {
    client: &'a Client,
    failures: &'a Failures,
    asking: FailureScope<'a>,
}

impl<'a> FailureObserver<'a> {
    /// Starts to observe a request of `attached`.
    pub fn new(attached: &'a AttachedClient) -> Self {
        let client = rondel_session::client(&attached.caller);
        let failures = client.op_cx.failures.as_deref();
        Self(failures.map(|failures| ObservedClient { client, failures, asking: failures.begin() }))
    }

    /// Shows the client what failed, and returns the response for it.
    pub async fn answered(self, ops: &Arc<Ops>, mut response: Response) -> Response {
        if let (Some(watched), Some(error)) = (self.0, response.errors.first_mut()) {
            for hint in watched.show(ops).await {
                error.fault = error.fault.clone().with_hint(hint);
            }
        }
        response
    }
}

impl ObservedClient<'_> {
    /// Shows what failed. Returns hints about what could not be shown.
    async fn show(&self, ops: &Arc<Ops>) -> Vec<String> {
        let mut hints = Vec::new();
        let (left, more) = self.asking.failed();
        for one in left {
            let shown = async {
                let terminal = self.client.machine.terminal().await?;
                ops.show_failed_exec(self.failures, one, terminal).await
            };
            match shown.await {
                Err(fault) if fault.kind() == Kind::Cancelled => return hints,
                Err(fault) => hints.push(not_shown(&fault)),
                Ok(()) => {}
            }
        }
        match more {
            0 => {}
            1 => hints.push("One more command failed and was not shown".to_owned()),
            more => hints.push(format!("{more} more commands failed and were not shown")),
        }
        hints
    }
}

fn not_shown(fault: &Fault) -> String {
    let cure = match fault.code() {
        Code::ExecNotStarted => "; `--interactive-command` names another program",
        _ => "",
    };
    format!("The terminal at what failed ended with an error: {}{cure}", fault.full_message())
}
