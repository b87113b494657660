//! Runs documents: selections become calls, calls become values, each evaluated once.
//!
//! *Invariants.* Identity is decided here and nowhere else: which arguments, which view, which implicit
//! inputs make a call ([`evaluate`]). Who asks is a [`Caller`], a plain value passed down. Handlers are
//! opaque functions from a receiver and arguments to a value; this crate knows no containers, no
//! sessions and no disk. Depth of a document or of a recipe costs no stack.

pub mod args;
pub mod caller;
pub mod evaluate;
pub mod execute;
pub mod resolver;

pub use args::Args;
pub use caller::{Caller, ChildIdentity};
pub use evaluate::{Evaluator, Fields, Node};
pub use execute::{Response, execute};
pub use resolver::{CacheScope, Handler, Outcome, Resolver, ResolverContext};
