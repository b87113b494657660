//! What a module uses: another module's source, or that it could not be found. What is wrong with one dependency does not
//! keep the rest from being used, so that it is data and no failure.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Kind};

use crate::config::module_config::DependencyConfig;
use crate::source::module_source::ModuleSource;

/// A dependency of a module, in the order of its configuration.
#[derive(Clone, Debug)]
pub enum Dependency {
    /// It is there.
    Found(Arc<ModuleSource>),
    /// It is not, or its configuration cannot be read.
    Unresolved(Unresolved),
}

/// A dependency that was not found.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// What its dependent calls it; when it gives it no name, the place where it should be.
    pub name: String,
    /// Why it was not found.
    pub why: Fault,
}

impl Dependency {
    /// The name under which it is served.
    pub fn name(&self) -> &str {
        match self {
            Dependency::Found(source) => source.name(),
            Dependency::Unresolved(missing) => &missing.name,
        }
    }

    /// Its source, when it is there.
    pub fn found(&self) -> Option<&Arc<ModuleSource>> {
        match self {
            Dependency::Found(source) => Some(source),
            Dependency::Unresolved(_) => None,
        }
    }

    /// The same content, wherever it was found.
    pub(crate) fn content(&self) -> Self {
        match self {
            Dependency::Found(source) => Dependency::Found(Arc::new(source.content())),
            // Reasons name places.
            Dependency::Unresolved(missing) => {
                Dependency::Unresolved(Unresolved { why: Fault::user("it was not found"), ..missing.clone() })
            }
        }
    }

    /// As an argument of the call that gives the dependent's source.
    pub(crate) fn written(&self) -> Literal {
        match self {
            Dependency::Found(source) => Literal::Call(source.call()),
            Dependency::Unresolved(Unresolved { name, why }) => {
                let texts = [name.clone(), why.full_message()].map(|text| Literal::String(text.into()));
                Literal::List(texts.into())
            }
        }
    }
}

impl Unresolved {
    /// What `dependency` is called, although it was not found.
    pub(crate) fn new(dependency: &DependencyConfig, why: Fault) -> Self {
        Self { name: dependency.called().to_owned(), why }
    }

    /// What [`Used::written`] wrote.
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
