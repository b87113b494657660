//! Outcomes of spans from results of work.

use rondel_events::{Outcome, Span};
use rondel_fault::{Kind, Result};

/// The outcome of work that ran and gave `result`.
pub fn outcome<T>(result: &Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(fault) if fault.kind() == Kind::Cancelled => Outcome::Cancelled,
        Err(fault) => Outcome::Failed(fault.summary()),
    }
}

/// Runs `work` and ends `span` with its outcome.
///
/// # Errors
/// Those of `work`.
pub async fn in_span<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    let result = work.await;
    span.end(outcome(&result));
    result
}
