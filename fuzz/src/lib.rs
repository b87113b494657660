//! Fuzz targets: everything that reads what others wrote, each as a function of bytes that panics when it finds a fault.
//!
//! What they start from is in `corpus`, a folder per target. Two programs run them: `rondel-fuzz` of this crate for
//! seconds, with changes made at random, as continuous integration does; and those in `libfuzzer` for as long as
//! asked, led by what the code does with an input. See `scripts/fuzz`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod dockerfile;
pub mod dotenv;
pub mod git_address;
pub mod graphql;
pub mod id;
pub mod ignore;
pub mod module_config;
pub mod mutate;
pub mod patch;
pub mod tar;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads an input, and panics when that shows a fault.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target { name: "dockerfile", run: dockerfile::run },
    Target { name: "dotenv", run: dotenv::run },
    Target { name: "git_address", run: git_address::run },
    Target { name: "graphql", run: graphql::run },
    Target { name: "id", run: id::run },
    Target { name: "ignore", run: ignore::run },
    Target { name: "module_config", run: module_config::run },
    Target { name: "patch", run: patch::run },
    Target { name: "tar", run: tar::run },
];
