//! Dockerfiles: text to instructions, instructions to containers whose trees are deferred work.
//!
//! *Invariants.* No I/O, nothing asynchronous, no clock, no environment. What a build needs from
//! outside (images that `FROM` names, what `ADD` fetches) is asked for as data ([`Outcome::Needs`])
//! and handed in as data ([`Known`]); asking again with more known gives the same trees. Nothing is
//! evaluated here: stages become values, so that those which nobody needs never run and those which
//! do not depend on one another run side by side. Errors name the file, the line and the
//! instruction.

mod build;
mod command;
mod copy;
mod error;
mod flags;
mod ignore;
mod lines;
mod mount;
mod run;
mod stages;
mod state;
mod values;
mod words;

pub use build::{Base, Known, Need, Outcome, Request, Secret, build};
pub use error::Error;
pub use ignore::patterns as ignore_patterns;
pub use lines::MAX_BYTES;
pub use stages::{Dockerfile, parse};
