//! Builds Dockerfiles: text to instructions, instructions to containers whose trees are deferred
//! work.
//!
//! *Invariants.* No I/O, nothing asynchronous, no clock, no environment. What a build needs from
//! outside (images that `FROM` names, what `ADD` fetches) is asked for as data ([`Outcome::Needs`])
//! and handed in as data ([`Known`]); a second attempt with more of it gives the same trees.
//! Nothing is evaluated here: stages become values, so that those which the target does not need
//! never run and those which do not depend on one another run side by side. Errors name the file,
//! the line and the instruction.

mod apply;
mod build;
mod command;
mod copy;
mod error;
mod flags;
mod ignore;
mod lines;
mod mount;
mod request;
mod run;
mod stage_state;
mod stages;
mod values;
mod words;

pub use build::build;
pub use error::Error;
pub use ignore::patterns as ignore_patterns;
pub use lines::MAX_BYTES;
pub use request::{Base, Known, Need, Outcome, Request, Secret};
pub use stages::{Dockerfile, parse};
