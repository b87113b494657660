//! Dependencies that could not be resolved. One of them does not make the others unusable, so it is
//! data and not a failure.

use rondel_call::Literal;
use rondel_fault::{Fault, Kind};

use crate::config::module_config::DependencyConfig;

/// A dependency that was not found.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// The name that the dependent gives it, or its source when it gives it none.
    pub name: String,
    /// Why it was not found.
    pub why: Fault,
}

impl Unresolved {
    /// The dependency as an argument of the call that gives the dependent's source.
    pub fn literal(&self) -> Literal {
        let texts = [self.name.clone(), self.why.full_message()].map(|text| Literal::String(text.into()));
        Literal::List(texts.into())
    }

    /// The unresolved `dependency`, under its name in the configuration.
    pub fn new(dependency: &DependencyConfig, why: Fault) -> Self {
        Self { name: dependency.called().to_owned(), why }
    }

    /// Reads what [`Unresolved::literal`] gives.
    pub fn read(literal: &Literal) -> Option<Self> {
        let Literal::List(texts) = literal else { return None };
        match &texts[..] {
            [Literal::String(name), Literal::String(why)] => {
                Some(Self { name: name.to_string(), why: Fault::user(&**why) })
            }
            _ => None,
        }
    }
}

/// Why a source was not found.
pub enum ResolveError {
    /// The module depends on itself. None of the modules in the cycle can be loaded.
    Cycle(Fault),
    /// Any other reason. Dependents can be used without the module.
    Other(Fault),
}

impl ResolveError {
    /// Adds what was attempted.
    pub fn context(self, doing: String) -> Self {
        match self {
            ResolveError::Cycle(fault) => ResolveError::Cycle(fault.context(doing)),
            ResolveError::Other(fault) => ResolveError::Other(fault.context(doing)),
        }
    }

    /// The reason for which a dependency is unresolved.
    ///
    /// # Errors
    /// When its dependent cannot be used either: on a cycle or on cancellation.
    pub fn tolerated(self) -> Result<Fault, Self> {
        match self {
            ResolveError::Other(fault) if fault.kind() != Kind::Cancelled => Ok(fault),
            other => Err(other),
        }
    }

    /// The error to report to the caller.
    pub fn fault(self) -> Fault {
        match self {
            ResolveError::Cycle(fault) | ResolveError::Other(fault) => fault,
        }
    }
}

impl From<Fault> for ResolveError {
    fn from(fault: Fault) -> Self {
        ResolveError::Other(fault)
    }
}
