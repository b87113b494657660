//! Parses and validates GraphQL: text to operation.
//!
//! *Invariants.* Parsing, validation and printing are iterative over selections: depth is bounded
//! by the document's size only. Documents are bounded by bytes, tokens, value nesting and expanded
//! fields ([`Limits`]). There are no mutations and no subscriptions. This crate knows no views, no
//! containers and nothing asynchronous; what evaluates a field is an opaque
//! [`types::FieldResolver`].

pub mod builtin;
mod coerce;
pub mod document;
mod error;
mod expand;
mod lexer;
mod name;
pub mod operation;
mod prepare;
mod print;
mod rules;
pub mod sdl;
mod suggest;
pub mod types;
pub mod value;

pub use error::{ErrorKind, GqlError, Limits};
pub use operation::{Applicable, Location, Operation, Selection, SelectionId, Target};
pub use prepare::{Request, prepare};
pub use print::print;
pub use types::{Name, Schema, TypeRef};
pub use value::Value;
