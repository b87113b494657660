//! What a module uses: another module's source, or that it could not be found. What is wrong with one dependency does not
//! keep the rest from being used, so that it is data and no failure.

use rondel_call::Literal;
use rondel_fault::{Fault, Kind};

use crate::config::module_config::DependencyConfig;

/// A dependency that was not found.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// What its dependent calls it; when it gives it no name, the place where it should be.
    pub name: String,
    /// Why it was not found.
    pub why: Fault,
}

impl Unresolved {
    /// As an argument of the call that gives the dependent's source.
    pub(crate) fn literal(&self) -> Literal {
        let texts = [self.name.clone(), self.why.full_message()].map(|text| Literal::String(text.into()));
        Literal::List(texts.into())
    }

    /// What `dependency` is called, although it was not found.
    pub(crate) fn new(dependency: &DependencyConfig, why: Fault) -> Self {
        Self { name: dependency.called().to_owned(), why }
    }

    /// What [`Unresolved::literal`] wrote.
    pub(crate) fn read(literal: &Literal) -> Option<Self> {
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
pub(crate) enum ResolveError {
    /// It needs itself: nothing on the way can be loaded.
    Cycle(Fault),
    /// Anything else: its dependents can be used without it.
    Other(Fault),
}

impl ResolveError {
    /// The same, with what was being done.
    pub(crate) fn context(self, doing: String) -> Self {
        match self {
            ResolveError::Cycle(fault) => ResolveError::Cycle(fault.context(doing)),
            ResolveError::Other(fault) => ResolveError::Other(fault.context(doing)),
        }
    }

    /// What is said of a dependency that cannot be used.
    ///
    /// # Errors
    /// When its dependent cannot be used either.
    pub(crate) fn tolerated(self) -> Result<Fault, Self> {
        match self {
            ResolveError::Other(fault) if fault.kind() != Kind::Cancelled => Ok(fault),
            other => Err(other),
        }
    }

    /// What is said of it to whoever asked for it.
    pub(crate) fn fault(self) -> Fault {
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
