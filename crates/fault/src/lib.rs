//! The error type of every crate border: whose fault an error is, what was attempted, how to cure
//! it.
//!
//! *Invariants.* A [`Fault`] is cheap to clone, because one evaluation may have several waiters. It
//! keeps its cause. Hints are data, not part of the message. Product code decides by [`Kind`] and
//! [`Code`], never by the text of a message. The crate knows nothing of GraphQL or terminals: the
//! edges translate. Inside a crate, narrow error enums are preferred; they become a `Fault` where
//! they leave the crate.

mod cause;
mod exec_failure;
mod nearest;
mod sync;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use cause::{CAUSES, Cause, FailedProcess, Frame, MAX_CAUSES, OutputTail, Relation};
pub use exec_failure::ExecFailure;
pub use nearest::nearest;
pub use sync::{lock, read_lock, write_lock};

/// The result of everything that can fail across a crate border.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was asked is wrong: arguments, source code, configuration.
    User,
    /// The machine or a server failed: network, disk, kernel, a missing program.
    Environment,
    /// The operation exists and is not permitted.
    Denied,
    /// The last waiter is gone, or a stop was requested.
    Cancelled,
    /// Rondel broke one of its own invariants.
    Bug,
}

/// The stable identity of an error, for programs. Texts of messages may change, codes do not.
///
/// The API returns it as `extensions.code`, the metrics count errors by it. The names are those of
/// the gRPC status codes where one fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Arguments, source code or configuration are wrong. The default of [`Kind::User`].
    InvalidArgument,
    /// The machine or a server failed. The default of [`Kind::Environment`].
    Unavailable,
    /// The operation is not permitted. The default of [`Kind::Denied`].
    PermissionDenied,
    /// The work was cancelled. The default of [`Kind::Cancelled`].
    Cancelled,
    /// An invariant of Rondel was broken. The default of [`Kind::Bug`].
    Internal,
    /// A process ended with a status that was not expected.
    ExecFailed,
    /// A process could not be started: its program is missing or cannot be executed.
    ExecNotStarted,
    /// A file, directory, secret, module or field does not exist.
    NotFound,
    /// The disk is full, or a limit of the machine was reached.
    ResourceExhausted,
    /// The client has to be granted an entitlement first.
    EntitlementRequired,
    /// An ID was not made by this engine, or was changed.
    InvalidId,
    /// An evaluation waits for its own result.
    EvaluationCycle,
}

impl Code {
    /// Every code, in the order of declaration.
    pub const ALL: [Code; 12] = [
        Code::InvalidArgument,
        Code::Unavailable,
        Code::PermissionDenied,
        Code::Cancelled,
        Code::Internal,
        Code::ExecFailed,
        Code::ExecNotStarted,
        Code::NotFound,
        Code::ResourceExhausted,
        Code::EntitlementRequired,
        Code::InvalidId,
        Code::EvaluationCycle,
    ];

    /// The name in answers of the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::Unavailable => "UNAVAILABLE",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::Cancelled => "CANCELLED",
            Code::Internal => "INTERNAL",
            Code::ExecFailed => "EXEC_FAILED",
            Code::ExecNotStarted => "EXEC_NOT_STARTED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::EntitlementRequired => "ENTITLEMENT_REQUIRED",
            Code::InvalidId => "INVALID_ID",
            Code::EvaluationCycle => "EVALUATION_CYCLE",
        }
    }

    /// The code with this name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

impl From<Kind> for Code {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Code::InvalidArgument,
            Kind::Environment => Code::Unavailable,
            Kind::Denied => Code::PermissionDenied,
            Kind::Cancelled => Code::Cancelled,
            Kind::Bug => Code::Internal,
        }
    }
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
    code: Code,
    message: String,
    hints: Vec<String>,
    detail: Option<Detail>,
    causes: Vec<Cause>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    siblings: Vec<Fault>,
}

