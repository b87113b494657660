//! Modules as data: configuration files, sources, type definitions, loaded modules.
//!
//! Each folder may use those before it in this list: `config` (configuration files), `source`
//! (sources and dependencies), `typedef` (type definitions). [`loaded_module`] holds a module with
//! its types and what provides them.
//!
//! *Invariants.* No I/O and no clients. A source is content: a snapshot and a configuration, never
//! a folder that may change. Type definitions contain the module's own names.

pub mod config;
pub mod json;
pub mod json_object;
pub mod loaded_module;
pub mod name_conflicts;
pub mod names;
pub mod sdk_contract;
pub mod source;
pub mod typedef;

pub use loaded_module::{Module, ModuleObject, ModuleValue, ServedModule};
