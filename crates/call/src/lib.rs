//! The immutable call recipe and its wire ID.
//!
//! *Invariants.* A [`Call`] says what was asked and nothing else: receiver, field, arguments, the
//! view where the field depends on it, the module that provides the field, implicit inputs. Its
//! digest is fixed when it is made. A wire ID holds the whole recipe, so that any connection, and
//! any later session, can load it; what came out of the call is never part of it. Chains may be
//! thousands of calls deep: nothing here recurses along receivers. A call that may start a process
//! with API access records the module as which that process acts ([`ModuleIdentity`]). A wire ID is
//! sealed ([`SealKey`]): only the engine can write one.

mod edit;
mod recipe;
mod wire;

pub use edit::edited;
pub use recipe::{Call, CallSpec, EGRESS_SEAL, Literal, ModuleIdentity, ModuleRef, NESTED_CLIENT, NESTING};
pub use wire::{DecodeError, SealKey, decode, encode, is_id, seal};