impl Fault {
    /// An error of the given kind. The message says what was attempted and on what, without a final
    /// period.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (message, code) = (message.into(), Code::from(kind));
        let (hints, causes, siblings) = (Vec::new(), Vec::new(), Vec::new());
        Self(Arc::new(Inner { kind, code, message, hints, detail: None, causes, cause: None, siblings }))
    }

    /// What was asked is wrong.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// The machine or a server failed.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Kind::Environment, message)
    }

    /// The operation exists and is not permitted.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Kind::Denied, message)
    }

    /// The last waiter is gone, or a stop was requested.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Kind::Cancelled, message)
    }

    /// An invariant of Rondel was broken.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }

    /// A failed process.
    pub fn exec(message: impl Into<String>, failure: ExecFailure) -> Self {
        Self::user(message).with_code(Code::ExecFailed).with_detail(Detail::Exec(failure))
    }

    /// Something that was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::user(message).with_code(Code::NotFound)
    }

    /// Replaces the code that follows from the kind.
    #[must_use]
    pub fn with_code(self, code: Code) -> Self {
        self.edit(|inner| inner.code = code)
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

    /// Replaces the chain of what led to the error.
    #[must_use]
    pub fn with_causes(self, causes: Vec<Cause>) -> Self {
        self.edit(|inner| inner.causes = cause::bound(causes))
    }

    /// Attaches the errors of other parts of the same request.
    #[must_use]
    pub fn with_siblings(self, siblings: Vec<Fault>) -> Self {
        self.edit(|inner| inner.siblings = siblings)
    }

    /// Attaches what caused it. The chain of an error of this crate continues the chain of causes.
    #[must_use]
    pub fn caused_by(self, cause: impl Error + Send + Sync + 'static) -> Self {
        let error: &(dyn Error + 'static) = &cause;
        let inherited = error.downcast_ref::<Fault>().map(|fault| fault.0.causes.clone()).unwrap_or_default();
        self.edit(|inner| {
            if !inherited.is_empty() && inner.causes.is_empty() {
                inner.causes = cause::bound(preceded(Cause::attempt(inner.message.as_str()), inherited));
            }
            inner.cause = Some(Arc::new(cause));
        })
    }

    /// Wraps the error: `message` says what was attempted. Kind, code, hints and detail stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let message = message.into();
        let causes = match self.0.causes.is_empty() {
            true => Vec::new(),
            false => cause::bound(preceded(Cause::attempt(message.as_str()), self.0.causes.clone())),
        };
        self.wrapped(message, causes)
    }

    /// Wraps the error like [`Fault::context`], with a message that tells nothing beyond the chain
    /// of causes. So the chain stays as it is.
    #[must_use]
    pub fn prefixed(self, message: impl Into<String>) -> Self {
        let causes = self.0.causes.clone();
        self.wrapped(message.into(), causes)
    }

    fn wrapped(self, message: String, causes: Vec<Cause>) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            code: self.0.code,
            message,
            hints: self.0.hints.clone(),
            detail: self.0.detail.clone(),
            causes,
            siblings: self.0.siblings.clone(),
            cause: Some(Arc::new(self)),
        }))
    }

    /// The error with every text of it replaced: the messages become one.
    #[must_use]
    pub fn map_texts(&self, map: &dyn Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| map(text)).collect::<Vec<_>>();
        let detail = self.0.detail.as_ref().map(|detail| match detail {
            Detail::Exec(failure) => Detail::Exec(ExecFailure {
                cmd: all(&failure.cmd),
                exit_code: failure.exit_code,
                stdout: map(&failure.stdout),
                stderr: map(&failure.stderr),
            }),
            Detail::Values(values) => {
                Detail::Values(values.iter().map(|(name, value)| (name.clone(), map_strings(value, map))).collect())
            }
        });
        Self(Arc::new(Inner {
            kind: self.0.kind,
            code: self.0.code,
            message: map(&self.full_message()),
            hints: all(&self.0.hints),
            detail,
            causes: self.0.causes.iter().map(|cause| cause.map_texts(map)).collect(),
            cause: None,
            siblings: self.0.siblings.iter().map(|sibling| sibling.map_texts(map)).collect(),
        }))
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable identity, for programs.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What was attempted and on what, without causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do, one sentence each.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Machine-readable detail, of this error or the nearest cause that has some.
    pub fn detail(&self) -> Option<&Detail> {
        self.0.detail.as_ref()
    }

    /// The chain of what led to the error: what was asked for is first, the root cause is last.
    /// Empty if the messages say everything.
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// The errors of other parts of the same request.
    pub fn siblings(&self) -> &[Fault] {
        &self.0.siblings
    }

    /// The error in one line of a list of work: the first exception or message of the chain of
    /// causes, else the full message. It says `KeyError: 'x'` where the message, which clients
    /// match on, has the type of the library's own error.
    pub fn summary(&self) -> String {
        let says_nothing = |cause: &Cause| cause.type_name.is_empty() && cause.message.trim().is_empty();
        let says_it = |cause: &&Cause| !(cause.is_attempt() || says_nothing(cause));
        match self.0.causes.iter().find(says_it) {
            None => self.full_message(),
            Some(cause) if cause.type_name.is_empty() => cause.message.clone(),
            Some(cause) if cause.message.trim().is_empty() => cause.type_name.clone(),
            Some(cause) => format!("{}: {}", cause.type_name, cause.message),
        }
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

/// `value` with every string in it replaced.
fn map_strings(value: &serde_json::Value, map: &dyn Fn(&str) -> String) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(map(text)),
        Value::Array(items) => items.iter().map(|item| map_strings(item, map)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), map_strings(value, map))).collect(),
        other => other.clone(),
    }
}

