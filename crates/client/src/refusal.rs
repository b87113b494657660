//! The error that a [`Refusal`] of the engine stands for.

use rondel_fault::{Code, Fault};
use rondel_link::Refusal;

/// The error of a refusal, with its code and hints.
pub(crate) fn fault(refusal: Refusal) -> Fault {
    let message = refusal.message;
    let code = Code::from_name(&refusal.code);
    let fault = match code {
        Some(Code::Unavailable | Code::ResourceExhausted) => Fault::environment(message),
        Some(Code::PermissionDenied | Code::EntitlementRequired) => Fault::denied(message),
        Some(Code::Internal) => Fault::bug(message),
        _ => Fault::user(message),
    };
    let fault = code.into_iter().fold(fault, Fault::with_code);
    refusal.hints.into_iter().fold(fault, |fault, hint| fault.with_hint(hint))
}
