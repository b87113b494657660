//! The one error that crosses crate borders: whose fault it is, what was attempted, how to cure it.
//!
//! *Invariants.* A [`Fault`] is cheap to clone, because one evaluation may have several waiters. It
//! keeps its cause. Hints are data, not part of the message. It knows nothing of GraphQL or of
//! terminals: the edges translate it. Inside a crate, narrow error enums are preferred; they become
//! a `Fault` where they leave the crate.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The result of everything that can fail across a crate border.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was asked is wrong: arguments, source code, configuration.
    User,
    /// The world did not play along: network, disk, kernel, a missing program.
    Environment,
    /// It is possible and not permitted.
    Denied,
    /// Nobody waits for it any more, or somebody asked to stop.
    Cancelled,
    /// Rondel broke a promise of its own.
    Bug,
}

/// A process that ended with a status that was not expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFailure {
    /// The full command line.
    pub cmd: Vec<String>,
    /// The exit code; 128 + signal for a process that a signal ended.
    pub exit_code: i32,
    /// The tail of standard output, scrubbed of secrets.
    pub stdout: String,
    /// The tail of standard error, scrubbed of secrets.
    pub stderr: String,
}

/// Machine-readable detail that a client turns into an error of its own type.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// A failed process.
    Exec(ExecFailure),
    /// Values that a module function attached to its error.
    Values(serde_json::Map<String, serde_json::Value>),
}

/// An error with an owner, a cause and hints.
#[derive(Clone)]
pub struct Fault(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    hints: Vec<String>,
    detail: Option<Detail>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Fault {
    /// An error of the given kind. The message says what was attempted and on what, without a final
    /// period.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), hints: Vec::new(), detail: None, cause: None }))
    }

    /// What was asked is wrong.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// The world did not play along.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, message)
    }

    /// Possible, but not permitted.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Kind::Denied, message)
    }

    /// Nobody waits for the result any more.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Kind::Cancelled, message)
    }

    /// A promise of our own was broken.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }

    /// A failed process.
    pub fn exec(message: impl Into<String>, failure: ExecFailure) -> Self {
        Self::user(message).with_detail(Detail::Exec(failure))
    }

    /// Adds a cure, as a full sentence without a final period.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.edit(|inner| inner.hints.push(hint.into()))
    }

    /// Attaches machine-readable detail.
    #[must_use]
    pub fn with_detail(self, detail: Detail) -> Self {
        self.edit(|inner| inner.detail = Some(detail))
    }

    /// Attaches what caused it.
    #[must_use]
    pub fn caused_by(self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.edit(|inner| inner.cause = Some(Arc::new(cause)))
    }

    /// Wraps it: `message` says what was attempted; kind, hints and detail stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            message: message.into(),
            hints: self.0.hints.clone(),
            detail: self.0.detail.clone(),
            cause: Some(Arc::new(self)),
        }))
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was attempted and on what, without causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do about it.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Machine-readable detail, of this error or the nearest cause that has some.
    pub fn detail(&self) -> Option<&Detail> {
        self.0.detail.as_ref()
    }

    /// Message and causes in one line, joined by `: `. A cause whose text the line already ends
    /// with is left out.
    pub fn full_message(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            let line = match cause.downcast_ref::<Fault>() {
                Some(fault) => fault.message().to_owned(),
                None => cause.to_string(),
            };
            if !text.ends_with(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            next = cause.source();
        }
        text
    }

    fn edit(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| (*shared).clone());
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full_message())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.full_message())?;
        for hint in &self.0.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Turns any error into a [`Fault`] that says what was attempted.
pub trait Attempt<T> {
    /// The environment is to blame: `attempted` says what was tried, for example ``read
    /// `/etc/passwd` ``.
    ///
    /// # Errors
    /// The same error, told as a `Fault`.
    fn attempt(self, attempted: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Error + Send + Sync + 'static> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, attempted: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Fault::environment(format!("cannot {}", attempted())).caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_kind_detail_and_hints() {
        let inner = Fault::exec(
            "exit code: 1",
            ExecFailure { cmd: vec![], exit_code: 1, stdout: String::new(), stderr: String::new() },
        )
        .with_hint("look at the log");
        let outer = inner.context("run `make`");
        assert_eq!(outer.kind(), Kind::User);
        assert!(matches!(outer.detail(), Some(Detail::Exec(f)) if f.exit_code == 1));
        assert_eq!(outer.hints(), ["look at the log"]);
        assert_eq!(outer.to_string(), "run `make`: exit code: 1");
    }

    #[test]
    fn foreign_causes_are_kept() {
        let e: Result<()> = Err(std::io::Error::other("no such luck")).attempt(|| "read `x`".into());
        assert_eq!(e.map_err(|f| f.to_string()), Err("cannot read `x`: no such luck".to_owned()));
    }
}
