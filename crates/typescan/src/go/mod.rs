//! Go: the types of a module from its package.
//!
//! The rules are those of docs/protocol.md and of Go itself. Function bodies do not matter, so a
//! module that does not compile can be listed.

mod build_constraint;
mod comments;
mod constants;
mod declared_types;
mod names;
mod package;
mod resolve;
mod syntax;

use rondel_fault::Result;

pub use build_constraint::is_built;
pub use names::{FindApiType, main_type};
pub use package::{Enum, EnumConstant, Field, Func, Interface, Package, Param, Struct, Type};

use crate::document::TypesDocument;
use crate::source::{ModuleFacts, SourceFile};

/// A module in Go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GoModule {
    /// The declarations that the module's functions use, for code that calls them.
    pub package: Package,
    /// The types of the module.
    pub types: TypesDocument,
}

/// Reads a module. `files` are the files of its package that are built, see [`is_built`]. `api`
/// knows the types of the API and of dependencies.
///
/// # Errors
/// When a file cannot be parsed, the main object is missing, or something that a function uses
/// cannot be a type.
pub fn scan(files: &[SourceFile], facts: &ModuleFacts, api: FindApiType<'_>) -> Result<GoModule> {
    let mut parsed = Vec::new();
    for file in files {
        parsed.push(syntax::parse(file, facts)?);
    }
    let package = resolve::package(&parsed, facts, api)?;
    let types = declared_types::document(&package, api);
    Ok(GoModule { package, types })
}

#[cfg(test)]
mod tests;
