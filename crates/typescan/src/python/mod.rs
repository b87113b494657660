//! Types of modules in Python.
//!
//! The official library registers the types when the module is imported: decorators collect
//! classes, and annotations, docstrings and defaults become types. The scanner follows the import
//! statement by statement without running it, and applies the rules of the library.
//!
//! *Invariants.* A value that the source does not decide is never used: where the types depend on
//! it, the result is [`SourceTypes::Undecided`] with the place. The same holds for what Python or
//! the library refuse, because their own errors say more.

mod ast;
mod calls;
mod dataclass;
mod definitions;
mod enums;
mod expressions;
mod hints;
mod imports;
mod interpreter;
mod library;
mod module;
mod nodes;
mod parse;
mod parse_expression;
mod registration;
mod signatures;
mod statements;
mod stdlib;
mod strings;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use module::{Api, ApiType, PythonModule};

use crate::source::{SourceFile, SourceTypes};
use interpreter::Interpreter;
use tree::SourceTree;

/// The types of a module in Python. `files` are all files of its code whose names end in `.py`,
/// with paths relative to the folder of the code.
pub fn types(files: &[SourceFile], module: &PythonModule, api: &dyn Api) -> SourceTypes {
    let mut interpreter = Interpreter::new(SourceTree::new(files), module, api);
    match interpreter.document() {
        Ok(document) => SourceTypes::Declared(document),
        Err(reason) => SourceTypes::Undecided(reason.0),
    }
}
