//! Errors in a Dockerfile, with file, line and instruction.

use std::sync::Arc;

use rondel_model::entitlement::Entitlement;

/// An error in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{file}` line {line}{}: {message}", if .instruction.is_empty() { String::new() } else { format!(", `{instruction}`") })]
pub struct Error {
    /// The name of the Dockerfile.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The instruction as its keyword; empty when it is not about one.
    pub instruction: String,
    /// The message.
    pub message: String,
    /// The entitlement that it lacks.
    pub denied: Option<Entitlement>,
}

impl Error {
    /// The error as one that crosses crate borders: the fault of who wrote the Dockerfile.
    pub fn fault(&self) -> rondel_fault::Fault {
        rondel_fault::Fault::user(self.to_string())
    }
}

/// The name of a Dockerfile.
#[derive(Debug, Clone)]
pub(crate) struct Source(Arc<str>);

/// A place in a Dockerfile.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    file: Arc<str>,
    line: usize,
    instruction: String,
}

impl Source {
    pub(crate) fn new(file: &str) -> Self {
        Self(file.into())
    }

    /// The place of an instruction.
    pub(crate) fn at(&self, line: usize, instruction: &str) -> Location {
        Location { file: self.0.clone(), line, instruction: instruction.to_owned() }
    }
}

impl Location {
    /// The error that `message` is true of this place.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        let Location { file, line, instruction } = self.clone();
        Error { file, line, instruction, message: message.into(), denied: None }
    }

    /// The error that this instruction asks for something that is not allowed.
    pub(crate) fn denied(&self, entitlement: Entitlement) -> Error {
        // Users match on these words.
        Error { denied: Some(entitlement), ..self.error(format!("{entitlement} is not allowed")) }
    }
}
