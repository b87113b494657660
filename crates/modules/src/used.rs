//! What a module uses: another module's source, or that it could not be found. What is wrong with one dependency does not
//! keep the rest from being used, so that it is data and no failure.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Kind};

use crate::config::Dependency;
use crate::source::ModuleSource;

/// A dependency of a module, in the order of its configuration.
#[derive(Clone, Debug)]
pub enum Used {
    /// It is there.
    Found(Arc<ModuleSource>),
    /// It is not, or its configuration cannot be read.
    Missing(Missing),
}

/// A dependency that was not found.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What its dependent calls it; when it gives it no name, the place where it should be.
    pub name: String,
    /// Why it was not found.
    pub why: Fault,
}

impl Used {
    /// The name under which it is served.
    pub fn name(&self) -> &str {
        match self {
            Used::Found(source) => source.name(),
            Used::Missing(missing) => &missing.name,
        }
    }

    /// Its source, when it is there.
    pub fn found(&self) -> Option<&Arc<ModuleSource>> {
        match self {
            Used::Found(source) => Some(source),
            Used::Missing(_) => None,
        }
    }

    /// The same content, wherever it was found.
    pub(crate) fn content(&self) -> Self {
        match self {
            Used::Found(source) => Used::Found(Arc::new(source.content())),
            // Reasons name places.
            Used::Missing(missing) => {
                Used::Missing(Missing { why: Fault::user("it was not found"), ..missing.clone() })
            }
        }
    }

    /// As an argument of the call that gives the dependent's source.
    pub(crate) fn written(&self) -> Literal {
        match self {
            Used::Found(source) => Literal::Call(source.call()),
            Used::Missing(Missing { name, why }) => {
                let texts = [name.clone(), why.full_message()].map(|text| Literal::String(text.into()));
                Literal::List(texts.into())
            }
        }
    }
}

impl Missing {
    /// What `dependency` is called, although it was not found.
    pub(crate) fn new(dependency: &Dependency, why: Fault) -> Self {
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
pub(crate) enum Unfound {
    /// It needs itself: nothing on the way can be loaded.
    Circle(Fault),
    /// Anything else: its dependents can be used without it.
    Other(Fault),
}

impl Unfound {
    /// The same, with what was being done.
    pub(crate) fn context(self, doing: String) -> Self {
        match self {
            Unfound::Circle(fault) => Unfound::Circle(fault.context(doing)),
            Unfound::Other(fault) => Unfound::Other(fault.context(doing)),
        }
    }

    /// What is said of a dependency that cannot be used.
    ///
    /// # Errors
    /// When its dependent cannot be used either.
    pub(crate) fn tolerated(self) -> Result<Fault, Self> {
        match self {
            Unfound::Other(fault) if fault.kind() != Kind::Cancelled => Ok(fault),
            other => Err(other),
        }
    }

    /// What is said of it to whoever asked for it.
    pub(crate) fn fault(self) -> Fault {
        match self {
            Unfound::Circle(fault) | Unfound::Other(fault) => fault,
        }
    }
}

impl From<Fault> for Unfound {
    fn from(fault: Fault) -> Self {
        Unfound::Other(fault)
    }
}