/// `causes` after `first`.
fn preceded(first: Cause, causes: Vec<Cause>) -> Vec<Cause> {
    std::iter::once(first).chain(causes).collect()
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
    /// The same error as the cause of a `Fault`.
    fn attempt(self, attempted: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Error + Send + Sync + 'static> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, attempted: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| {
            let fault = Fault::environment(format!("cannot {}", attempted()));
            let fault = if is_full(&e) { fault.with_code(Code::ResourceExhausted) } else { fault };
            fault.caused_by(e)
        })
    }
}

/// Whether the operating system refused for want of space or of a quota.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
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
    fn the_chain_of_causes_grows_at_the_front() {
        let texts = |fault: &Fault| fault.causes().iter().map(|cause| cause.message.clone()).collect::<Vec<_>>();
        assert!(Fault::user("x").context("y").causes().is_empty(), "messages say everything");
        let failed = Fault::user("x").with_causes(vec![Cause::process("x", FailedProcess::default())]);
        let outer = failed.context("call it").prefixed("load it");
        assert_eq!(texts(&outer), ["call it", "x"]);
        assert_eq!(outer.to_string(), "load it: call it: x");
        let wrapping = Fault::bug("no way").caused_by(outer.clone());
        assert_eq!(texts(&wrapping), ["no way", "call it", "x"]);
        let many = (0..100).fold(outer, |fault, n| fault.context(n.to_string()));
        assert_eq!(many.causes().len(), MAX_CAUSES);
        assert_eq!(texts(&many).last().map(String::as_str), Some("x"));
    }

    #[test]
    fn texts_are_replaced_everywhere() {
        let failure =
            ExecFailure { cmd: vec!["a key".into()], exit_code: 1, stdout: "key".into(), stderr: "x key".into() };
        let exec = FailedProcess { cmd: failure.cmd.clone(), exit_code: 1, output: OutputTail::new("key", 0) };
        let cause = Cause { notes: vec!["key".into()], ..Cause::process("key", exec) };
        let frame = Frame { source: "open(key)".into(), ..Frame::default() };
        let causes = vec![cause, Cause { frames: vec![frame], ..Cause::default() }];
        let fault = Fault::exec("the key", failure).with_hint("key").with_causes(causes).context("use key");
        let clean = fault.map_texts(&|text| text.replace("key", "***"));
        assert!(!format!("{clean:?} {:?} {:?}", clean.detail(), clean.causes()).contains("key"), "{clean:?}");
        assert_eq!((clean.code(), clean.to_string()), (Code::ExecFailed, "use ***: the ***".to_owned()));
        let values = serde_json::json!({"trace": ["a key", {"of": "key"}], "n": 1});
        let detail = Detail::Values(values.as_object().cloned().unwrap_or_default());
        let clean = Fault::user("x").with_detail(detail).map_texts(&|text| text.replace("key", "***"));
        assert!(matches!(clean.detail(), Some(Detail::Values(v)) if v["trace"][1]["of"] == "***" && v["n"] == 1));
    }

    #[test]
    fn summaries_name_the_exception() {
        let check = |causes: Vec<Cause>, want: &str| {
            assert_eq!(Fault::user("FunctionError: 'x'").with_causes(causes).summary(), want);
        };
        let raised = |type_name: &str, message: &str| Cause {
            call: "ci go".into(),
            type_name: type_name.into(),
            ..Cause::attempt(message)
        };
        check(vec![], "FunctionError: 'x'");
        check(vec![Cause::attempt("load it"), raised("KeyError", "'x'"), raised("OSError", "no")], "KeyError: 'x'");
        check(vec![raised("", ""), raised("TimeoutError", "")], "TimeoutError");
        check(vec![raised("", ""), Cause::process("exit code: 3", FailedProcess::default())], "exit code: 3");
    }

    #[test]
    fn foreign_causes_are_kept() {
        let e: Result<()> = Err(std::io::Error::other("no such luck")).attempt(|| "read `x`".into());
        assert_eq!(e.map_err(|f| f.to_string()), Err("cannot read `x`: no such luck".to_owned()));
    }

    #[test]
    fn the_code_follows_from_the_kind_until_it_is_set() {
        assert_eq!(Fault::denied("no").code(), Code::PermissionDenied);
        let missing = Fault::not_found("x: no such file or directory");
        assert_eq!(missing.context("read `x`").code(), Code::NotFound);
        let full: Result<()> = Err(std::io::Error::from(std::io::ErrorKind::StorageFull)).attempt(|| "write".into());
        assert_eq!(
            full.map_err(|fault| (fault.kind(), fault.code())),
            Err((Kind::Environment, Code::ResourceExhausted))
        );
    }

    #[test]
    fn names_of_codes_are_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.as_str()), Some(code));
        }
        assert_eq!(Code::from_name("NO_SUCH_CODE"), None);
    }
}
