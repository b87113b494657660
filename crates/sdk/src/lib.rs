//! Built-in SDKs: turn a module's source into a container whose entrypoint serves the module's
//! functions.
//!
//! *Invariants.* A runtime is a pure function of the module's content: it contains no session,
//! client or host path, so that equal sources share it. Nothing runs here. A runtime is deferred
//! work inside a value. One file per SDK.

pub mod bindings;
mod builtin;
pub mod go;
pub mod python;
mod python_names;
mod python_project;
mod python_starter;
mod python_types;
mod python_version;
mod runtime_parts;
mod sdk;

pub use builtin::{BUILTIN, find, hint, is_builtin};
pub use rondel_typescan::SourceTypes;
pub use sdk::{GeneratedFiles, Sdk, SdkSource};
