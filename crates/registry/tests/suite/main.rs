//! The port `Images`, driven from outside: a real registry, a fake one that misbehaves, layout folders, archives.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod archives;
mod fake;
mod fixtures;
mod layouts;
mod misbehaving;
mod registries;
mod tokens;
mod uploads;
