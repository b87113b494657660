//! Types from source: reads the types of a module from its source code. Nothing runs, and nothing
//! but the source is needed.
//!
//! *Invariants.* The result is equal to what the module's code would register. Where the source
//! does not decide that, a scanner returns [`SourceTypes::Undecided`] and never guesses. Input is
//! text and a few facts, output is data: there is no I/O. One folder per language.

pub mod document;
pub mod go;
pub mod python;
pub mod source;

pub use source::{ModuleFacts, Position, SourceFile, SourceTypes};
