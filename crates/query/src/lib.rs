//! Runs GraphQL documents: selections become calls, calls become values, each evaluated once.
//!
//! *Invariants.* The identity of a call is decided in [`evaluate`] and nowhere else: which
//! arguments, which view and which implicit inputs make it. The client that asks is a [`Caller`], a
//! plain value passed down. Handlers are opaque functions from a receiver and arguments to a value;
//! this crate knows no containers, no sessions and no disk. The depth of a document or of a recipe
//! costs no stack.

pub mod args;
pub mod caller;
pub mod context;
pub mod evaluate;
pub mod evaluator;
pub mod execute;
pub mod node;
pub mod resolver;

pub use args::Args;
pub use caller::{Caller, ChildIdentity};
pub use context::ResolverContext;
pub use evaluator::{Evaluator, Fields};
pub use execute::{Response, execute};
pub use node::Node;
pub use resolver::{CacheScope, Handler, Outcome, Resolver};
