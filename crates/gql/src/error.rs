//! Errors of GraphQL documents, and limits of their size.

use crate::operation::Location;

/// Bounds on a document. Each of them is stated in the error of a document that passes it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Length of the text in bytes.
    pub bytes: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// Nesting of list and object values, and of list types.
    pub nesting: usize,
    /// Number of fields after fragments are expanded.
    pub selections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 20, tokens: 2_000_000, nesting: 200, selections: 200_000 }
    }
}

/// Which half of the work found the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The text is no GraphQL document, or passes a bound.
    Syntax,
    /// The document does not fit the schema.
    Validation,
}

/// A document that cannot be run. Its message goes to clients as it is, in the words of the
/// reference implementation of GraphQL (capital letter, final period), because people and tools
/// know those.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GqlError {
    /// The message.
    pub message: String,
    /// Where it is wrong; may be empty.
    pub locations: Vec<Location>,
    /// Which half of the work found it.
    pub kind: ErrorKind,
}

impl GqlError {
    /// An error of the text itself.
    pub(crate) fn syntax(message: impl Into<String>, at: Location) -> Self {
        Self { message: format!("Syntax Error: {}", message.into()), locations: vec![at], kind: ErrorKind::Syntax }
    }

    /// A document that passes a bound.
    pub(crate) fn bound(what: &str, limit: usize, at: Option<Location>) -> Self {
        let message = format!("Document is refused: it has more than {limit} {what}.");
        Self { message, locations: at.into_iter().collect(), kind: ErrorKind::Syntax }
    }

    /// A document that does not fit the schema.
    pub(crate) fn validation(message: impl Into<String>, at: Location) -> Self {
        Self { message: message.into(), locations: vec![at], kind: ErrorKind::Validation }
    }

    /// The same without a place.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self { message: message.into(), locations: Vec::new(), kind: ErrorKind::Validation }
    }
}
